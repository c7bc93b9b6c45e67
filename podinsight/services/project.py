"""Writing the fixed names of what is committed: objects, then meta.json, then the row, then the tidying up.

Every step can be done twice; a projection that was cut off is found by reconcile and done again.
"""

import json
from dataclasses import asdict

from podinsight.domain.episode import Episode, Projection
from podinsight.domain.identity import redact_url
from podinsight.domain.transcript import PUBLISHER, WHISPER
from podinsight.errors import Permanent
from podinsight.ports import ObjectStore, StatusStore


def meta_json(episode: Episode) -> bytes:
    """meta.json: what is known of an episode, `transcript_key` null until there is one (F11, T6).

    `source` says whose words the transcript has: `whisper`, or `publisher` (F12), then those of the one in `publisher`
    that was accepted. `publisher_transcripts` is what the feed offers, `publisher` what was received. No URL in it has
    a secret. What depends on which episode came first (`same_as`) is left to the row.
    """
    return (json.dumps(meta(episode), ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()


def meta(episode: Episode) -> dict[str, object]:
    return {
        "schema": "podinsight/meta/1",
        "episode_id": episode.id,
        "feed_slug": episode.feed_slug,
        "guid": episode.guid,
        "title": episode.title,
        "published": episode.published,
        "language": episode.language,
        "image": episode.image,
        "audio_key": episode.audio_key,
        "audio_bytes": episode.audio_bytes,
        "audio_sha256": episode.audio_sha256,
        "audio_mime": episode.audio_mime,
        "audio_seconds": episode.audio_seconds,
        "publisher_transcripts": [asdict(link) | {"url": redact_url(link.url)} for link in episode.transcripts],
        "publisher": [asdict(each) for each in episode.publisher],
        "transcript_key": episode.transcript_key,
        "model": episode.model,
        "source": _source(episode),
    }


def _source(episode: Episode) -> str | None:
    if episode.transcript_key is None:
        return None
    return PUBLISHER if episode.model == PUBLISHER else WHISPER


class Gone(Permanent):
    """A committed object is gone and its fixed name was never written: only doing the work again brings it back."""


def project(store: StatusStore, objects: ObjectStore, projection: Projection) -> bool:
    """Makes one committed unit visible under its fixed names; returns False when somebody else had done it.

    Raises:
        Gone: a committed object is gone and its fixed name was never written.
        PodinsightError: the object store or the database could not do it.
    """
    # Listed before it is done: from then on it may be done over, and what that writes is not ours to delete.
    spent = [info.key for folder in projection.scratch for info in objects.list(folder)]
    if projection.stage == "transcribe":
        _project_plan(store, objects, projection.episode.id)
    for source, target in projection.copies:
        try:
            objects.copy(source, target)
        except Permanent:
            if not store.work.unprojected(1, projection.stage, projection.episode.id):
                return False
            if objects.exists(source):
                raise
            if not objects.exists(target):
                raise Gone(f"what was committed is gone: {source}") from None
    objects.put(projection.episode.meta_key, meta_json(projection.episode))
    first = store.work.projected(projection)
    _correct_meta(store, objects, projection.episode)
    objects.delete(spent)
    return first


def _project_plan(store: StatusStore, objects: ObjectStore, episode_id: str) -> None:
    """Before the scratch of the transcript is emptied, which is where the plan is copied from."""
    for projection in store.work.unprojected(1, "plan", episode_id):
        try:
            project(store, objects, projection)
        except Gone as error:
            store.work.redo(projection, str(error))


def _correct_meta(store: StatusStore, objects: ObjectStore, episode: Episode) -> None:
    """Leaves meta.json as the rows are. A projector that was held up between its copies and its meta.json may have
    written over a newer one; whoever comes last sees it here, and the rows never go back."""
    while (now := store.catalogue.episode(episode.id)) is not None:
        wanted = meta_json(now)
        if objects.get(now.meta_key) == wanted:
            return
        objects.put(now.meta_key, wanted)


def project_episode(store: StatusStore, objects: ObjectStore, stage: str, episode_id: str) -> None:
    """Projects what a worker has just committed."""
    for projection in store.work.unprojected(1, stage, episode_id):
        project(store, objects, projection)
