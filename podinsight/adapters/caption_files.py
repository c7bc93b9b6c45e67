"""Publisher transcripts by webvtt-py (WebVTT, SubRip) and pydantic (JSON)."""

import codecs
import html
import re
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import Annotated, Any, Final

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, FailFast, Field, TypeAdapter, ValidationError
from webvtt import WebVTT
from webvtt.errors import MalformedCaptionError, MalformedFileError
from webvtt.models import Caption

from podinsight.domain.publisher import Captions, Cue, Kind
from podinsight.errors import Permanent

LONGEST_LINE: Final = 100_000  # characters: more is no line of captions
MOST_CUES: Final = 200_000  # word by word, that is a whole day
MOST_ROWS: Final = 1_000_000
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LINE_END = re.compile(r"\r\n?|[\n\v\f\x85\u2028\u2029]")
_HTML = re.compile(r"<(?:!doctype|html|head|body|cite|div|p|\?xml)\b", re.IGNORECASE)
_ARROW = re.compile(r"[0-9][:.,][0-9]{2,3}[ \t]*-->")
_COMMA_TIME = re.compile(r"(?<=:[0-9]{2}),(?=[0-9]{1,3})")
_CLOCK = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,2}):([0-9]{1,2}(?:[.,][0-9]{1,6})?)")
_INLINE = re.compile(r"</?(?:b|i|u|s|em|strong|span|font|br|p|c|v)(?:[\s.][^<>]{0,200})?/?>", re.IGNORECASE)


def _seconds(value: object) -> object:
    """Seconds of a clock such as `1:02:03.5`; anything else as it is."""
    found = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return value
    hours, minutes, seconds = found.groups()
    return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))


_Time = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=1e7, allow_inf_nan=False)]


class _Line(BaseModel):
    """A segment as Podcasting 2.0 writes it, and as Whisper and Podlove do."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    start: _Time = Field(validation_alias=AliasChoices("startTime", "start"))
    end: _Time | None = Field(default=None, validation_alias=AliasChoices("endTime", "end"))
    text: str = Field(validation_alias=AliasChoices("body", "text"))
    speaker: str | None = Field(default=None, validation_alias=AliasChoices("voice", "speaker"))


_Lines = Annotated[
    list[_Line], Field(max_length=MOST_CUES), FailFast()
]  # of a million wrong ones the first says enough


class _File(BaseModel):
    segments: _Lines = Field(validation_alias=AliasChoices("segments", "transcript", "transcripts"))


_LIST: Final = TypeAdapter(_Lines)


class CaptionFiles:
    """ports.CaptionParser."""

    def parse(self, data: bytes, promised: Kind) -> Captions:
        text = _decoded(data).strip()
        if not text:
            raise Permanent("an empty file")
        kind = _kind(text, promised)
        cues = _json_cues(text) if kind == "json" else _caption_cues(text, kind)
        return Captions(kind, tuple(cues))


def _decoded(data: bytes) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _kind(text: str, promised: Kind) -> Kind:
    head = text[:2000]
    if head.startswith("WEBVTT"):
        return "vtt"
    if head[0] in "{[":
        return "json"
    if _HTML.match(head):
        raise Permanent("it is HTML or XML, not a transcript with times")
    if _ARROW.search(head):
        return "srt"
    if promised == "json":
        return "json"
    raise Permanent("it has no times: neither WebVTT nor SubRip nor JSON")


def _caption_cues(text: str, kind: Kind) -> list[Cue]:
    text = _LINE_END.sub("\n", text)
    if text.count("\n") > MOST_ROWS or text.count("-->") > MOST_CUES:
        raise Permanent(f"more than {MOST_ROWS:,} lines or {MOST_CUES:,} cues")
    rows = text.split("\n")
    if max(map(len, rows)) > LONGEST_LINE:
        raise Permanent(f"a line of more than {LONGEST_LINE:,} characters")
    try:
        captions = _read(rows, kind)
    except (MalformedFileError, MalformedCaptionError, ValueError) as error:
        raise Permanent(f"malformed {_NAMES[kind]}: {_short(str(error))}") from error
    if not captions:
        raise Permanent(f"malformed {_NAMES[kind]}: no line with times could be read")
    return [_cue(caption) for caption in captions]


def _read(rows: Sequence[str], kind: Kind) -> list[Caption]:
    if kind == "srt":
        try:
            found = WebVTT.from_buffer(rows, format="srt").captions
        except MalformedFileError:
            found = []
        if found:
            return list(found)
        # Without numbers or hours it is no SubRip to the library, but WebVTT with commas.
        rows = ["WEBVTT", "", *(_COMMA_TIME.sub(".", row) if "-->" in row else row for row in rows)]
    return list(WebVTT.from_buffer(rows).captions)


def _cue(caption: Caption) -> Cue:
    start, end = (time.in_milliseconds() / 1000 for time in (caption.start_time, caption.end_time))
    return Cue(start, end, _plain(caption.text), _name(caption.voice))


def _json_cues(text: str) -> Iterable[Cue]:
    try:
        found = _LIST.validate_json(text) if text[0] == "[" else _File.model_validate_json(text).segments
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(each) for each in first["loc"])
        raise Permanent(f"no transcript JSON: {where}: {_short(first['msg'])}".replace(": :", ":")) from None
    # Some give no end: the next line's beginning is it.
    following = chain((after.start for _line, after in pairwise(found)), [found[-1].start] if found else [])
    return [
        Cue(
            line.start,
            line.end if line.end is not None else max(line.start, after),
            _plain(_INLINE.sub(" ", line.text)),
            _name(line.speaker),
        )
        for line, after in zip(found, following, strict=True)
    ]


def _plain(text: str) -> str:
    return " ".join(html.unescape(text).split())


def _name(speaker: str | None) -> str | None:
    return _plain(speaker or "")[:100] or None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:119]}…"


_NAMES: Final = {"vtt": "WebVTT", "srt": "SubRip", "json": "JSON"}
