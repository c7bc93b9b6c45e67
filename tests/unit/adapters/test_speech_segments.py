"""Words to segments: sentences of a readable length, times that never go back, no word lost (T2, T5)."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from podinsight.adapters.speech_audio import RATE
from podinsight.adapters.speech_hearing import Heard, Take
from podinsight.adapters.speech_segments import LONGEST, PAUSE, monotone, segments
from podinsight.adapters.speech_windows import Piece, SpeechWindow
from podinsight.domain.coverage import LOGPROB, Objection
from podinsight.domain.transcript import Segment, Word

WINDOW = SpeechWindow((Piece(0, 60 * RATE, 0, 60 * RATE),))
TOKENS = st.sampled_from(
    [" and", " Well,", " end.", " why?", " Mr.", "-known", ' "so."', " 3", ".5", " then", "。", " now"]
)


def heard(
    words: list[Word], window: SpeechWindow = WINDOW, logprob: float = LOGPROB / 4, silence: float = 0.1
) -> Heard:
    return Heard(window, (Take(window, tuple(words), logprob, silence, 2 * len(words), False),))


def read(text: str, start: float = 0.0, each: float = 0.3) -> list[Word]:
    return [Word(start + n * each, start + (n + 1) * each, f" {word}", 0.9) for n, word in enumerate(text.split())]


def texts(words: list[Word]) -> list[str]:
    return [segment.text for segment in segments(heard(words), True)]


@st.composite
def spoken(draw: st.DrawFn) -> list[Word]:
    found, at = [], 0.0
    drawn = st.tuples(st.floats(0, 1.5), st.floats(0, 1.2), TOKENS, st.floats(0, 1))
    for pause, length, text, probability in draw(st.lists(drawn, max_size=60)):
        found.append(Word(at + pause, at + pause + length, text, probability))
        at = found[-1].end
    return found


def test_a_sentence_is_a_segment() -> None:
    assert texts(read("Who is it? It is me. Well, come in!")) == ["Who is it?", "It is me.", "Well, come in!"]


def test_a_full_stop_in_a_title_or_a_number_ends_nothing() -> None:
    words = read("Ask Dr. Who about version")
    end = words[-1].end
    words += [Word(end, end + 0.2, " 3."), Word(end + 0.2, end + 0.4, "5"), Word(end + 0.4, end + 0.6, " now.")]
    assert texts(words) == ["Ask Dr. Who about version 3.5 now."]


def test_a_quotation_ends_with_its_sentence() -> None:
    assert texts(read('He said: "Go." She went.')) == ['He said: "Go."', "She went."]


def test_a_long_pause_ends_a_segment_in_the_middle_of_a_sentence() -> None:
    first = read("So then we")
    assert texts([*first, *read("went home", first[-1].end + PAUSE + 0.1)]) == ["So then we", "went home"]
    assert texts([*first, *read("went home", first[-1].end + PAUSE - 0.1)]) == ["So then we went home"]


def test_a_sentence_without_end_is_cut_at_its_longest_pause() -> None:
    first = read("and on " * 10, each=LONGEST / 30)
    second = read("or off " * 10, first[-1].end + PAUSE / 2, LONGEST / 30)
    assert texts([*first, *second]) == [("and on " * 10).strip(), ("or off " * 10).strip()]


def test_without_a_pause_it_is_cut_at_a_comma() -> None:
    words = read("one two three four five six, seven eight nine ten", each=LONGEST / 8)
    assert texts(words)[0] == "one two three four five six,"


@settings(deadline=None)
@given(spoken())
def test_all_words_are_there_once_in_order_and_segments_are_short(words: list[Word]) -> None:
    found = segments(heard(words), True)
    said = [word for segment in found for word in segment.words]
    assert [word.text for word in said] == [word.text.strip() for word in words]
    assert "".join("".join(segment.text.split()) for segment in found) == "".join(w.text.strip() for w in words)
    assert all(
        word.start == round(one.start, 3) and word.end == round(one.end, 3)
        for word, one in zip(said, words, strict=True)
    )
    assert all(segment.end - segment.start <= LONGEST + 0.002 or len(segment.words) < 4 for segment in found)


@settings(deadline=None)
@given(spoken())
def test_segments_never_go_back_and_are_inside_their_words(words: list[Word]) -> None:
    found = segments(heard(words), True)
    assert all(left.end <= right.start for left, right in pairwise(found))
    for segment in found:
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
        assert segment.start <= segment.end


@settings(deadline=None)
@given(spoken())
def test_segments_are_the_same_without_their_words(words: list[Word]) -> None:
    with_words, without = segments(heard(words), True), segments(heard(words), False)
    assert all(segment.words == () for segment in without)
    assert [(s.start, s.end, s.text) for s in with_words] == [(s.start, s.end, s.text) for s in without]


def test_nothing_heard_is_no_segment() -> None:
    assert segments(heard([]), True) == []
    assert segments(Heard(WINDOW, ()), True) == []


def test_a_doubt_is_marked_and_a_hole_elsewhere_in_the_window_is_none() -> None:
    window = SpeechWindow((Piece(0, 3 * RATE, 0, 3 * RATE),))
    words = read("Nobody knows what this is about today at all.")
    (sure,) = segments(heard(words, window), False)
    assert sure.doubt == ""
    (doubtful,) = segments(heard(words, window, LOGPROB - 0.5), False)
    assert doubtful.doubt == Objection.CONFIDENCE.value
    (holed,) = segments(heard(words), False)
    assert holed.doubt == Objection.MISSING.value, "its own take has the hole"
    take = heard(words, window).takes[0]
    (beside,) = segments(Heard(WINDOW, (take,)), False)
    assert beside.doubt == ""


def test_numbers_of_a_take_are_those_of_its_segments() -> None:
    for segment in segments(heard(read("Who is it? It is me."), silence=0.25), False):
        assert (segment.avg_logprob, segment.no_speech_prob) == (LOGPROB / 4, 0.25)
        assert segment.compression_ratio is not None


# --- monotone ---


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 30), spoken())), st.floats(0, 50), st.floats(0, 50))
def test_times_are_made_to_go_on_inside_the_chunk(
    found: list[tuple[float, float, list[Word]]], start: float, length: float
) -> None:
    given_ = [Segment(since, since + long, f"line {n}", words=tuple(w)) for n, (since, long, w) in enumerate(found)]
    result = monotone(given_, start, start + length)
    assert [segment.text for segment in result] == [segment.text for segment in given_]
    assert [[w.text for w in s.words] for s in result] == [[w.text for w in s.words] for s in given_]
    marks = [start, *(mark for s in result for mark in (s.start, s.end)), start + length]
    assert marks == sorted(marks)
    for segment in result:
        inside = [segment.start, *(mark for w in segment.words for mark in (w.start, w.end)), segment.end]
        assert inside == sorted(inside)


@given(spoken())
@settings(deadline=None)
def test_times_that_go_on_already_stay(words: list[Word]) -> None:
    found = segments(heard(words), True)
    assert monotone(found, 0.0, 1000.0) == found
