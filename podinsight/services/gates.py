"""Phase gates (F3): whether a phase has done what it should, by objects, rows, metrics and meta.json."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

from podinsight.domain.episode import Episode
from podinsight.domain.metrics import SUCCESS_GOAL, THROTTLED_GOAL
from podinsight.domain.work import OPEN_STATES, State
from podinsight.errors import Permanent, Refused
from podinsight.ports import HostRow, ObjectStore, StatusStore

Stage = Literal["fetch", "transcribe"]
AT_ONCE: Final = 16  # objects asked for at a time: each answer takes its tens of milliseconds
SHOWN: Final = 20


@dataclass(frozen=True)
class Criterion:
    """One thing that must hold. value and goal as a person reads them; examples: what speaks against it, some of it."""

    name: str
    value: str
    goal: str
    green: bool
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Traffic:
    """Requests of some hosts and how many were answered 429."""

    requests: int
    throttled: int

    @property
    def share(self) -> float | None:
        return self.throttled / self.requests if self.requests else None

    def since(self, before: "Traffic") -> "Traffic":
        return Traffic(max(0, self.requests - before.requests), max(0, self.throttled - before.throttled))


def traffic(rows: Iterable[HostRow]) -> Traffic:
    requests = throttled = 0
    for row in rows:
        requests, throttled = requests + row.requests, throttled + row.throttled
    return Traffic(requests, throttled)


def utc_day(at: float) -> str:
    """`2026-11-22`, as hosts and metrics count."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


@dataclass
class _Tally:
    """What was seen so far."""

    episodes: int = 0
    states: Counter[State | None] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    lost_count: int = 0
    untrue: list[str] = field(default_factory=list)
    untrue_count: int = 0
    days: Counter[tuple[str, str]] = field(default_factory=Counter)  # (day, feed slug) → episodes fetched then
    hosts: dict[str, set[str]] = field(default_factory=dict)  # day → hosts that they were fetched from
    unended: list[str] = field(default_factory=list)


def check(
    store: StatusStore, objects: ObjectStore, stage: Stage, pages: Iterable[Sequence[Episode]]
) -> list[Criterion]:
    """Looks at every episode of the pages; nothing is kept of them, however many there are.

    Raises:
        Unavailable, Transient: the database or the object store is away: nothing is proven.
    """
    tally = _Tally()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for page in pages:
            states = store.work.states(stage, [episode.id for episode in page])
            done = []
            for episode in page:
                state = states[episode.id][0] if episode.id in states else None
                tally.episodes += 1
                tally.states[state] += 1
                if state is State.DONE:
                    done.append(episode)
                    if episode.fetched_at:
                        day = utc_day(episode.fetched_at)
                        tally.days[day, episode.feed_slug] += 1
                        tally.hosts.setdefault(day, set()).add(episode.host)
                elif state is None or state in OPEN_STATES:
                    _note(tally.unended, f"{_name(episode)}: {state.value if state else 'not asked for'}")
            for finding in threads.map(lambda episode: _look(objects, stage, episode), done):
                _take(tally, *finding)
    if not tally.episodes:
        return []
    return [
        _rows(tally),
        _success(stage, tally),
        _objects(stage, tally),
        _meta(tally),
        *(_metrics(store, tally) if stage == "fetch" else ()),
    ]


def _name(episode: Episode) -> str:
    return f"{episode.feed_slug}/{episode.folder}"


def _note(examples: list[str], text: str) -> None:
    if len(examples) < SHOWN:
        examples.append(text)


def _take(tally: _Tally, lost: str | None, untrue: str | None) -> None:
    if lost:
        tally.lost_count += 1
        _note(tally.lost, lost)
    if untrue:
        tally.untrue_count += 1
        _note(tally.untrue, untrue)


def _look(objects: ObjectStore, stage: Stage, episode: Episode) -> tuple[str | None, str | None]:
    """What is wrong with the episode's object, and with its meta.json."""
    return _lost(objects, stage, episode), _untrue(objects, episode)


