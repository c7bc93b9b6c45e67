"""Publisher transcripts (F12): fetched beside the audio, checked, and taken instead of decoding."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from podinsight.domain.caption_check import objection
from podinsight.domain.episode import Episode, PublisherTranscript
from podinsight.domain.feed import TranscriptLink
from podinsight.domain.identity import redact_url
from podinsight.domain.publisher import Kind, accepted, to_part, usable, wanted
from podinsight.domain.transcript import Part
from podinsight.domain.work import Span
from podinsight.errors import Abandoned, Busy, LeaseLost, Permanent, PodinsightError, Transient
from podinsight.ports import CaptionParser, Fetcher, ObjectStore

_log = logging.getLogger(__name__)
_KEPT = "the setting publisher_transcripts says to keep it only"
PATIENCE_SECONDS: Final = 20.0  # an episode: what waiting and failing may cost before decoding is the better way
RETRIES: Final = 3  # a transcript
_NAP: Final = 0.5  # seconds between two beats
_SHORTEST_WAIT: Final = 0.5
# A file in hand costs ten times its size, and a core: a process with many slots has one in hand at a time.
_JUDGING: Final = threading.Lock()


@dataclass(frozen=True)
class PublisherPorts:
    """What collecting needs. use: one that passes the check counts as accepted; else all are only kept."""

    objects: ObjectStore
    captions: CaptionParser
    use: bool = True
    sleep: Callable[[float], None] = time.sleep


@dataclass
class _Patience:
    """What an episode may still wait for its transcripts, in seconds, and what it did not wait for."""

    sleep: Callable[[float], None]
    beat: Callable[[], None]
    left: float = PATIENCE_SECONDS
    given_up: list[str] = field(default_factory=list)

    def wait(self, error: Busy | Transient, retry: int) -> None:
        """Waits as long as `error` asks for, beating; raises it when that is too long, or `retry` (from 0) too many."""
        asked = error.seconds if isinstance(error, Busy) else error.retry_after
        seconds = max(_SHORTEST_WAIT, 2.0**retry if asked is None else asked)
        if retry >= RETRIES or seconds > self.left:
            self.given_up.append(str(error))
            raise error
        self.left -= seconds
        while seconds > 0:
            self.beat()
            self.sleep(min(seconds, _NAP))
            seconds -= _NAP
        self.beat()


def collect(
    ports: PublisherPorts,
    fetcher: Fetcher,
    episode: Episode,
    seconds: float,
    prefix: str,
    beat: Callable[[], None],
) -> tuple[tuple[PublisherTranscript, ...], tuple[tuple[str, str], ...]]:
    """Fetches the episode's publisher transcripts, best first, until one is accepted (fetch.CollectTranscripts).

    Nothing that goes wrong with one is an error of the fetch: what did not come is logged, what came and does not pass
    is kept aside with the reason. What is away for a moment (a busy host, a 503) is waited for: PATIENCE_SECONDS an
    episode, because it saves a device minutes.

    Args:
        seconds: length of the audio.
        prefix: of the names under which they are written.

    Returns:
        What was received, and (attempt name, fixed name) of each.

    Raises:
        Abandoned, LeaseLost: from `beat`; what was written is deleted.
    """
    patience = _Patience(ports.sleep, beat)
    received: list[PublisherTranscript] = []
    copies: list[tuple[str, str]] = []
    try:
        for link, kind in wanted(episode):
            beat()
            data = _fetched(ports.objects, fetcher, episode, link, f"{prefix}transcript.{len(received)}", patience)
            if data is not None:
                with _turn(beat):
                    found = _judged(ports, episode, link, kind, data, seconds, len(received))
                copies.append((f"{prefix}transcript.{len(received)}", found.key))
                received.append(found)
            beat()
            if accepted(received):
                break
    except (Abandoned, LeaseLost):
        ports.objects.delete([source for source, _fixed in copies])
        raise
    if patience.given_up and not accepted(received):
        why = "; ".join(dict.fromkeys(patience.given_up))
        _log.warning(
            "episode %s: it will be decoded instead: no publisher transcript came in time: %s", episode.id, why
        )
    return tuple(received), tuple(copies)


@contextmanager
def _turn(beat: Callable[[], None]) -> Iterator[None]:
    while not _JUDGING.acquire(timeout=_NAP):
        beat()
    try:
        yield
    finally:
        _JUDGING.release()


def _fetched(
    objects: ObjectStore, fetcher: Fetcher, episode: Episode, link: TranscriptLink, key: str, patience: _Patience
) -> bytes | None:
    """The bytes of one, written to `key`; None when it did not come."""
    try:
        data = _asked(fetcher, link.url, episode.user_agent, patience)
        if data is not None:
            objects.put(key, data)
        return data
    except (Abandoned, LeaseLost):
        raise
    except Exception as error:  # whatever it is: the audio is there, and that is what the fetch was for
        said = str(error) if isinstance(error, PodinsightError) else type(error).__name__
        _log.info("episode %s: no publisher transcript from %s: %s", episode.id, redact_url(link.url), said)
        return None


def _asked(fetcher: Fetcher, url: str, user_agent: str | None, patience: _Patience) -> bytes | None:
    """What the server sends; asked again while that is worth the wait."""
    retry = 0
    while True:
        started = time.monotonic()
        try:
            document = fetcher.transcript(url, user_agent)
            if document.body is None:
                return None
            with document.body as body:
                return body.read()
        except (Busy, Transient) as error:
            patience.left -= time.monotonic() - started
            patience.wait(error, retry)
            retry += 1


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
        data = objects.get(found.key)
        with _JUDGING:
            part = to_part(captions.parse(data, "vtt").cues, span, episode, found)
    except Transient:
        raise
    except PodinsightError as error:
        _log.warning("episode %s: its publisher transcript cannot be read any more: %s", episode.id, error)
        return None
    return replace(part, wall_seconds=time.monotonic() - started)
