"""Decoding against faster-whisper: its sequential transcription and its batched pipeline, both as they are by default.

    make bench-transcribe AUDIO=DIR     (recordings, and references.json of name → text; the samples when not given)

The recordings are strung together in varied order with pauses of 0.2 to 3 s, to half an hour or more (QUICK=1: eight
minutes), in pieces of about four minutes. With each piece the three take turns, on the same threads, from the file to
the text: a slow minute of the machine hits all. Ours is what the pipeline does: voice activity, the plan, and each
chunk as the gpu worker decodes it. Word errors are those of OpenAI's normalised English text; each error belongs to
the recording of the word that it is at. Intervals are 95 % of 1000 resamples of the recordings, the same for both sides
of a difference. The last line says per model: `speed_ratio`, the median over the pieces of sequential seconds over
ours; `wer`, `deletions`, and the same of sequential; `wer_excess_low` and `deletions_excess_low`, the low ends of the
intervals of ours less sequential's: above 0, ours is worse beyond chance.
"""

import argparse
import io
import json
import random
import statistics
import tempfile
import time
import wave
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podinsight.adapters.processors import cores
from podinsight.adapters.speech_audio import RATE
from podinsight.adapters.whisper_models import WhisperOptions, find

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("tiny.en", "base")
PIECE_SECONDS = 240.0
PAUSES = (0.2, 3.0)
RESAMPLES = 1000
KINDS = ("substitute", "delete", "insert")


@dataclass(frozen=True)
class Recording:
    name: str
    words: tuple[str, ...]  # of the normalised reference
    samples: "NDArray[np.int16]"


@dataclass(frozen=True)
class StrungPiece:
    """A file of recordings one after the other."""

    path: Path
    seconds: float
    recordings: tuple[Recording, ...]


@dataclass
class Score:
    """What one system did: seconds and, for each recording, errors by kind over all its turns."""

    seconds: list[float] = field(default_factory=list)
    errors: dict[str, Counter[str]] = field(default_factory=dict)

    def total(self, kind: str, names: Sequence[str]) -> int:
        return sum(self.errors[name][kind] for name in names if name in self.errors)

    def all(self, names: Sequence[str]) -> int:
        return sum(self.total(kind, names) for kind in KINDS)


Transcribe = Callable[[Path], str]


def read(folder: Path, normalised: Callable[[str], str]) -> list[Recording]:
    """The recordings that have a reference."""
    import av
    import numpy as np

    listed = folder / "references.json"
    if not listed.is_file():
        raise SystemExit(f"no references.json in {folder}: it says which words each recording holds")
    found = []
    for name, text in sorted(json.loads(listed.read_text(encoding="utf-8")).items()):
        blocks = []
        with av.open(str(folder / name)) as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
            for frame in [*container.decode(audio=0), None]:
                blocks += [each.to_ndarray()[0] for each in resampler.resample(frame)]
        found.append(Recording(name, tuple(normalised(text).split()), np.concatenate(blocks)))
    return found


def strung(recordings: Sequence[Recording], seconds: float, folder: Path, seed: int) -> list[StrungPiece]:
    """Pieces of at least `seconds` together: the recordings in one random order after another."""
    rng = random.Random(seed)
    pieces: list[StrungPiece] = []
    order: list[Recording] = []
    while sum(piece.seconds for piece in pieces) < seconds:
        sound = io.BytesIO()
        chosen = []
        size = 0
        while size < PIECE_SECONDS * RATE:
            order = order or rng.sample(list(recordings), len(recordings))
            recording = order.pop()
            pause = round(rng.uniform(*PAUSES) * RATE)
            sound.write(recording.samples.tobytes() + bytes(2 * pause))
            size += len(recording.samples) + pause
            chosen.append(recording)
        path = folder / f"piece-{len(pieces)}.wav"
        with wave.open(str(path), "wb") as out:
            out.setparams((1, 2, RATE, 0, "NONE", ""))
            out.writeframes(sound.getvalue())
        pieces.append(StrungPiece(path, size / RATE, tuple(chosen)))
    return pieces


