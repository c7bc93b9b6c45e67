"""Makes the sample feed in this folder: three short spoken episodes, a cover, a transcript and feed.xml.

    python samples/make_samples.py

Needs espeak-ng and ffmpeg on the PATH, and nothing else: `apt install espeak-ng ffmpeg`, or `brew install` the same.
What it made is kept in the repository, so only someone who changes the texts needs to run it. The texts are
podinsight's own (MIT), the voice is synthetic.
"""

import io
import json
import struct
import subprocess
import sys
import wave
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from xml.sax.saxutils import escape, quoteattr

FOLDER = Path(__file__).parent
RATE = 22050
PAUSE_SECONDS = 0.55
VOICE = ("-v", "en-us", "-s", "140", "-a", "120", "-g", "2")


@dataclass(frozen=True)
class Sample:
    """One episode: the file it becomes and the sentences that are spoken in it."""

    file: str
    mime: str
    guid: str
    title: str
    published: str
    sentences: tuple[str, ...]
    transcript: str | None = None


@dataclass(frozen=True)
class Spoken:
    """A synthesised episode: its sound, and when each sentence is spoken (seconds)."""

    frames: bytes
    times: tuple[tuple[float, float], ...]

    @property
    def seconds(self) -> float:
        return len(self.frames) / 2 / RATE


SAMPLES = (
    Sample(
        "episode-1.mp3",
        "audio/mpeg",
        "podinsight-sample-0001",
        "Why a podcast needs an archive",
        "Mon, 05 Jan 2026 06:00:00 GMT",
        (
            "Welcome to the show about podcasts and their history.",
            "Every week, thousands of new episodes are published, and every week some old episodes disappear.",
            "A server is turned off, a company is sold, and the voices are gone.",
            "An archive keeps a copy of the sound, and it also keeps the date, the title and the name of the speaker.",
            "Without these notes, nobody can find anything again.",
        ),
        transcript="episode-1.vtt",
    ),
    Sample(
        "episode-2.mp3",
        "audio/mpeg",
        "podinsight-sample-0002",
        "Searching for one sentence",
        "Mon, 12 Jan 2026 06:00:00 GMT",
        (
            "Today we talk about searching.",
            "A long interview is easy to record, but it is hard to read.",
            "When a computer writes down every word, you can look for one sentence in a thousand hours.",
            "You find the minute, you press the button, and you hear the answer in the original voice.",
            "That is much better than a summary, because you can check it for yourself.",
        ),
    ),
    Sample(
        "episode-3.m4a",
        "audio/mp4",
        "podinsight-sample-0003",
        "How to be a polite visitor",
        "Mon, 19 Jan 2026 06:00:00 GMT",
        (
            "In this episode we look at good manners on the internet.",
            "A program that collects audio should never ask for too many files at the same time.",
            "If the server says that it is busy, wait for a while and try again later.",
            "Small websites pay for every download, so please keep what you already have.",
            "Thank you for listening, and see you next week.",
        ),
    ),
)


def main() -> int:
    missing = [tool for tool in ("espeak-ng", "ffmpeg") if which(tool) is None]
    if missing:
        print(f"not on the PATH: {', '.join(missing)} (apt install espeak-ng ffmpeg)", file=sys.stderr)
        return 1
    spoken = [speak(sample.sentences) for sample in SAMPLES]
    for sample, sound in zip(SAMPLES, spoken, strict=True):
        encode(sound, FOLDER / sample.file)
        if sample.transcript:
            (FOLDER / sample.transcript).write_text(captions(sample.sentences, sound.times), encoding="utf-8")
        print(f"{sample.file}: {sound.seconds:.1f} s, {(FOLDER / sample.file).stat().st_size} bytes")
    references = {sample.file: " ".join(sample.sentences) for sample in SAMPLES}
    (FOLDER / "references.json").write_text(json.dumps(references, indent=1) + "\n", encoding="utf-8")
    (FOLDER / "cover.png").write_bytes(cover())
    (FOLDER / "feed.xml").write_text(feed([sound.seconds for sound in spoken]), encoding="utf-8")
    return 0


