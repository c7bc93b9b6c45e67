"""What a transcription will take and cost, before anything is spent (T2, G4)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

CPU: Final = "cpu"
UNKNOWN_DEVICE: Final = "gpu"  # somewhere else, and nobody has said yet what: it is priced
FREE_RULE: Final = "rule: the device costs nothing"  # of a CPU alone: no other device may decode under it
UNPRICED_RULE: Final = "rule: a GPU hour is priced at nothing"
FREE_RULES: Final = frozenset({FREE_RULE, UNPRICED_RULE})

MEAN_SECONDS: Final = 3600.0  # of an episode when no length at all is known
UNKNOWN_SPREAD: Final = 3.0  # an episode of unknown length: the mean, a third of it, three times as much
ASSUMED_SPREAD: Final = 3.0  # a speed that nobody has measured
LITTLE_SPREAD: Final = 2.0  # a speed measured over less than ENOUGH_SECONDS of audio
LEAST_SPREAD: Final = 1.25  # a speed that was the same every day
ENOUGH_SECONDS: Final = 600.0
REPEATED: Final = 1.15  # the high figure: 10 % for Spot interruptions and 5 % for retries (G4)


@dataclass(frozen=True)
class Speed:
    """What decoding took on one UTC day, by model, device and compute type."""

    day: str
    model: str
    device: str
    compute_type: str
    audio_seconds: float
    wall_seconds: float
    device_seconds: float
    chunks: int


@dataclass(frozen=True)
class Range:
    """A figure and what it lies between."""

    low: float
    likely: float
    high: float

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def times(self, factor: float) -> "Range":
        return Range(self.low * factor, self.likely * factor, self.high * factor)


NOTHING: Final = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Audio:
    """How much there is to transcribe: `seconds` of the `known` episodes, and `unknown` ones without a length."""

    seconds: float = 0.0
    known: int = 0
    unknown: int = 0

    @property
    def episodes(self) -> int:
        return self.known + self.unknown

    @property
    def mean(self) -> float:
        """What an episode of unknown length is reckoned with."""
        return self.seconds / self.known if self.known and self.seconds > 0 else MEAN_SECONDS

    def most(self, seconds: float) -> float:
        """The most that the quote reckons with for an episode of this declared length; 0: not known."""
        return seconds if seconds > 0 else self.mean * UNKNOWN_SPREAD

    def estimate(self) -> Range:
        """Seconds of all: each unknown length is the mean of the known ones, widened by UNKNOWN_SPREAD."""
        missing = self.unknown * self.mean
        return Range(
            self.seconds + missing / UNKNOWN_SPREAD, self.seconds + missing, self.seconds + missing * UNKNOWN_SPREAD
        )


@dataclass(frozen=True)
class Quote:
    """audio_seconds as estimated; device_seconds: how long the device is busy; usd: dollars for that.

    basis: where the speed comes from, for a person.
    """

    episodes: int
    unknown: int
    audio_seconds: Range
    device_seconds: Range
    usd: Range
    device: str
    price_hour_usd: float
    basis: str


def quote(
    audio: Audio, model: str, device: str, speeds: Sequence[Speed], price_hour_usd: float, assumed_speed: float
) -> Quote:
    """What `model` will take on `device` for this audio.

    Formula, speeds in seconds of audio per second of device:

    - likely speed = Σ audio / Σ device seconds of the days that were measured; low and high are those
      of the slowest and the fastest day with at least ENOUGH_SECONDS of audio, and no nearer than LEAST_SPREAD;
      with less audio than that in all: likely ÷ and × LITTLE_SPREAD. Nothing measured: `assumed_speed` ÷ and ×
      ASSUMED_SPREAD;
    - device seconds low = audio low / fastest, likely = likely / likely, high = audio high / slowest × REPEATED;
    - dollars = device seconds / 3600 × `price_hour_usd`. A CPU costs nothing.

    Args:
        speeds: of this model and device, measured on the last days.
        price_hour_usd: what an hour of a device costs that is no CPU.
        assumed_speed: of the settings, for a device that was never measured.

    Raises:
        ValueError: a price below zero or an assumed speed that is not above it.
    """
    if price_hour_usd < 0 or assumed_speed <= 0:
        raise ValueError(f"nothing can be quoted at {price_hour_usd} $/h and {assumed_speed} × real time")
    price = hour_usd(device, price_hour_usd)
    speed, basis = _speed(speeds, assumed_speed)
    seconds = audio.estimate()
    busy = Range(seconds.low / speed.high, seconds.likely / speed.likely, seconds.high / speed.low * REPEATED)
    return Quote(
        audio.episodes, audio.unknown, seconds, busy, busy.times(price / 3600), device, price, f"{model}: {basis}"
    )


def hour_usd(device: str, gpu_hour_usd: float) -> float:
    """Dollars of an hour of a device: a CPU is there anyway."""
    return 0.0 if device == CPU else gpu_hour_usd


def free_rule(device: str, price_hour_usd: float) -> str:
    """The rule that approves what costs nothing; empty when it costs something."""
    if price_hour_usd > 0:
        return ""
    return FREE_RULE if device == CPU else UNPRICED_RULE


def _speed(days: Sequence[Speed], assumed: float) -> tuple[Range, str]:
    days = [each for each in days if each.audio_seconds > 0 and each.device_seconds > 0]
    if not days:
        return _around(assumed, ASSUMED_SPREAD), f"{assumed:g} × real time is assumed, nothing was measured yet"
    heard = sum(each.audio_seconds for each in days)
    likely = heard / sum(each.device_seconds for each in days)
    measured = (
        f"{likely:.3g} × real time, measured over {heard / 3600:,.2f} h of audio since {min(d.day for d in days)}"
    )
    if heard < ENOUGH_SECONDS:
        return _around(likely, LITTLE_SPREAD), measured
    least = _around(likely, LEAST_SPREAD)
    each_day = [each.audio_seconds / each.device_seconds for each in days if each.audio_seconds >= ENOUGH_SECONDS]
    return Range(min([least.low, *each_day]), likely, max([least.high, *each_day])), measured


def _around(likely: float, spread: float) -> Range:
    return Range(likely / spread, likely, likely * spread)


def total(quotes: Sequence[Quote], device: str, price_hour_usd: float) -> Quote:
    """All of them together, on one device at one price. None at all is a quote of nothing."""
    return Quote(
        episodes=sum(each.episodes for each in quotes),
        unknown=sum(each.unknown for each in quotes),
        audio_seconds=_sum(each.audio_seconds for each in quotes),
        device_seconds=_sum(each.device_seconds for each in quotes),
        usd=_sum(each.usd for each in quotes),
        device=device,
        price_hour_usd=price_hour_usd,
        basis="; ".join(dict.fromkeys(each.basis for each in quotes)),
    )


def _sum(ranges: Iterable[Range]) -> Range:
    return reduce(Range.__add__, ranges, NOTHING)


@dataclass(frozen=True)
class Approval:
    """Who said that a quote may be spent. rule: the standing rule that said so, empty when it was a person."""

    by: str
    rule: str
    why: str
    quote: Quote

    @property
    def stamp(self) -> str:
        """As work rows keep it."""
        return self.rule or self.by


@dataclass(frozen=True)
class ApprovalView:
    """An approval for a person. at: epoch seconds; audio_seconds: as quoted; usd: as quoted, low, likely, high."""

    at: float
    by: str
    rule: str
    why: str
    episodes: int
    audio_seconds: float
    usd: Range


@dataclass(frozen=True)
class SpendingRule:
    """A standing rule: dollars that it approves by itself, in one command and in one UTC day, by the high figure."""

    usd_per_run: float
    usd_per_day: float

    @property
    def name(self) -> str:
        return f"rule: up to ${self.usd_per_run:g} a command and ${self.usd_per_day:g} a day"

    def covers(self, asked: Quote) -> bool:
        """Whether one command may spend this; what was approved earlier in the day is not looked at."""
        return self.usd_per_run > 0.0 and asked.usd.high <= min(self.usd_per_run, self.usd_per_day)
