"""Publisher transcripts."""

from typing import Protocol

from podinsight.domain.publisher import Captions, Kind


class CaptionParser(Protocol):
    """Bytes of a publisher's transcript (WebVTT, SubRip, Podcasting 2.0 JSON and its relatives) → Captions.

    - what the bytes are decides, `promised` only where they do not say it;
    - byte order marks, any line ends, UTF-8, UTF-16 and Windows-1252 are read; markup inside cues is taken off and
      entities are resolved;
    - the same bytes give the same cues; time and memory grow with their number and no faster;
    - bytes that are none of this raise `Permanent`, saying what they are instead.
    """

    def parse(self, data: bytes, promised: Kind) -> Captions: ...
