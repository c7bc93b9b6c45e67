"""Where an episode is cut: in silence, whole, in chunks of about equal length (DESIGN.md, idea 4)."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podinsight.domain.plan import LONGEST_SHARE, SpeechPlan, make_plan, plan_from_json, plan_to_json
from podinsight.domain.work import Span

CHUNK = 240.0
PROFILE = (("engine", "scripted"), ("threshold", "0.5"))


def talk(*pauses: tuple[float, float], seconds: float) -> list[tuple[float, float]]:
    """Speech everywhere but in the pauses."""
    edges = [0.0, *(edge for pause in pauses for edge in pause), seconds]
    return [(since, until) for since, until in zip(edges[::2], edges[1::2], strict=True) if since < until]


@st.composite
def heard(draw: st.DrawFn) -> tuple[float, list[tuple[float, float]]]:
    """Seconds of audio, and speech with pauses of any length in it."""
    times = draw(st.lists(st.tuples(st.floats(0.05, 400), st.floats(0.0, 60)), min_size=1, max_size=60))
    speech, at = [], draw(st.floats(0, 90))
    for spoken, pause in times:
        speech.append((at, at + spoken))
        at += spoken + pause
    return at, speech


@given(heard(), st.sampled_from([60.0, 240.0, 333.3]))
def test_chunks_cover_the_audio_without_gap_or_overlap(
    found: tuple[float, list[tuple[float, float]]], chunk: float
) -> None:
    seconds, speech = found
    plan = make_plan(seconds, speech, chunk)
    assert [span.n for span in plan.chunks] == list(range(len(plan.chunks)))
    assert (plan.chunks[0].start, plan.chunks[-1].end) == (0.0, plan.seconds)
    assert all(one.end == two.start for one, two in pairwise(plan.chunks))
    assert -1e-6 <= plan.seconds - seconds < 0.0011
    for span in plan.chunks:
        assert span.end is not None
        assert span.start < span.end
        assert span.end - span.start <= max(1.5, 1.25 * LONGEST_SHARE) * chunk + 0.001
        assert [round(span.start, 3), round(span.end, 3)] == [span.start, span.end]
    assert plan == make_plan(seconds, list(reversed(speech)), chunk), "the order of what was heard says nothing"


@given(heard(), st.sampled_from([60.0, 240.0]))
def test_a_cut_is_in_speech_only_where_nobody_pauses_for_long(
    found: tuple[float, list[tuple[float, float]]], chunk: float
) -> None:
    """No chunk is aimed at under three quarters of the setting, and the window for a cut is 1.5 times as long."""
    seconds, speech = found
    plan = make_plan(seconds, speech, chunk)
    for cut in (span.start for span in plan.chunks[1:]):
        inside = [(since, until) for since, until in plan.speech if since < cut < until]
        assert all(until - since >= 1.5 * 0.75 * chunk - 0.01 for since, until in inside)


@given(heard(), st.sampled_from([60.0, 240.0]))
def test_speech_is_dealt_out_to_the_chunks_whole(found: tuple[float, list[tuple[float, float]]], chunk: float) -> None:
    plan = make_plan(*found, chunk)
    dealt = [stretch for span in plan.chunks for stretch in plan.speech_in(span)]
    assert sum(until - since for since, until in dealt) == pytest.approx(
        sum(until - since for since, until in plan.speech), abs=1e-6
    )
    assert all(one[1] <= two[0] for one, two in pairwise(dealt))
    spoken = plan.first_spoken()
    assert plan.speech_in(spoken) or not plan.speech


@given(heard())
def test_a_plan_is_read_as_it_was_written(found: tuple[float, list[tuple[float, float]]]) -> None:
    plan = make_plan(*found, CHUNK, PROFILE)
    assert plan_from_json(plan_to_json(plan)) == plan


def test_it_is_cut_in_the_middle_of_the_longest_pause_near_the_target() -> None:
    speech = talk((215, 216), (230, 236), (245, 246), (300, 330), seconds=480)
    assert [span.start for span in make_plan(480, speech, CHUNK).chunks] == [0.0, 233.0]


def test_without_a_pause_near_the_target_the_nearest_is_taken() -> None:
    speech = talk((100, 101), (340, 341), seconds=480)
    assert [span.start for span in make_plan(480, speech, CHUNK).chunks] == [0.0, 340.5]


def test_who_never_pauses_is_cut_at_the_target() -> None:
    assert [span.start for span in make_plan(480, [(0, 480)], CHUNK).chunks] == [0.0, 240.0]


@pytest.mark.parametrize(("seconds", "count"), [(5, 1), (359.9, 1), (360, 2), (1300, 5), (28_800, 120)])
def test_chunks_are_of_about_equal_length(seconds: float, count: int) -> None:
    speech = [(at, min(at + 9.0, seconds)) for at in range(0, int(seconds), 10)]
    lengths = [(span.end or 0) - span.start for span in make_plan(seconds, speech, CHUNK).chunks]
    assert len(lengths) == count
    assert max(lengths) - min(lengths) <= 0.2 * 260


def test_where_nobody_speaks_there_is_one_chunk() -> None:
    plan = make_plan(28_800.0, [], CHUNK)
    assert plan.chunks == (Span(0, 0.0, 28_800.0),)
    assert plan.first_spoken() == plan.chunks[0]
    assert plan.speech_in(plan.chunks[0]) == ()


def test_no_audio_is_no_plan() -> None:
    with pytest.raises(ValueError, match="no plan"):
        make_plan(0.0, [], CHUNK)


@pytest.mark.parametrize(
    "wrong",
    [
        {"schema": "podinsight/plan/9"},
        {"seconds": float("inf")},
        {"seconds": "9"},
        {"speech_ms": None},
        {"speech_ms": [[5, 2]]},
        {"speech_ms": [[True, 2]]},
        {"speech_ms": [[0, 900_000]]},
        {"speech_ms": [[0, 9], [5, 12]]},
        {"chunks": []},
        {"chunks": [{"n": 0, "start": 0, "end": 7}]},
        {"chunks": [{"n": 1, "start": 0, "end": 500}]},
        {"chunks": [{"n": 0, "start": 0, "end": None}]},
        {"chunks": [{"n": 0, "start": 0, "end": 9}, {"n": 1, "start": 10, "end": 500}]},
        {"voice_activity": {"threshold": 5}},
    ],
)
def test_what_is_no_plan_is_said(wrong: dict[str, object]) -> None:
    document = json.loads(plan_to_json(make_plan(500.0, [(1, 400)], CHUNK, PROFILE)))
    with pytest.raises(ValueError, match="not a plan"):
        plan_from_json(json.dumps(document | wrong).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_other_bytes_are_no_plan(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a plan"):
        plan_from_json(data)


def test_speech_in_a_span_without_an_end_reaches_to_the_end() -> None:
    plan = SpeechPlan(10.0, ((1.0, 2.0), (8.0, 10.0)), (Span(0, 0.0, 10.0),))
    assert plan.speech_in(Span(0, 1.5, None)) == ((1.5, 2.0), (8.0, 10.0))
