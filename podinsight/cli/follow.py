"""Following episodes until each has come to its end: what happened since the last look, and why nothing happens."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from podinsight.domain.control import RESUME
from podinsight.domain.episode import Episode
from podinsight.domain.held import OVER_BUDGET, WAITS_FOR_APPROVAL
from podinsight.domain.work import State
from podinsight.errors import Unavailable
from podinsight.ports import StatusStore
from podinsight.topology import STAGES

LOOK_SECONDS = 0.5
GUARD_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
_ENDED = (State.DONE, State.FAILED, State.REFUSED)


def _has_ended(state: State, reason: str) -> bool:
    """Nothing happens any more, or nothing before somebody approves the cost or raises a ceiling."""
    waits = reason == WAITS_FOR_APPROVAL or reason.startswith(OVER_BUDGET)
    return state in _ENDED or (state is State.HELD and waits)


@dataclass(frozen=True)
class Ending:
    """An episode whose stage has ended, or waits for an approval or a higher ceiling (`held`). `episode` is as it is
    afterwards."""

    stage: str
    episode: Episode
    state: State
    reason: str


@dataclass(frozen=True)
class Look:
    """One look: what ended since the last one, and how many stand where (stage → state → episodes)."""

    endings: tuple[Ending, ...]
    counts: Mapping[str, Counter[State]]
    notice: str = ""


@dataclass(frozen=True)
class Times:
    """Seconds between looks, between looks at workers and control, and without any worker until it is given up."""

    look: float = LOOK_SECONDS
    guard: float = GUARD_SECONDS
    patience: float = PATIENCE_SECONDS


@dataclass
class Follower:
    """Looks until all has ended. wanted: stage → episode ids that have a row there. comes: whether a pool without a
    worker gets one when there is work for it.

    Raises (from `looks`) Unavailable when a pool that is needed has had no worker for `times.patience`.
    """

    store: StatusStore
    wanted: Mapping[str, Sequence[str]]
    times: Times = Times()
    sleep: Callable[[float], None] = time.sleep
    comes: Callable[[str], bool] = lambda _pool: False
    _ended: dict[str, Counter[State]] = field(default_factory=dict)
    _open: dict[str, list[str]] = field(default_factory=dict)
    _last_worker: float = 0.0
    _guarded: float = 0.0
    _notice: str = ""

    def looks(self) -> Iterator[Look]:
        self._open = {stage: list(ids) for stage, ids in self.wanted.items()}
        self._ended = {stage: Counter() for stage in self.wanted}
        self._last_worker = self._guarded = time.monotonic()
        while True:
            began = time.monotonic()
            look = self._look()
            yield look
            if not any(self._open.values()):
                return
            # Large sets take a while to read: never keep the database busier than a fifth of the time.
            self.sleep(max(self.times.look, 4 * (time.monotonic() - began)))

    def _look(self) -> Look:
        endings: list[Ending] = []
        counts: dict[str, Counter[State]] = {}
        for stage, ids in self._open.items():
            states = self.store.work.states(stage, ids)
            ended = [episode_id for episode_id in ids if episode_id in states and _has_ended(*states[episode_id])]
            self._ended[stage].update(states[episode_id][0] for episode_id in ended)
            counts[stage] = self._ended[stage] + Counter(
                state for state, reason in states.values() if not _has_ended(state, reason)
            )
            self._open[stage] = [episode_id for episode_id in ids if episode_id not in set(ended)]
            endings += [Ending(stage, episode, *states[episode.id]) for episode in self.store.catalogue.episodes(ended)]
        return Look(tuple(endings), counts, self._guard(bool(endings)))

    def _guard(self, moved: bool) -> str:
        """Why nothing may happen for a while; empty when all is as it should be."""
        now = time.monotonic()
        if moved:
            self._last_worker = now
        if now - self._guarded < self.times.guard:
            return self._notice
        self._guarded = now
        control = self.store.control.read()
        stages = [stage for stage, ids in self._open.items() if ids]
        pools = [STAGES[stage].queue for stage in stages]
        if "transcribe" in stages and self.store.work.demand("plan").waiting:
            pools.insert(0, STAGES["plan"].queue)
        missing = [pool for pool in pools if self.store.workers.live_slots(pool) == 0 and not self.comes(pool)]
        if not missing:
            self._last_worker = now
        if now - self._last_worker > self.times.patience:
            raise Unavailable(f"no {missing[0]} worker has been up for {self.times.patience:.0f} s")
        why = next((text for stage in stages if (text := control.forbids(stage))), "")
        held = f"{why}; `{RESUME}` goes on, Ctrl-C leaves it queued" if why else ""
        self._notice = f"no {missing[0]} worker is up" if missing else held
        return self._notice
