"""Taking another episode's transcript of the same audio, byte by byte, instead of decoding it once more (F10)."""

import logging
import time
from dataclasses import replace

from podinsight.domain.episode import Episode
from podinsight.domain.parts import part_from_transcript
from podinsight.domain.transcript import Part
from podinsight.domain.work import Span
from podinsight.ports import ObjectStore
from podinsight.services.stored import stored

_log = logging.getLogger(__name__)


def same_audio_part(objects: ObjectStore, episode: Episode, twin: Episode | None, span: Span) -> Part | None:
    """The part of the only chunk of `episode` from the transcript of `twin`; None when that cannot be used.

    Raises:
        Transient: the object store is away.
    """
    if twin is None or twin.transcript_key is None or (span.start, span.end) != (0.0, None):
        return None
    started = time.monotonic()
    transcript = stored(objects, twin.transcript_key)
    try:
        if transcript is None:
            raise ValueError(f"{twin.transcript_key} is gone")
        kpis = stored(objects, f"{twin.stage}/kpis/kpis.json")
        part = part_from_transcript(transcript, kpis, span, twin.id)
    except ValueError as error:
        _log.warning("episode %s: the transcript of %s, the same audio, cannot be used: %s", episode.id, twin.id, error)
        return None
    return replace(part, wall_seconds=time.monotonic() - started)
