"""Who works a quote off: how many workers come, when they begin, what they cost without work (G4, G6). Pure."""

from dataclasses import dataclass
from typing import Final

from podinsight.domain.pool import Rules, needed
from podinsight.domain.prices import Price
from podinsight.domain.quote_lines import NOTHING, Item, Line, Range, timed

TWICE: Final = 2  # the high figure: work that comes late finds the workers gone, and they start once more


@dataclass(frozen=True)
class Crew:
    """workers: that decode at once. start: seconds until they do. idle: seconds for which they are paid together and
    hold no work. The last two are nothing where the workers are there anyway."""

    workers: int = 1
    start: Range = NOTHING
    idle: Range = NOTHING

    def lasts(self, busy: Range) -> Range:
        """Seconds until so many seconds of one worker are worked off; nothing to do takes none."""
        return busy.times(1 / self.workers) + self.start if busy.high > 0 else NOTHING

    def lines(self, price: Price) -> tuple[Line, ...]:
        """What they cost without work: none where that is nothing."""
        return (timed(Item.IDLE, self.idle, price),) if self.idle.high > 0 and price.micros else ()


ALONE: Final = Crew()


def crew(busy: Range, workers: int, rules: Rules | None) -> Crew:
    """Who comes for so many seconds of work of one worker.

    rules: by which a fleet grows and goes; None, or one of no machine at all: so many `workers` are always there.

    Formula, of a fleet that scales, n = ⌈likely ÷ drain⌉, 1 at least and `rules.most` at most, as the brain has it:

    - start: nothing when they run already, else that of the rules; high a `sweep` more, until somebody looks;
    - idle: nothing when they run anyway, for others; likely each starts once, and of all but the last, which goes when
      the grace is over, one has gone after `settle` and the others after two of them; high TWICE that, each going a
      `sweep` later.
    """
    if rules is None or not rules.most:
        return Crew(max(1, workers))
    if busy.high <= 0:
        return ALONE
    number = max(1, min(rules.most, needed(busy.likely, rules)))
    waits = [min(times * rules.settle, rules.grace) for times in (1, *[2] * number)]
    idle = number * rules.start + sum(waits[: number - 1]) + rules.grace
    return Crew(
        number,
        Range(0.0, rules.start, rules.sweep + rules.start),
        Range(0.0, idle, TWICE * (idle + number * rules.sweep)),
    )
