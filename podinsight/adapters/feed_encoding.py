"""A feed as UTF-8: in which encoding it really is, whatever server and document say, and a copy of it in UTF-8."""

import codecs
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, cast

BLOCK_BYTES = 256 * 1024
HEAD_BYTES = 64 * 1024
_IN_MEMORY_BYTES = 4 * 1024 * 1024
_DECLARED = re.compile(r"<\?xml[^>]*?\bencoding\s*=\s*[\"']\s*([\w.:-]+)", re.IGNORECASE)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_WIDE = re.compile(r"utf-?_?(?:16|32)|u16|u32|ucs|iso-10646", re.IGNORECASE)
_BOMS = (
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"<\x00\x00\x00", "utf-32-le"),
    (b"\x00\x00\x00<", "utf-32-be"),
    (b"<\x00", "utf-16-le"),
    (b"\x00<", "utf-16-be"),
)
_MARKS = (codecs.BOM_UTF8, b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff", codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030"}


@dataclass(frozen=True)
class Utf8:
    """A document in UTF-8. `start`: where its first character stands, behind byte order mark and white space.

    note: what its encoding was taken for, when that is not what it declares.
    """

    stream: BinaryIO
    start: int
    note: str = ""


def wide_encoding(head: bytes) -> str | None:
    """The UTF-16 or UTF-32 that a document begins with, else None."""
    return next((name for mark, name in _BOMS if head.startswith(mark)), None)


def as_utf8(stream: BinaryIO, headers: Mapping[str, str]) -> Utf8:
    """The document in UTF-8: itself, or a temporary copy of it (the caller closes it) when it is in another encoding.

    What the document declares goes before what the server says of it, and both only hold when all of it can be read so.
    """
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    wide = wide_encoding(head)
    names = [wide] if wide else _candidates(head, headers)
    for name in names:
        if _decodes(stream, name):
            break
    else:
        name = names[0] if wide else "iso-8859-1"
    declared = names[0]
    note = "" if _same(name, declared) else f"declared as {declared}, read as {name}"
    if not _same(name, "utf-8"):
        stream = _transcoded(stream, name)
    return Utf8(stream, _first_character(stream), note)


def _candidates(head: bytes, headers: Mapping[str, str]) -> list[str]:
    declared = _DECLARED.search(head[:1024].decode("latin-1"))
    charset = _CHARSET.search(headers.get("content-type", ""))
    # Servers say latin-1 of everything, and a text that is read as ASCII cannot be UTF-16 whatever it says.
    names = [declared.group(1)] if declared and not _WIDE.match(declared.group(1)) else ["utf-8"]
    if not declared and charset:
        names.append(charset.group(1))
    names = [_SUPERSETS.get(name.lower(), name.lower()) for name in [*names, "utf-8", "windows-1252", "iso-8859-2"]]
    return list(dict.fromkeys(names))


def _same(one: str, other: str) -> bool:
    try:
        return codecs.lookup(one).name == codecs.lookup(other).name
    except LookupError:
        return False


def _decodes(stream: BinaryIO, encoding: str) -> bool:
    try:
        for _text in _texts(stream, encoding, "strict"):
            pass
    except (UnicodeError, LookupError):
        return False
    return True


def _texts(stream: BinaryIO, encoding: str, errors: str) -> Iterator[str]:
    """A character that is cut off at the document's end is left out, and is no error."""
    b"a".decode(encoding, "replace")  # LookupError for codecs that are no text encoding, such as zlib
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    stream.seek(0)
    while block := stream.read(BLOCK_BYTES):
        yield decoder.decode(block)


def _transcoded(stream: BinaryIO, encoding: str) -> BinaryIO:
    copy = cast(BinaryIO, tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES))  # noqa: SIM115 - the caller closes it
    for text in _texts(stream, encoding, "replace"):
        copy.write(text.encode("utf-8", "replace"))
    return copy


def _first_character(stream: BinaryIO) -> int:
    stream.seek(0)
    start = 0
    while block := stream.read(BLOCK_BYTES):
        if start == 0 and block.startswith(codecs.BOM_UTF8):
            block, start = block[3:], 3
        stripped = block.lstrip()
        start += len(block) - len(stripped)
        if stripped:
            break
    return start


def blocks(stream: BinaryIO, start: int) -> Iterator[bytes]:
    """The document from `start`, piece by piece. Others may seek in between."""
    while True:
        stream.seek(start)
        block = stream.read(BLOCK_BYTES)
        if not block:
            return
        start += len(block)
        yield block


def head_text(head: bytes) -> str:
    """The beginning of a document as text, for a look at it."""
    for mark in _MARKS:
        if head.startswith(mark):
            return head[len(mark) :].decode(wide_encoding(head) or "utf-8", "replace")
    return head.decode(wide_encoding(head) or "utf-8", "replace")
