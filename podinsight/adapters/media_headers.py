"""What containers say about their own length where FFmpeg says what it found, or guesses, instead.

Seen with FFmpeg 8 (PyAV 18) on files cut at 60 %: MP3 with a Xing header, FLAC and M4A with the index first still
report the whole duration; MP3 without Xing, AAC and WAV report what fits the cut file, which for AAC and MP3 is a
guess from the bit rate and 5 % off even for a whole file; Ogg reports its last whole page; M4A with the index last
does not open at all.
"""

import os
import struct
from typing import BinaryIO

_MAX_OGG_PAGE = 27 + 255 + 255 * 255
_MAX_BOXES = 10_000
# Writers to a pipe put 0, 0xFFFFFFFF or something near 2 GiB.
_UNKNOWN_FROM = 0x7FFFF000
_JOINED = 16  # FFmpeg's: what goes beyond the count by more than a sixteenth of it was joined to it


def size_of(stream: BinaryIO) -> int:
    """Bytes of a seekable stream, which is left at its start."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return size


def mp3_states_its_length(stream: BinaryIO) -> bool:
    """Whether there is a Xing, Info or VBRI header for this file; without one every duration is a guess from the bit
    rate.

    One that counts far fewer bytes than there are is of the first of several files that were joined, as advertisements
    are inserted: FFmpeg sees that too (libavformat/mp3dec.c, "invalid concatenated file") and guesses.
    """
    size = size_of(stream)
    head = stream.read(10)
    start = 0
    if len(head) == 10 and head[:3] == b"ID3":
        start = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    stream.seek(start)
    frame = stream.read(4096)
    counted = _mp3_bytes(frame)
    return counted is not None and (counted == 0 or size - start <= counted + counted // _JOINED)


def _mp3_bytes(frame: bytes) -> int | None:
    """The bytes of MPEG frames that the first one counts; 0 when it leaves it open, None when it is no header."""
    for tag, flags in ((b"Xing", True), (b"Info", True), (b"VBRI", False)):
        at = frame.find(tag)
        if at < 0:
            continue
        if not flags:
            return int.from_bytes(frame[at + 10 : at + 14], "big")
        has = int.from_bytes(frame[at + 4 : at + 8], "big")  # 1: frames, 2: bytes, 4 of each
        where = at + (12 if has & 1 else 8)
        return int.from_bytes(frame[where : where + 4], "big") if has & 2 else 0
    return None


def wav_seconds(stream: BinaryIO) -> float | None:
    """Seconds of sound that a WAV header promises; None when it leaves it open (written to a pipe) or is RF64."""
    stream.seek(0)
    if stream.read(4) != b"RIFF":
        return None
    stream.seek(12)
    byte_rate = 0
    for _ in range(_MAX_BOXES):
        header = stream.read(8)
        if len(header) < 8:
            return None
        name, size = struct.unpack("<4sI", header)
        if name == b"data":
            return size / byte_rate if byte_rate and 0 < size < _UNKNOWN_FROM else None
        if name == b"fmt ":
            body = stream.read(min(size, 16))
            byte_rate = struct.unpack("<I", body[8:12])[0] if len(body) >= 12 else 0
            stream.seek(size - len(body) + size % 2, os.SEEK_CUR)
        else:
            stream.seek(size + size % 2, os.SEEK_CUR)
    return None


def mp4_missing_bytes(stream: BinaryIO) -> int:
    """How many bytes of its top-level boxes an MP4 file lacks; 0 when it is whole or no MP4."""
    total = size_of(stream)
    position = 0
    for _ in range(_MAX_BOXES):
        stream.seek(position)
        header = stream.read(16)
        if len(header) < 8 or (position == 0 and header[4:8] != b"ftyp"):
            return 0
        size: int = struct.unpack(">I", header[:4])[0]
        if size == 1 and len(header) == 16:
            size = struct.unpack(">Q", header[8:16])[0]
        if size < 8:
            return 0
        position += size
        if position >= total:
            return position - total
    return 0


def ogg_is_cut(stream: BinaryIO) -> bool:
    """Whether the last page of an Ogg file is incomplete. A missing end-of-stream flag alone is common and fine."""
    total = size_of(stream)
    stream.seek(max(0, total - _MAX_OGG_PAGE))
    tail = stream.read(_MAX_OGG_PAGE)
    last = tail.rfind(b"OggS")
    if last < 0:
        return False
    page = tail[last:]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
