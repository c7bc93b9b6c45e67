"""F12: a publisher transcript is accepted when it covers the audio and reads like speech. Each rule at its boundary."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podinsight.domain import caption_check
from podinsight.domain.caption_check import objection, words
from podinsight.domain.publisher import Cue

SECONDS = 600.0
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def sentence(n: int, count: int = 10) -> str:
    """Words that no other line has."""
    number = "".join(LETTERS[int(digit)] for digit in str(n))
    return " ".join(f"{number}{LETTERS[place % 26]}{LETTERS[place // 26]}" for place in range(count))


def talk(
    start: float = 0.0, end: float = SECONDS, step: float = 5.0, count: int = 10, length: float = 5.0
) -> list[Cue]:
    """Even speech: a line of `count` words every `step` seconds."""
    return [
        Cue(start + n * step, min(start + n * step + length, end), sentence(int(start) * 1000 + n, count))
        for n in range(int((end - start) / step))
    ]


def test_even_speech_over_the_whole_audio_is_accepted() -> None:
    assert objection(talk(), SECONDS) == ""


@pytest.mark.parametrize(
    ("cues", "reason"),
    [
        ([], "only 0 words"),
        ([Cue(0, SECONDS, "")], "only 0 words"),
        ([Cue(0, 5, sentence(1, 9))], "only 9 words"),
        ([*talk(), Cue(SECONDS, SECONDS - 1, "back")], "ends before it begins"),
        ([*talk(0, 300), *talk(298.5, SECONDS)], ""),
        (list(reversed(talk())), "times go backwards"),
        ([*talk(), Cue(100.0, 105.0, "once more")], "times go backwards, from 595.0 s to 100.0 s"),
        (talk(0, SECONDS * 1.02 + 5), ""),
        ([*talk(), Cue(SECONDS, SECONDS * 1.02 + 5.1, sentence(999))], "of another cut"),
        (talk(0, SECONDS - 60), ""),
        (talk(0, SECONDS - 65), "it ends 65.0 s before the audio does"),
        (talk(SECONDS * 0.2, SECONDS), ""),
        (talk(125, SECONDS), "spans 79% of the audio"),
        (talk(step=10, length=4.0, count=10), ""),
        (talk(step=10, length=3.9, count=10), "only 39% of the audio is under captions"),
        (talk(step=60, length=60, count=120), ""),
        (talk(step=66, length=65, count=130), "in blocks of more than 60 s"),
        (talk(step=4, length=4.9, count=9), ""),
        (talk(step=4, length=5.5, count=9), "overlap for"),
        (talk(step=6, length=6, count=4), ""),
        (talk(step=6.2, length=6.2, count=4), "39 words a minute: nobody speaks so slowly"),
        (talk(count=25), ""),
        (talk(count=26), "312 words a minute: nobody speaks so fast"),
    ],
)
def test_each_rule_at_its_boundary(cues: list[Cue], reason: str) -> None:
    said = objection(cues, SECONDS)
    assert (reason in said) if reason else said == ""


def test_audio_of_unknown_length_accepts_nothing() -> None:
    assert objection(talk(), 0.0) == "the length of the audio is not known"


def with_text(texts: list[str]) -> list[Cue]:
    return [Cue(n * 5.0, n * 5.0 + 5, text) for n, text in enumerate(texts)]


def test_the_same_line_over_and_over_is_no_speech() -> None:
    loop = ["Thank you for watching this video today."] * 120
    assert "repeats what was said before" in objection(with_text(loop), SECONDS)
    now_and_then = [sentence(n, 7) if n % 4 else line for n, line in enumerate(loop)]
    assert objection(with_text(now_and_then), SECONDS) == "", "a refrain is no loop"
    rolling = [f"{sentence(n, 8)} {sentence(n + 1, 8)}" for n in range(120)]
    assert "repeats what was said before" in objection(with_text(rolling), SECONDS), "rolling captions say all twice"


def test_what_is_mostly_signs_or_tags_is_no_speech() -> None:
    signs = ["♪ ♫ ♪ 12 34 56 -- 78 ab"] * 120
    assert "of its characters are letters" in objection(with_text(signs), SECONDS)
    tags = [f'<div class="line">{sentence(n)}</div>' for n in range(120)]
    assert objection(with_text(tags), SECONDS).startswith("it is HTML")
    few = [f"a < b & c > d {sentence(n)}" for n in range(120)]
    assert objection(with_text(few), SECONDS) == ""


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("two words", 2), ("这是一个句子", 2), ("สวัสดี", 2), ("한국어 문장", 2), ("日本", 1), ("OK 日本語", 2)],
)
def test_words_of_scripts_without_spaces_are_counted_by_characters(text: str, count: int) -> None:
    assert words(text) == count


def test_speech_in_a_script_without_spaces_is_accepted() -> None:
    texts = ["".join(chr(0x4E00 + 97 * n % 9000 + place) for place in range(20)) for n in range(120)]
    assert objection(with_text(texts), SECONDS) == ""


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            lambda start, length, text: Cue(start, start + length, text),
            st.floats(0, 1e6, allow_nan=False),
            st.floats(0, 1e4, allow_nan=False),
            st.text(max_size=40).map(lambda text: " ".join(text.split())),
        ),
        max_size=20,
    ),
    st.floats(0.0, 1e6, allow_nan=False),
)
def test_anything_gets_an_answer(cues: list[Cue], seconds: float) -> None:
    assert isinstance(objection(cues, seconds), str)


@settings(deadline=None, max_examples=50)
@given(st.floats(60.0, 20_000.0), st.floats(0.5, 2.0))
def test_it_is_the_share_that_counts_and_not_the_length(seconds: float, factor: float) -> None:
    """Captions of one audio are never believed of one that is much longer or much shorter."""
    said = objection(talk(0, seconds), seconds * factor)
    late = max(seconds * factor * caption_check.LATE_SHARE, caption_check.LATE_SECONDS)
    if seconds > seconds * factor * caption_check.OVER_SHARE + caption_check.OVER_SECONDS + 5:
        assert "another cut" in said
    elif seconds * factor - seconds > late + 5:
        assert "before the audio does" in said
