"""Episodes that come by another way than a poll (manifests, archives), and walking through all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from podinsight.domain.episode import Episode, FetchedAudio, TranscriptFiles
from podinsight.domain.feed import Feed, FeedItem


@dataclass(frozen=True)
class Holding:
    """What an archive holds of one episode. folder: its name there, kept for a new episode where it is safe and free.

    audio, transcript: as a fetch and a join would commit them; an `attempt_key` that is the `audio_key`, and no
    `files`, mean that the objects lie in their places already.
    """

    item: FeedItem
    folder: str
    audio: FetchedAudio | None = None
    transcript: TranscriptFiles | None = None


class Intake(Protocol):
    """Each method is one transaction."""

    def page(self, after: int, limit: int, feed_id: str | None = None) -> list[Episode]:
        """The next episodes after number `after` (0: from the first), in the order of discovery."""
        ...

    def find_feed(self, url: str) -> Feed | None:
        """The feed that `Catalogue.add_feed` would give for this URL, if it is known."""
        ...

    def find(self, feed_id: str, guids: Sequence[str]) -> dict[str, Episode]:
        """GUID → the episode of this feed that has it now or had it before; only those that are known."""
        ...

    def in_folder(self, feed_id: str, folder: str) -> Episode | None:
        """The episode of this feed whose objects lie in folders of this name."""
        ...

    def add(self, feed_id: str, slug: str, items: Sequence[FeedItem]) -> list[Episode]:
        """Makes episodes of a feed known as a poll would, without one; known ones stay as they are.
        Their GUIDs alone tell them apart, so that the same rows give the same episodes in whatever portions they come.

        slug: names the feed if it has none yet (or something near it, when another feed has that). Returns the
        episode of each item, in their order.
        """
        ...

    def archive_feed(self, slug: str, url: str | None) -> Feed:
        """The feed to which an archive's folder `slug` belongs: that of `url` if it is said, else the one that has
        this slug, else a new one of the URL `adopted:<slug>` that is never polled.

        With a URL that is not followed yet, the feed that was adopted under this slug becomes that feed, with all its
        episodes.
        """
        ...

    def adopt(self, feed_id: str, holding: Holding) -> tuple[Episode, tuple[str, ...]]:
        """Registers what an archive holds: the episode, with `done` rows to be projected for the audio and the
        transcript; open or failed rows end as done.

        Returns the episode and the stages that are new by it: none that is there already, or that runs just now.
        """
        ...
