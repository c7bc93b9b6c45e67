"""Approving what a transcription costs (T2): which device it runs on, what that takes, and who says yes.

States of a transcription's cost: quoted (nothing is written) → approved by a rule or a person (recorded, and kept in
the work row) or not (the row is `held` and counts for no demand until `podrun approve`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from podinsight.domain.crew import crew
from podinsight.domain.episode import Episode
from podinsight.domain.pool import Rules
from podinsight.domain.prices import CUDA, PriceBook
from podinsight.domain.quote import (
    CPU,
    FREE_RULES,
    UNKNOWN_DEVICE,
    Approval,
    Audio,
    Quote,
    SpendingRule,
    free_rule,
    quote,
    total,
)
from podinsight.domain.quote_lines import Freight, service_lines
from podinsight.errors import ConfigError, Permanent
from podinsight.ports import StatusStore, Workers
from podinsight.services.gates import utc_day

MEASURED_DAYS: Final = 7  # speeds of these last days, today included, say how fast it will be
LATELY_SECONDS: Final = 3600.0  # what was decoded in them says more, if it is enough
LEAST_WINDOW: Final = 1200.0  # seconds of audio of it that are looked at, for however little there is to transcribe


@dataclass(frozen=True)
class Prices:
    """What the settings say: what things cost, a speed to assume, what needs no person, how many workers there are,
    and by which rules they come and go; None: they are always there."""

    book: PriceBook
    gpu_speed: float
    rule: SpendingRule
    workers: int = 1
    fleet: Rules | None = None


def device_of_work(workers: Workers, machine: str, here: Callable[[], tuple[str, str]] | None, book: PriceBook) -> str:
    """The device that transcriptions are to be priced for: that of the live gpu workers, the dearest of them.

    Without any: what this machine would choose. What is not known is priced, never free.

    Args:
        machine: this one's name, as its workers give it.
        here: Transcriber.device of this machine; None when it decodes nothing.
    """
    live = workers.live("gpu")
    devices = {each.device or (_device(here) if each.machine == machine else UNKNOWN_DEVICE) for each in live}
    return max(sorted(devices), key=lambda each: (book.device(each).micros, each != CPU), default=None) or _device(here)


def _device(here: Callable[[], tuple[str, str]] | None) -> str:
    try:
        return here()[0] if here is not None else UNKNOWN_DEVICE
    except (ConfigError, Permanent):  # another device is asked for than is there, or nothing to decode with
        return UNKNOWN_DEVICE


def quote_episodes(
    store: StatusStore, episodes: Mapping[str, Sequence[Episode]], device: str, prices: Prices, now: float
) -> Quote:
    """What these episodes (by model) will take on `device`, by what was measured in the last hour and on the last
    MEASURED_DAYS; with what downloading and cutting them costs, where it has not been done, and what workers cost that
    start for them and wait after them."""
    since = utc_day(now - (MEASURED_DAYS - 1) * 86400)
    measured = CUDA if device == UNKNOWN_DEVICE else device
    hour = prices.book.device(device)
    audios = {model: audio_of(chosen) for model, chosen in episodes.items() if chosen}
    quotes = [
        quote(
            audio,
            model,
            device,
            store.speech.speeds(since, model, measured),
            hour,
            prices.gpu_speed,
            store.speech.lately(now - LATELY_SECONDS, model, measured, max(LEAST_WINDOW, audio.estimate().likely)),
        )
        for model, audio in audios.items()
    ]
    freight = freight_of([each for chosen in episodes.values() for each in chosen])
    busy = total(quotes, device, hour).device_seconds
    who = crew(busy, prices.workers, prices.fleet)
    beside = (*service_lines(freight, who.lasts(busy), prices.book), *who.lines(hour))
    downloads = sum(not each.audio_key for chosen in episodes.values() for each in chosen)
    return replace(total(quotes, device, hour, beside), crew=who, downloads=downloads)


def freight_of(episodes: Sequence[Episode]) -> Freight:
    """What is still to be downloaded and cut for these. A length that a feed declares is one of bytes, mostly true."""
    coming = [each for each in episodes if not each.audio_key]
    declared = [each.length for each in coming if each.length]
    unsaid = audio_of([each for each in coming if not each.length])
    return Freight(sum(declared), unsaid.estimate(), audio_of(episodes).estimate())


def quoted_seconds(episodes: Sequence[Episode]) -> dict[str, float]:
    """For how many seconds of audio the quote of these is good, by id."""
    audio = audio_of(episodes)
    return {each.id: audio.most(_length(each)) for each in episodes}


def _length(episode: Episode) -> float:
    """Seconds as measured, else as the feed declares; 0 when neither is known."""
    return episode.audio_seconds or episode.duration or 0.0


def audio_of(episodes: Sequence[Episode]) -> Audio:
    """Their audio, as measured, else as the feed declares."""
    lengths = [seconds for each in episodes if (seconds := _length(each)) > 0]
    return Audio(sum(lengths), len(lengths), len(episodes) - len(lengths))


def rule_for(store: StatusStore, asked: Quote, prices: Prices, now: float) -> str:
    """The standing rule that would approve this now; empty when a person is needed."""
    if free := free_rule(asked.device, asked.price.micros):
        return free
    rule = prices.rule
    if rule.covers(asked) and store.speech.approved(utc_day(now), by_rule=True) + asked.cost.high <= rule.day_micros:
        return rule.name
    return ""


def approve(store: StatusStore, asked: Quote, rule: str, by: str, why: str, prices: Prices) -> str:
    """Records that `asked` may be spent; returns what the work rows keep, or empty when the day's limit was reached by
    another command in the meantime. rule: as `rule_for` gave it; empty for a person, `by`."""
    approval = Approval(by, rule, why, asked)
    limited = bool(rule) and rule not in FREE_RULES
    return approval.stamp if store.speech.approve(approval, prices.rule.day_micros if limited else None) else ""
