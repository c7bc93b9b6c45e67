"""Cues as captioning guides ask (T5): limits kept, times inside the speech, no word lost."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from podinsight.domain.cues import CHARACTERS_A_SECOND, LINE_WIDTH, LINES, LONGEST_MS, SHORTEST_MS, cues, one_line
from podinsight.domain.transcript import Part, Segment, Word, join

LONG = (
    "So this is a fairly long segment, as Whisper likes to make them; it goes on for nearly half a minute. "
    "Nobody can read it at once, which is why it has to be split. And here, at last, is its end."
)


def test_a_segment_that_fits_is_one_cue_in_balanced_lines() -> None:
    (cue,) = cues([Segment(1.0, 5.0, "Nobody can read it all at once, so that it has to be split.")], 10.0)
    assert cue.lines == ("Nobody can read it all at once,", "so that it has to be split.")
    assert (cue.start, cue.end) == (1000, 5000)


def test_a_long_segment_is_split_where_sentences_and_clauses_end() -> None:
    found = cues([Segment(0.0, 19.0, LONG)], 20.0)
    assert [" ".join(cue.lines) for cue in found] == [
        "So this is a fairly long segment, as Whisper likes to make them;",
        "it goes on for nearly half a minute.",
        "Nobody can read it at once, which is why it has to be split.",
        "And here, at last, is its end.",
    ]
    assert (found[0].start, found[-1].end) == (0, 19_000)
    marks = [(cue.end - cue.start) / len("".join(cue.lines)) for cue in found]
    assert max(marks) / min(marks) < 1.1, "in proportion to the characters"


def test_the_times_of_words_are_used_when_they_are_there() -> None:
    text = "One two three four, five six seven eight nine ten eleven. Twelve thirteen fourteen fifteen sixteen."
    words = text.split()
    timed = tuple(Word(n + (10.0 if n > 10 else 0.0), n + (10.5 if n > 10 else 0.5), w) for n, w in enumerate(words))
    first, *_others, last = cues([Segment(0.0, 30.0, text, words=timed)], 40.0)
    assert (first.start, " ".join(first.lines)) == (0, "One two three four,")
    assert (last.start, " ".join(last.lines)) == (21_000, "Twelve thirteen fourteen fifteen sixteen.")
    assert cues([Segment(0.0, 30.0, text, words=timed[:-1])], 40.0) == cues([Segment(0.0, 30.0, text)], 40.0)


def test_words_with_spaces_before_them_and_pieces_of_words_are_found_in_the_text() -> None:
    """As faster-whisper gives them."""
    pieces = (Word(5.0, 5.4, " Well"), Word(5.4, 5.8, "-known"), Word(9.0, 9.5, " words."))
    (cue,) = cues([Segment(0.0, 15.0, "Well-known words.", words=pieces)], 15.0)
    assert (cue.start, cue.end, cue.lines) == (5000, 9500, ("Well-known words.",))


def test_a_pause_inside_a_segment_parts_its_cues() -> None:
    words = (Word(0.0, 0.5, "Before"), Word(0.5, 1.0, "it."), Word(20.0, 20.5, "After"), Word(20.5, 21.0, "it."))
    found = cues([Segment(0.0, 21.0, "Before it. After it.", words=words)], 30.0)
    assert [(cue.start, cue.end, cue.lines) for cue in found] == [
        (0, 1000, ("Before it.",)),
        (20_000, 21_000, ("After it.",)),
    ]


@pytest.mark.parametrize(
    ("segments", "ends"),
    [
        ([Segment(0.0, 0.2, "Yes.")], [833]),  # 5/6 s, where nothing follows
        ([Segment(0.0, 0.2, "Yes."), Segment(0.5, 2.0, "No.")], [500, 2000]),  # as far as the next allows
        ([Segment(0.0, 1.0, "Forty characters need two seconds, here.")], [2000]),
        ([Segment(0.0, 30.0, "Yes.")], [7000]),
        ([Segment(9.8, 9.9, "Yes.")], [10_000]),  # the audio ends
        ([Segment(1.0, 1.0, "a"), Segment(1.0, 1.0, "b"), Segment(1.0, 1.0, "c")], [1001, 1002, 1835]),
    ],
)
def test_how_long_a_cue_stands(segments: list[Segment], ends: list[int]) -> None:
    assert [cue.end for cue in cues(segments, 10.0)] == ends


def test_words_wider_than_a_line_are_cut_at_their_punctuation_else_at_the_line() -> None:
    (cue,) = cues(
        [Segment(0, 6, "日本語のテキストは空白なしで続きますから、どこかで切らなければなりません。次の文です。")], 6.0
    )
    assert cue.lines == ("日本語のテキストは空白なしで続きますから、", "どこかで切らなければなりません。次の文です。")
    accented = "e\u0301" * 60
    lines = [line for cue in cues([Segment(0, 9, accented)], 9.0) for line in cue.lines]
    assert "".join(lines) == accented
    assert not [line for line in lines if line.startswith("\u0301")]


def test_a_speaker_stays_with_every_cue() -> None:
    assert {cue.speaker for cue in cues([Segment(0, 19, LONG, speaker="Ann\n B")], 20.0)} == {"Ann B"}


moments = st.floats(0, 400, allow_nan=False).map(lambda value: round(value, 3))
words = st.text("abcdefgh.,;?!-é日。、\u0301\u200c<&>", min_size=1, max_size=60) | st.sampled_from(
    ["the", "and", "so,", "yes.", "podcast", "long" * 30, "-->"]
)
sayings = st.lists(words, max_size=25)


@st.composite
def spoken(draw: st.DrawFn) -> list[Segment]:
    """Segments as a join gives them: monotone; some with the times of their words, some with other words."""
    marks = sorted(draw(st.lists(moments, max_size=6)))
    found = []
    for a, b in pairwise(marks):
        said = draw(sayings)
        timed: tuple[Word, ...] = ()
        if draw(st.booleans()) and said:
            edges = sorted(draw(st.lists(moments, min_size=2 * len(said), max_size=2 * len(said))))
            timed = tuple(Word(edges[2 * n], edges[2 * n + 1], f" {each}") for n, each in enumerate(said))
        found.append(Segment(a, b, " ".join(said), words=timed, speaker=draw(st.sampled_from([None, "Ann"]))))
    if not found:
        return found
    return list(join([Part(0, 0, 400, "en", 1, tuple(found), 1, 1, 1, "cpu", "int8")], "tiny", ()).segments)


@settings(deadline=None, max_examples=80)
@given(spoken())
@example([Segment(0.0, 0.1, " ".join(["word"] * 200))])
def test_every_limit_is_kept_and_no_word_is_lost(segments: list[Segment]) -> None:
    found = cues(segments, 400.0)
    assert "".join("".join(cue.lines) for cue in found).replace(" ", "") == "".join(
        one_line(segment.text) for segment in segments
    ).replace(" ", "")
    assert all(1 <= len(cue.lines) <= LINES for cue in found)
    assert all(0 < len(line) <= LINE_WIDTH for cue in found for line in cue.lines)
    assert all(0 < cue.end - cue.start <= LONGEST_MS for cue in found)
    assert all(before.end <= after.start for before, after in pairwise(found))


@settings(deadline=None, max_examples=80)
@given(spoken())
def test_cues_begin_inside_their_segment_and_outlast_it_only_to_be_read(segments: list[Segment]) -> None:
    each = [(segment, cues([segment], 400.0)) for segment in segments]
    for segment, found in each:
        start, end = round(segment.start * 1000), round(segment.end * 1000)
        for number, cue in enumerate(found):
            assert start <= cue.start <= end + number, "a millisecond each, where there is no time at all"
            reading = max(SHORTEST_MS, round(sum(map(len, cue.lines)) / CHARACTERS_A_SECOND * 1000))
            assert cue.end <= max(end, cue.start + reading, cue.start + 1)


@settings(deadline=None, max_examples=50)
@given(spoken())
def test_words_of_a_line_stay_whole_and_in_order(segments: list[Segment]) -> None:
    for segment in segments:
        shown = " ".join(line for cue in cues([segment], 400.0) for line in cue.lines).split()
        kept = [word for word in one_line(segment.text).split() if len(word) <= LINE_WIDTH]
        there = iter(shown)
        assert all(word in there for word in kept)
