import json
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podinsight.domain.parts import part_from_json, part_to_json
from podinsight.domain.transcript import Part, Segment, Word, join

numbers = st.floats(allow_nan=False, allow_infinity=False)
scores = st.none() | numbers
texts = st.text('a "\\\n\x00é日🎙\u2028\ud800', max_size=20)
words = st.lists(st.builds(Word, numbers, numbers, texts, scores), max_size=3).map(tuple)
segments = st.builds(Segment, numbers, numbers, texts, scores, scores, scores, st.none() | texts, words, texts)
profiles = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
parts = st.builds(
    Part, st.integers(0, 10**6), numbers, numbers, texts, numbers, st.lists(segments, max_size=4).map(tuple),
    numbers, numbers, numbers, texts, texts, texts, texts, profiles, numbers, numbers, numbers,
)  # fmt: skip
GOOD = Part(
    0, 0.0, 1.5, "en", 1.0,
    (Segment(0.1, 0.2, "“x”", -0.1, None, 1.0, None, (Word(0.1, 0.2, "“x”", 0.9),), "loop"),),
    1.0, 2.0, 3.0, "cpu", "int8", "whisper", "base", (("engine", "e 1"),), 0.9, 0.2, 0.1,
)  # fmt: skip


@settings(deadline=None)
@given(parts)
def test_the_round_trip_is_exact(part: Part) -> None:
    assert part_from_json(part_to_json(part)) == part
    assert part_to_json(part_from_json(part_to_json(part))) == part_to_json(part)


def test_the_parts_of_the_last_release_are_read() -> None:
    """A worker that was started before an update commits `podinsight/part/1`; the first of them without a source."""
    document = json.loads(part_to_json(GOOD)) | {"schema": "podinsight/part/1"}
    for name in ("model", "profile", "covered_seconds", "redecoded_seconds", "doubtful_seconds"):
        del document[name]
    for name in ("words", "doubt"):
        del document["segments"][0][name]
    older = replace(
        GOOD, segments=(replace(GOOD.segments[0], words=(), doubt=""),), model="", profile=(),
        covered_seconds=0.0, redecoded_seconds=0.0, doubtful_seconds=0.0,
    )  # fmt: skip
    assert part_from_json(json.dumps(document).encode()) == older
    del document["source"]
    del document["segments"][0]["speaker"]
    assert part_from_json(json.dumps(document).encode()) == older


def changed(**fields: object) -> bytes:
    return json.dumps(json.loads(part_to_json(GOOD)) | fields).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"nonsense", b"\xff\xfe\xff", b"null", b"[]", b"{}", b"[" * 100_000, part_to_json(GOOD)[:-20],
        changed(schema="podinsight/part/3"), changed(n="0"), changed(n=True), changed(n=1.0), changed(start=None),
        changed(end="1"), changed(language=None), changed(language=7), changed(segments=None), changed(segments=[1]),
        changed(segments=[{}]), changed(segments=[{"start": 0, "end": 1, "text": None}]), changed(speech_seconds=True),
        changed(device=[]), changed(source=None), changed(wall_seconds=float("nan")),
        changed(wall_seconds=float("inf")), changed(wall_seconds=10**400),
        changed(segments=[{"start": 0, "end": 1, "text": "x", "avg_logprob": "high"}]),
        changed(segments=[{"start": 0, "end": 1, "text": "x", "doubt": None}]),
        changed(segments=[{"start": 0, "end": 1, "text": "x", "words": None}]),
        changed(segments=[{"start": 0, "end": 1, "text": "x", "words": [[0, 1, "x"]]}]),
        changed(segments=[{"start": 0, "end": 1, "text": "x", "words": [[0, None, "x", None]]}]),
        changed(model=None), changed(profile={}), changed(profile=[["engine"]]), changed(profile=[["engine", 1]]),
        changed(covered_seconds="1"), changed(doubtful_seconds=None), changed(redecoded_seconds=float("nan")),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a (part|segment)"):
        part_from_json(data)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_part_or_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a (part|segment)"):
        part_from_json(data)


def test_a_number_that_json_has_not_is_not_written() -> None:
    part = Part(0, 0.0, float("nan"), "en", 1.0, (), 1.0, 2.0, 3.0, "cpu", "int8")
    with pytest.raises(ValueError, match="JSON"):
        part_to_json(part)


moments = st.floats(0, 1000).map(lambda value: round(value, 3))
pieces = st.lists(st.tuples(moments, moments, texts), max_size=5)


def joinable(n: int, said: list[tuple[float, float, str]]) -> Part:
    found = tuple(Segment(min(a, b), max(a, b), text) for a, b, text in sorted(said))
    return Part(n, n * 10.0, n * 10.0 + 10, "en" if n % 2 else "de", 1.0, found, float(n % 3), 1.0, 1.0, "cpu", "int8")


@settings(deadline=None)
@given(st.lists(pieces, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_join_is_monotone_loses_nothing_and_knows_no_order(
    said: list[list[tuple[float, float, str]]], chance: random.Random
) -> None:
    made = [joinable(n, each) for n, each in enumerate(said)]
    shuffled = made.copy()
    chance.shuffle(shuffled)
    whole = join(made, "tiny.en", (("a", "b"),))
    assert join(shuffled, "tiny.en", (("a", "b"),)) == whole
    marks = [mark for segment in whole.segments for mark in (segment.start, segment.end)]
    assert marks == sorted(marks)
    assert [each.text for each in whole.segments] == [each.text for part in made for each in part.segments]
    assert whole.duration == made[-1].end


@pytest.mark.parametrize("numbers", [[], [1], [0, 2], [0, 0], [0, 1, 1]])
def test_missing_or_doubled_parts_do_not_join(numbers: list[int]) -> None:
    with pytest.raises(ValueError, match="cannot join"):
        join([joinable(n, []) for n in numbers], "tiny.en", ())


def test_a_join_keeps_the_times_of_words_inside_their_segments() -> None:
    first = Segment(0.0, 10.5, "a b", words=(Word(0.0, 3.0, "a"), Word(2.0, 10.9, "b")))
    second = Segment(10.0, 12.0, "c", words=(Word(9.9, 10.2, "c"),))
    made = [replace(joinable(0, []), segments=(first,)), replace(joinable(1, []), segments=(second,))]
    whole = join(made, "tiny.en", ())
    assert [(word.start, word.end) for segment in whole.segments for word in segment.words] == [
        (0.0, 3.0), (3.0, 10.5), (10.5, 10.5),
    ]  # fmt: skip
