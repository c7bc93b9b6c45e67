"""Episodes as rows and as values."""

from typing import Any

from sqlalchemy import Row, Select, select

from podinsight.adapters.database.catalogue_tables import episodes, feeds
from podinsight.domain.episode import Episode, FetchedAudio, PublisherTranscript
from podinsight.domain.feed import ChaptersLink, Person, TranscriptLink

_EPISODE = select(
    episodes,
    feeds.c.slug.label("feed_slug"),
    feeds.c.language.label("language"),
    feeds.c.user_agent.label("user_agent"),
).join(feeds, feeds.c.id == episodes.c.feed_id)
_NESTED = frozenset({"transcripts", "chapters", "persons", "publisher"})


def episode_query() -> Select[Any]:
    """Episodes with the slug, the language and the user agent of their feed: what `to_episode` reads."""
    return _EPISODE


def to_episode(row: Row[Any]) -> Episode:
    plain = {name: getattr(row, name) for name in Episode.__dataclass_fields__ if name not in _NESTED}
    return Episode(
        **plain,
        transcripts=tuple(TranscriptLink(**link) for link in row.transcripts),
        chapters=ChaptersLink(**row.chapters) if row.chapters else None,
        persons=tuple(Person(**person) for person in row.persons or ()),
        publisher=tuple(PublisherTranscript(**each) for each in row.publisher or ()),
    )


def audio_columns(audio: FetchedAudio) -> dict[str, object]:
    """What an episode's row says of its audio."""
    return {
        "audio_key": audio.audio_key,
        "audio_bytes": audio.size,
        "audio_sha256": audio.sha256,
        "audio_mime": audio.mime,
        "audio_seconds": audio.seconds,
    }