def systems(name: str, threads: int) -> dict[str, Transcribe]:
    """Ways from a file to its text, their models loaded."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    options = WhisperOptions(device="cpu", compute_type="int8", cpu_threads=threads)
    model = WhisperModel(str(find(name, options)), device="cpu", compute_type="int8", cpu_threads=threads)
    batched = BatchedInferencePipeline(model)

    def text(found: Any) -> str:
        return " ".join(segment.text.strip() for segment in found)

    return {
        "ours": ours(name, options),
        "sequential": lambda path: text(model.transcribe(str(path))[0]),
        "batched": lambda path: text(batched.transcribe(str(path))[0]),
    }


def ours(name: str, options: WhisperOptions) -> Transcribe:
    from podinsight.adapters.chunk_audio import AudioCutter
    from podinsight.adapters.faster_whisper_speech import WhisperTranscriber
    from podinsight.domain.plan import make_plan
    from podinsight.ports import SpeechRequest
    from podinsight.settings import Settings

    cutter, transcriber = AudioCutter(), WhisperTranscriber(options)
    length = float(Settings.model_fields["chunk_seconds"].default)

    def transcribe(path: Path) -> str:
        with path.open("rb") as audio:
            heard = cutter.listen(audio, lambda: None)
        plan = make_plan(heard.seconds, heard.speech, length)
        texts, language = [], None
        for span in plan.chunks:
            request = SpeechRequest(span.n, span.start, span.end, name, language, speech=plan.speech_in(span))
            with path.open("rb") as audio:
                part = transcriber.transcribe(audio, request, lambda _: None)
            language = language or part.language or None
            texts += [segment.text for segment in part.segments]
        return " ".join(texts)

    return transcribe


def count(score: Score, recordings: Sequence[Recording], heard: str) -> None:
    """Adds the errors of a piece: each to the recording of the reference word that it is at."""
    import jiwer

    owner = [recording.name for recording in recordings for _ in recording.words]
    said = " ".join(word for recording in recordings for word in recording.words)
    for name in owner:
        score.errors.setdefault(name, Counter())
    for chunk in jiwer.process_words(said, heard).alignments[0]:
        if chunk.type == "insert":
            at = min(chunk.ref_start_idx, len(owner) - 1)
            score.errors[owner[at]]["insert"] += chunk.hyp_end_idx - chunk.hyp_start_idx
        elif chunk.type != "equal":
            for at in range(chunk.ref_start_idx, chunk.ref_end_idx):
                score.errors[owner[at]][chunk.type] += 1


def intervals(mine: Score, other: Score, words: Counter[str], seed: int) -> tuple[tuple[float, float], ...]:
    """95 % intervals of mine less other's: word error rate, deletions."""
    rng = random.Random(seed)
    names = sorted(words)
    rates, deletions = [], []
    for _ in range(RESAMPLES):
        drawn = rng.choices(names, k=len(names))
        size = sum(words[name] for name in drawn)
        rates.append((mine.all(drawn) - other.all(drawn)) / size)
        deletions.append((mine.total("delete", drawn) - other.total("delete", drawn)) * sum(words.values()) / size)
    return tuple(_middle(sorted(found)) for found in (rates, deletions))


def _middle(found: Sequence[float]) -> tuple[float, float]:
    edge = round(len(found) * 0.025)
    return found[edge], found[-1 - edge]


def run(name: str, pieces: Sequence[StrungPiece], threads: int, normalised: Callable[[str], str]) -> dict[str, Score]:
    """All systems over all pieces, in turns."""
    ways = systems(name, threads)
    scores = {way: Score() for way in ways}
    for transcribe in ways.values():
        transcribe(pieces[0].path)
    for turn, piece in enumerate(pieces):
        for way in _turned(list(ways), turn):
            started = time.perf_counter()
            text = ways[way](piece.path)
            scores[way].seconds.append(time.perf_counter() - started)
            count(scores[way], piece.recordings, normalised(text))
        print(
            f"{name} piece {turn + 1}/{len(pieces)}: "
            + ", ".join(f"{way} {piece.seconds / score.seconds[-1]:.1f} ×" for way, score in scores.items()),
            flush=True,
        )
    return scores


def _turned(ways: list[str], turn: int) -> Iterator[str]:
    at = turn % len(ways)
    yield from ways[at:] + ways[:at]


def report(name: str, pieces: Sequence[StrungPiece], scores: dict[str, Score], seed: int) -> dict[str, float]:
    """Prints the table of a model; returns its part of the last line."""
    words: Counter[str] = Counter()
    for piece in pieces:
        for recording in piece.recordings:
            words[recording.name] += len(recording.words)
    names, total = sorted(words), sum(words.values())
    audio = sum(piece.seconds for piece in pieces)
    print(f"\n{name}: {audio / 60:.1f} minutes, {len(names)} recordings, {total} words")
    print(f"  {'':12}{'× real time':>12}{'WER %':>8}{'deleted':>9}{'replaced':>10}{'inserted':>10}")
    for way, score in scores.items():
        deleted, replaced, inserted = (score.total(kind, names) for kind in ("delete", "substitute", "insert"))
        print(
            f"  {way:12}{audio / sum(score.seconds):12.1f}{100 * score.all(names) / total:8.2f}"
            f"{deleted:9}{replaced:10}{inserted:10}"
        )
    mine, other = scores["ours"], scores["sequential"]
    rates, deletions = intervals(mine, other, words, seed)
    print(
        f"  ours less sequential: WER {100 * rates[0]:+.2f} to {100 * rates[1]:+.2f} %, "
        f"deletions {deletions[0]:+.0f} to {deletions[1]:+.0f}\n"
    )
    return {
        "speed_ratio": round(statistics.median(b / a for a, b in zip(mine.seconds, other.seconds, strict=True)), 2),
        "wer": round(mine.all(names) / total, 4),
        "wer_sequential": round(other.all(names) / total, 4),
        "deletions": mine.total("delete", names),
        "deletions_sequential": other.total("delete", names),
        "wer_excess_low": round(rates[0], 4),
        "deletions_excess_low": round(deletions[0], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, default=ROOT / "samples", help="recordings and references.json")
    parser.add_argument("--minutes", type=float, default=30.0, help="of audio at least (30)")
    parser.add_argument("--threads", type=int, default=0, help="for each system (0: the cores of this process)")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--models", nargs="+", default=MODELS)
    options = parser.parse_args()
    from whisper_normalizer.english import EnglishTextNormalizer

    normalised: Callable[[str], str] = EnglishTextNormalizer()
    threads = options.threads or cores()
    last = {}
    with tempfile.TemporaryDirectory() as scratch:
        recordings = read(options.audio, normalised)
        pieces = strung(recordings, options.minutes * 60, Path(scratch), options.seed)
        print(f"{len(recordings)} recordings, {len(pieces)} pieces, int8, {threads} threads")
        for name in options.models:
            scores = run(name, pieces, threads, normalised)
            last[name] = report(name, pieces, scores, options.seed)
    print(json.dumps(last))


if __name__ == "__main__":
    main()
