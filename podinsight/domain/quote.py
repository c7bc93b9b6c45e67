"""What a transcription will take and cost, before anything is spent (T2, G4)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

from podinsight.domain.crew import ALONE, Crew
from podinsight.domain.money import Micros, usd
from podinsight.domain.prices import CPU as CPU
from podinsight.domain.prices import Price
from podinsight.domain.quote_lines import (
    NOTHING,
    RETRY_PERCENT,
    SPOT_PERCENT,
    Amounts,
    Item,
    Line,
    amount,
    around,
    buffers,
    summed,
    timed,
)
from podinsight.domain.quote_lines import Range as Range

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
REPEATED: Final = 1 + (SPOT_PERCENT + RETRY_PERCENT) / 100  # the high figure: Spot interruptions and retries (G4)


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
class Pace:
    """Seconds of audio that were decoded, and the seconds that the leases lasted for it."""

    audio_seconds: float = 0.0
    wall_seconds: float = 0.0

    @property
    def enough(self) -> bool:
        """Whether one can go by it."""
        return self.audio_seconds >= ENOUGH_SECONDS and self.wall_seconds > 0


UNHEARD: Final = Pace()


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
    """audio_seconds as estimated; device_seconds: for how long the device is paid; lines: what it costs, by item.

    price: of an hour of the device. basis: where the speed comes from, for a person. crew: who does it. downloads: of
    episodes that are not there yet; how long they take is in no figure, for nobody has measured it.
    """

    episodes: int
    unknown: int
    audio_seconds: Range
    device_seconds: Range
    lines: tuple[Line, ...]
    device: str
    price: Price
    basis: str
    crew: Crew = ALONE
    downloads: int = 0

    @property
    def cost(self) -> Amounts:
        """All lines together."""
        return amount(self.lines)

    @property
    def cost_of_work(self) -> Amounts:
        """The same without what machines cost while they hold no work, which is on no command's account."""
        return amount([each for each in self.lines if each.item is not Item.IDLE])

    @property
    def usd(self) -> Range:
        """The same in dollars, for people."""
        return self.cost.usd

    @property
    def free(self) -> bool:
        """Whether the device costs nothing: then nobody has to approve it."""
        return self.price.micros == 0

    @property
    def lasts(self) -> Range:
        """Seconds until its crew is done, once everything is downloaded."""
        return self.crew.lasts(self.device_seconds)


def quote(
    audio: Audio,
    model: str,
    device: str,
    speeds: Sequence[Speed],
    price: Price,
    assumed_speed: float,
    lately: Pace = UNHEARD,
) -> Quote:
    """What `model` will take on `device` for this audio.

    Formula, speeds in seconds of audio per second of a worker, which is paid for from the claim of a chunk to its
    commit, cutting, loading and writing included:

    - likely speed = Σ audio / Σ wall seconds of what was decoded `lately`, if that is ENOUGH_SECONDS of audio: machines
      drift, and the next quarter of an hour is most like the last. Else the same of the days that were measured;
    - low and high speed are those of the slowest and the fastest day with at least ENOUGH_SECONDS of audio, and no
      nearer to the likely one than LEAST_SPREAD; with less audio than that in all: likely ÷ and × LITTLE_SPREAD.
      Nothing measured: `assumed_speed` ÷ and × ASSUMED_SPREAD;
    - device seconds low = audio low / fastest, likely = likely / likely, high = audio high / slowest × REPEATED;
    - dollars = seconds × `price` of an hour, the buffers of the high figure in lines of their own;
    - what workers cost while they start and hold no work is a line of all quotes together: `domain.crew.crew`.

    Args:
        speeds: of this model and device, measured on the last days.
        price: of an hour of this device.
        assumed_speed: of the settings, for a device that was never measured.
        lately: of the same model and device, over about as much audio as there is to transcribe.

    Raises:
        ValueError: a price below zero or an assumed speed that is not above it.
    """
    if price.micros < 0 or assumed_speed <= 0:
        raise ValueError(f"nothing can be quoted at {price.micros} micro-dollars/h and {assumed_speed} × real time")
    speed, basis = _speed(speeds, assumed_speed, lately)
    seconds = audio.estimate()
    busy = Range(seconds.low / speed.high, seconds.likely / speed.likely, seconds.high / speed.low)
    gpu = timed(Item.GPU, busy, price)
    return Quote(
        audio.episodes,
        audio.unknown,
        seconds,
        Range(busy.low, busy.likely, busy.high * REPEATED),
        (gpu, *buffers(gpu)),
        device,
        price,
        f"{model}: {basis}",
    )


def free_rule(device: str, hour: Micros) -> str:
    """The rule that approves what costs nothing; empty when it costs something."""
    if hour > 0:
        return ""
    return FREE_RULE if device == CPU else UNPRICED_RULE


def _speed(days: Sequence[Speed], assumed: float, lately: Pace) -> tuple[Range, str]:
    days = [each for each in days if each.audio_seconds > 0 and _paid(each) > 0]
    if not days:
        return around(assumed, ASSUMED_SPREAD), f"{assumed:g} × real time is assumed, nothing was measured yet"
    if lately.enough:
        pace, since = lately, "lately"
    else:
        pace = Pace(sum(each.audio_seconds for each in days), sum(map(_paid, days)))
        since = f"since {min(each.day for each in days)}"
    likely = pace.audio_seconds / pace.wall_seconds
    measured = f"{likely:.3g} × real time, measured over {pace.audio_seconds / 3600:,.2f} h of audio {since}"
    if not pace.enough:
        return around(likely, LITTLE_SPREAD), measured
    least = around(likely, LEAST_SPREAD)
    each_day = [each.audio_seconds / _paid(each) for each in days if each.audio_seconds >= ENOUGH_SECONDS]
    return Range(min([least.low, *each_day]), likely, max([least.high, *each_day])), measured


def _paid(day: Speed) -> float:
    """Seconds that leases lasted, which is what is paid for."""
    return max(day.wall_seconds, day.device_seconds)


def total(quotes: Sequence[Quote], device: str, price: Price, services: Sequence[Line] = ()) -> Quote:
    """All of them together, on one device at one price. None at all is a quote of nothing.

    services: what is paid beside the work of the device.
    """
    return Quote(
        episodes=sum(each.episodes for each in quotes),
        unknown=sum(each.unknown for each in quotes),
        audio_seconds=_sum(each.audio_seconds for each in quotes),
        device_seconds=_sum(each.device_seconds for each in quotes),
        lines=summed([*services, *(line for each in quotes for line in each.lines)]),
        device=device,
        price=price,
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
    """An approval for a person. at: epoch seconds; audio_seconds and cost: as quoted."""

    at: float
    by: str
    rule: str
    why: str
    episodes: int
    audio_seconds: float
    cost: Amounts


@dataclass(frozen=True)
class SpendingRule:
    """A standing rule: how much it approves by itself, in one command and in one UTC day, by the high figure."""

    run_micros: Micros
    day_micros: Micros

    @property
    def name(self) -> str:
        return f"rule: up to {usd(self.run_micros)} a command and {usd(self.day_micros)} a day"

    def covers(self, asked: Quote) -> bool:
        """Whether one command may spend this; what was approved earlier in the day is not looked at."""
        return self.run_micros > 0 and asked.cost.high <= min(self.run_micros, self.day_micros)
