"""Whether a publisher's transcript can be believed (F12): rules about cues and the length of the audio. Pure.

Each rule returns what it objects to in words for a person, or nothing. Being strict is cheap: what is kept aside is
decoded as if there were none. What no rule here can see is an advertisement put into the audio at delivery that is
shorter than LATE_SHARE of it: the text is then right and its times are late by that much.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from podinsight.domain.publisher import Cue, covered_seconds, lines

FEWEST_WORDS: Final = 10
BACK_SECONDS: Final = 1.0  # two people at once, or rounding; more than that is another order
OVER_SHARE: Final = 1.02  # clocks drift, and containers round
OVER_SECONDS: Final = 5.0  # a last cue is often left standing
SPAN_SHARE: Final = (
    0.8  # from first to last word: jingle, credits and music take up to a fifth, a missing half does not
)
LATE_SHARE: Final = 0.1  # what may be without words at the end …
LATE_SECONDS: Final = 60.0  # … or this, in short episodes: closing music. More: the audio has what the text lacks
COVERED_SHARE: Final = 0.4  # speech of talk shows is 80 % and more; word by word files leave gaps; excerpts fall below
LONGEST_CUE: Final = 60.0  # seconds: a cue that long cannot be found again by ear
COARSE_SHARE: Final = 0.5  # of the covered time in cues that long: a text cut into blocks, not captions
OVERLAP_SHARE: Final = 0.25  # people interrupt each other for less; rolling captions repeat themselves for more
SLOWEST, FASTEST = 40.0, 300.0  # words a minute of covered time: slow reading, and an auctioneer
LETTER_SHARE: Final = 0.5  # of what is not space
MARKUP_SHARE: Final = 0.05  # of the lines
REPEATED_SHARE: Final = 0.25  # of runs of four words that were there before; captions that roll two lines say 30 %
_RUN: Final = 4
_CHARACTERS_A_WORD: Final = 3  # of scripts without spaces: between Chinese (1.5 to 2) and Thai (4 to 5)
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_MARKUP = re.compile(r"</?[a-z][a-z0-9]{0,15}(?:\s[^<>]{0,200})?/?>|\bhref=|&[a-z]{2,8};", re.IGNORECASE)


def objection(cues: Sequence[Cue], seconds: float) -> str:
    """Why these cues are not the transcript of an audio of so many seconds; empty when they are."""
    spoken = lines(cues)
    for rule in _RULES:
        found = rule(cues, spoken, seconds)
        if found:
            return found
    return ""


def words(text: str) -> int:
    """Words of a text; scripts without spaces count three characters a word."""
    spaced, characters = _UNSPACED.subn(" ", text)
    return len(spaced.split()) + -(-characters // _CHARACTERS_A_WORD)


def _enough(cues: Sequence[Cue], spoken: Sequence[Cue], seconds: float) -> str:
    if seconds <= 0:
        return "the length of the audio is not known"
    count = sum(words(cue.text) for cue in spoken)
    return f"only {count} words" if count < FEWEST_WORDS else ""


def _order(cues: Sequence[Cue], spoken: Sequence[Cue], seconds: float) -> str:
    for cue in cues:
        if cue.end < cue.start:
            return f"a line ends before it begins, at {cue.start:.1f} s"
    latest = 0.0
    for cue in cues:
        if cue.start < latest - BACK_SECONDS:
            return f"times go backwards, from {latest:.1f} s to {cue.start:.1f} s"
        latest = max(latest, cue.start)
    return ""


def _end(cues: Sequence[Cue], spoken: Sequence[Cue], seconds: float) -> str:
    last = max(cue.end for cue in spoken)
    if last > seconds * OVER_SHARE + OVER_SECONDS:
        return f"it ends at {last:.1f} s, the audio at {seconds:.1f} s: of another cut"
    late = seconds - last
    if late > max(seconds * LATE_SHARE, LATE_SECONDS):
        return f"it ends {late:.1f} s before the audio does"
    return ""


def _span(cues: Sequence[Cue], spoken: Sequence[Cue], seconds: float) -> str:
    share = (max(cue.end for cue in spoken) - spoken[0].start) / seconds
    return f"from its first to its last word it spans {share:.0%} of the audio" if share < SPAN_SHARE else ""


def _covered(cues: Sequence[Cue], spoken: Sequence[Cue], seconds: float) -> str:
    share = covered_seconds(spoken) / seconds
    return f"only {share:.0%} of the audio is under captions" if share < COVERED_SHARE else ""


def _coarse(cues: Sequence[Cue], spoken: Sequence[Cue], seconds: float) -> str:
    blocks = sum(cue.end - cue.start for cue in spoken if cue.end - cue.start > LONGEST_CUE)
    share = blocks / covered_seconds(spoken)
    return f"{share:.0%} of it is in blocks of more than {LONGEST_CUE:.0f} s" if share > COARSE_SHARE else ""


def _overlap(cues: Sequence[Cue], spoken: Sequence[Cue], seconds: float) -> str:
    ordered = sorted(cues, key=lambda cue: cue.start)
    twice = sum(max(0.0, min(a.end, b.end) - b.start) for a, b in pairwise(ordered))
    share = twice / covered_seconds(cues)
    return f"its lines overlap for {share:.0%} of their time" if share > OVERLAP_SHARE else ""


def _pace(cues: Sequence[Cue], spoken: Sequence[Cue], seconds: float) -> str:
    pace = sum(words(cue.text) for cue in spoken) / covered_seconds(spoken) * 60
    if SLOWEST <= pace <= FASTEST:
        return ""
    return f"{pace:.0f} words a minute: nobody speaks so {'slowly' if pace < SLOWEST else 'fast'}"


def _markup(cues: Sequence[Cue], spoken: Sequence[Cue], seconds: float) -> str:
    share = sum(_MARKUP.search(cue.text) is not None for cue in spoken) / len(spoken)
    return f"it is HTML: {share:.0%} of its lines have tags" if share > MARKUP_SHARE else ""


def _letters(cues: Sequence[Cue], spoken: Sequence[Cue], seconds: float) -> str:
    text = "".join("".join(cue.text.split()) for cue in spoken)
    letters = sum(each.isalpha() or unicodedata.category(each)[0] == "M" for each in text)
    share = letters / len(text)
    return f"only {share:.0%} of its characters are letters" if share < LETTER_SHARE else ""


def _repeats(cues: Sequence[Cue], spoken: Sequence[Cue], seconds: float) -> str:
    stream = " ".join(cue.text.casefold() for cue in spoken).split()
    runs = list(zip(*(stream[start:] for start in range(_RUN)), strict=False))
    if not runs:
        return ""
    share = 1 - len(set(runs)) / len(runs)
    return f"{share:.0%} of it repeats what was said before" if share > REPEATED_SHARE else ""


# The cheap ones first: what passes the pace is no longer than the audio, so the rest is bounded by it.
_RULES: Final[tuple[Callable[[Sequence[Cue], Sequence[Cue], float], str], ...]] = (
    _enough,
    _order,
    _end,
    _span,
    _covered,
    _coarse,
    _overlap,
    _pace,
    _markup,
    _letters,
    _repeats,
)