def speak(sentences: Iterable[str]) -> Spoken:
    """Sentence by sentence, so that the times for the captions are exact."""
    pause = b"\0\0" * int(RATE * PAUSE_SECONDS)
    frames, times = pause, []
    for sentence in sentences:
        command = ["espeak-ng", *VOICE, "--stdout", sentence]
        answer = subprocess.run(command, capture_output=True, check=True).stdout
        # espeak-ng does not know its length yet when it writes the header to a pipe: only its format is read there.
        with wave.open(io.BytesIO(answer)) as sound:
            if (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) != (1, 2, RATE):
                raise ValueError(f"espeak-ng gave {sound.getparams()} instead of mono, 16 bit, {RATE} Hz")
        start = len(frames) / 2 / RATE
        frames += answer[44 : 44 + (len(answer) - 44) // 2 * 2]
        times.append((start, len(frames) / 2 / RATE))
        frames += pause
    return Spoken(frames, tuple(times))


def encode(sound: Spoken, target: Path) -> None:
    """64 kbit/s mono, and nothing of the machine or the day in the file."""
    raw = ["-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", "pipe:0"]
    plain = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact", "-b:a", "64k"]
    codec = ["-c:a", "libmp3lame"] if target.suffix == ".mp3" else ["-c:a", "aac", "-movflags", "+faststart"]
    command = ["ffmpeg", "-v", "error", "-y", *raw, *codec, *plain, str(target)]
    subprocess.run(command, input=sound.frames, check=True)


def captions(sentences: Sequence[str], times: Sequence[tuple[float, float]]) -> str:
    cues = (f"{clock(a)} --> {clock(b)}\n{text}\n" for text, (a, b) in zip(sentences, times, strict=True))
    return "\n".join(["WEBVTT\n", *cues])


def clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 60_000:02}:{milliseconds // 1000 % 60:02}.{milliseconds % 1000:03}"


def cover(size: int = 96) -> bytes:
    """A PNG of bars like a sound wave, written by hand."""
    heights = [0.2, 0.45, 0.8, 0.55, 0.95, 0.65, 0.35, 0.15]
    palette = b"\x14\x2c\x3c" + b"\xf2\xb1\x34"
    rows = bytearray()
    for y in range(size):
        rows.append(0)
        for x in range(size):
            bar, within = divmod(x, size // len(heights))
            rows.append(int(within > 2 and abs(y - size / 2) < heights[bar] * size / 2.4))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", size, size, 8, 3, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"PLTE", palette) + chunk(b"IDAT", zlib.compress(bytes(rows), 9))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def feed(seconds: Sequence[float]) -> str:
    """RSS 2.0, newest first. Its URLs are relative to its own, so that it can be served from anywhere."""
    items = [item(sample, length) for sample, length in zip(SAMPLES, seconds, strict=True)]
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0"
     xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"
     xmlns:podcast="https://podcastindex.org/namespace/1.0">
  <channel>
    <title>Podinsight Samples</title>
    <link>https://example.org/podinsight-samples</link>
    <description>Three short episodes in a synthetic voice, to try podinsight with.</description>
    <language>en-us</language>
    <itunes:author>podinsight</itunes:author>
    <itunes:explicit>false</itunes:explicit>
    <itunes:image href="cover.png"/>
{"".join(reversed(items))}  </channel>
</rss>
"""


def item(sample: Sample, seconds: float) -> str:
    length = (FOLDER / sample.file).stat().st_size
    number = SAMPLES.index(sample) + 1
    transcript = ""
    if sample.transcript:
        transcript = f'\n      <podcast:transcript url={quoteattr(sample.transcript)} type="text/vtt" language="en"/>'
    return f"""    <item>
      <title>{escape(sample.title)}</title>
      <guid isPermaLink="false">{escape(sample.guid)}</guid>
      <pubDate>{sample.published}</pubDate>
      <description>{escape(sample.sentences[0])}</description>
      <enclosure url={quoteattr(sample.file)} length="{length}" type={quoteattr(sample.mime)}/>
      <itunes:duration>{round(seconds)}</itunes:duration>
      <itunes:episode>{number}</itunes:episode>{transcript}
    </item>
"""


if __name__ == "__main__":
    sys.exit(main())