def _lost(objects: ObjectStore, stage: Stage, episode: Episode) -> str | None:
    key = episode.audio_key if stage == "fetch" else episode.transcript_key
    if key is None:
        return f"{_name(episode)}: the row names no object"
    try:
        size = objects.size(key)
    except (Permanent, Refused) as error:
        return f"{_name(episode)}: {error}"
    wanted = episode.audio_bytes if stage == "fetch" else None
    if wanted is not None and size != wanted:
        return f"{_name(episode)}: {key} has {size:,} bytes, not {wanted:,}"
    return f"{_name(episode)}: {key} is empty" if size == 0 else None


def _untrue(objects: ObjectStore, episode: Episode) -> str | None:
    try:
        said = json.loads(objects.get(episode.meta_key))
    except (Permanent, Refused) as error:
        return f"{_name(episode)}: {error}"
    except ValueError:
        return f"{_name(episode)}: {episode.meta_key} is not JSON"
    if not isinstance(said, dict) or "transcript_key" not in said:
        return f"{_name(episode)}: {episode.meta_key} says no transcript_key"
    if said["transcript_key"] != episode.transcript_key:
        return f"{_name(episode)}: {episode.meta_key} says {said['transcript_key']}, the row {episode.transcript_key}"
    return None


def _rows(tally: _Tally) -> Criterion:
    still = tally.states[None] + sum(tally.states[state] for state in OPEN_STATES)
    failed = tally.states[State.FAILED] + tally.states[State.REFUSED]
    value = f"{tally.states[State.DONE]:,} done, {failed:,} failed, {still:,} not ended"
    return Criterion("rows", value, "every one ended", still == 0, tuple(tally.unended))


def _success(stage: Stage, tally: _Tally) -> Criterion:
    share = tally.states[State.DONE] / tally.episodes
    word = "downloaded" if stage == "fetch" else "transcribed"
    return Criterion(word, percent(share), goal(SUCCESS_GOAL, ">"), share > SUCCESS_GOAL)


def _objects(stage: Stage, tally: _Tally) -> Criterion:
    done = tally.states[State.DONE]
    what = "audio objects" if stage == "fetch" else "transcript objects"
    value = f"{done - tally.lost_count:,} of {done:,}"
    return Criterion(
        what,
        value,
        "each done row's" + (", in full" if stage == "fetch" else ""),
        not tally.lost_count,
        tuple(tally.lost),
    )


def _meta(tally: _Tally) -> Criterion:
    done = tally.states[State.DONE]
    value = f"{done - tally.untrue_count:,} of {done:,}"
    return Criterion(
        "transcript_key in meta.json", value, "as the rows say", not tally.untrue_count, tuple(tally.untrue)
    )


def _metrics(store: StatusStore, tally: _Tally) -> list[Criterion]:
    """Of the feeds and hosts of these episodes, on the days on which they were fetched: the feeds' daily rates,
    weighted by episodes, and all requests at the hosts. What other feeds and hosts met is not theirs."""
    days = tally.days
    rates: list[tuple[float, int]] = []
    asked = Traffic(0, 0)
    for day, names in sorted(tally.hosts.items()):
        for each in store.metrics.read(day):
            count = days.get((day, each.dimensions.get("feed_slug", "")), 0)
            if each.name == "DownloadSuccessRate" and count:
                rates.append((each.value, count))
        here = traffic(row for row in store.hosts.rows(day) if row.host in names)
        asked = Traffic(asked.requests + here.requests, asked.throttled + here.throttled)
    weight = sum(count for _rate, count in rates)
    rate = sum(rate * count for rate, count in rates) / weight if weight else None
    share = asked.share
    return [
        Criterion(
            "DownloadSuccessRate",
            percent(rate),
            goal(SUCCESS_GOAL, ">"),
            (rate is None and not days) or (rate or 0) > SUCCESS_GOAL,
        ),
        Criterion(
            "PerHost429",
            percent(share),
            goal(THROTTLED_GOAL, "<"),
            (share is None and not days) or (1.0 if share is None else share) < THROTTLED_GOAL,
        ),
    ]


def percent(share: float | None) -> str:
    """`98.7 %`, or `-` when there is nothing to count. Never rounded up to a goal that was missed."""
    return "-" if share is None else f"{int(share * 10_000) / 100:g} %"


def goal(share: float, sign: Literal["<", ">"]) -> str:
    return f"{sign} {share * 100:g} %"
