"""Publisher transcripts (F12): fetched beside the audio, checked, and taken instead of decoding."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from podinsight.domain.caption_check import objection
from podinsight.domain.episode import Episode, PublisherTranscript
from podinsight.domain.feed import TranscriptLink
from podinsight.domain.identity import redact_url
from podinsight.domain.publisher import Kind, accepted, to_part, usable, wanted
from podinsight.domain.transcript import Part
from podinsight.domain.work import Span
from podinsight.errors import Abandoned, LeaseLost, Permanent, PodinsightError, Transient
from podinsight.ports import CaptionParser, Fetcher, ObjectStore

_log = logging.getLogger(__name__)
_KEPT = "the setting publisher_transcripts says to keep it only"


@dataclass(frozen=True)
class PublisherPorts:
    """What collecting needs. use: one that passes the check counts as accepted; else all are only kept."""

    objects: ObjectStore
    fetcher: Fetcher
    captions: CaptionParser
    use: bool = True


def collect(
    ports: PublisherPorts, episode: Episode, seconds: float, prefix: str, beat: Callable[[], None]
) -> tuple[tuple[PublisherTranscript, ...], tuple[tuple[str, str], ...]]:
    """Fetches the episode's publisher transcripts, best first, until one is accepted (fetch.CollectTranscripts).

    Nothing that goes wrong with one is an error of the fetch: what did not come is logged, what came and does not pass
    is kept aside with the reason.

    Args:
        seconds: length of the audio.
        prefix: of the names under which they are written.

    Returns:
        What was received, and (attempt name, fixed name) of each.

    Raises:
        Abandoned, LeaseLost: from `beat`; what was written is deleted.
    """
    received: list[PublisherTranscript] = []
    copies: list[tuple[str, str]] = []
    try:
        for link, kind in wanted(episode):
            beat()
            data = _fetched(ports, episode, link, f"{prefix}transcript.{len(received)}")
            if data is not None:
                found = _judged(ports, episode, link, kind, data, seconds, len(received))
                copies.append((f"{prefix}transcript.{len(received)}", found.key))
                received.append(found)
            beat()
            if accepted(received):
                break
    except (Abandoned, LeaseLost):
        ports.objects.delete([source for source, _fixed in copies])
        raise
    return tuple(received), tuple(copies)


def _fetched(ports: PublisherPorts, episode: Episode, link: TranscriptLink, key: str) -> bytes | None:
    """The bytes of one, written to `key`; None when it did not come."""
    try:
        document = ports.fetcher.transcript(link.url, episode.user_agent)
        if document.body is None:
            return None
        with document.body as body:
            data = body.read()
        ports.objects.put(key, data)
        return data
    except (Abandoned, LeaseLost):
        raise
    except Exception as error:  # whatever it is: the audio is there, and that is what the fetch was for
        said = str(error) if isinstance(error, PodinsightError) else type(error).__name__
        _log.info("episode %s: no publisher transcript from %s: %s", episode.id, redact_url(link.url), said)
        return None


def _judged(
    ports: PublisherPorts, episode: Episode, link: TranscriptLink, kind: Kind, data: bytes, seconds: float, n: int
) -> PublisherTranscript:
    turned_out, reason = _judge(ports, data, kind, seconds)
    where = redact_url(link.url)
    _log.info("episode %s: publisher transcript from %s: %s", episode.id, where, reason or "accepted")
    key = episode.publisher_name(n, turned_out)
    return PublisherTranscript(key, where, link.type, link.language, not reason, reason)


def _judge(ports: PublisherPorts, data: bytes, kind: Kind, seconds: float) -> tuple[Kind, str]:
    """What the file is, and why it is not used (empty: it is)."""
    try:
        captions = ports.captions.parse(data, kind)
        reason = objection(captions.cues, seconds)
    except Permanent as error:
        return kind, str(error)
    except Exception as error:  # a file that breaks a rule of ours must not cost its audio
        _log.exception("a publisher transcript could not be judged")
        return kind, f"it could not be judged ({type(error).__name__})"
    return captions.kind, reason or ("" if ports.use else _KEPT)


def publisher_part(
    objects: ObjectStore, captions: CaptionParser, episode: Episode, params: Mapping[str, object], span: Span
) -> Part | None:
    """The part of a chunk from the accepted transcript; None when there is none to use, and speech must be decoded.

    Raises:
        Transient: the object store is away.
    """
    found = usable(episode, params)
    if found is None:
        return None
    started = time.monotonic()
    try:
        cues = captions.parse(objects.get(found.key), "vtt").cues
    except Transient:
        raise
    except PodinsightError as error:
        _log.warning("episode %s: its publisher transcript cannot be read any more: %s", episode.id, error)
        return None
    return replace(to_part(cues, span, episode, found), wall_seconds=time.monotonic() - started)
