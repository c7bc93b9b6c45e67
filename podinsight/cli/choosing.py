"""Which episodes a command is about, and how they stand before it."""

from collections.abc import Sequence
from dataclasses import dataclass

from podinsight.cli.exits import CommandError
from podinsight.domain.episode import DIRECT_SLUG, Episode
from podinsight.domain.identity import direct_guid, episode_id, file_title, host_of, normalise_url
from podinsight.domain.work import State
from podinsight.ports import StatusStore


def find_feed(store: StatusStore, slug: str) -> str:
    """The id of a feed by its slug (or id). Raises CommandError when there is none."""
    if slug == DIRECT_SLUG:
        return DIRECT_SLUG
    feeds = store.catalogue.feeds()
    for feed in feeds:
        if slug in (feed.slug, feed.id):
            return feed.id
    known = ", ".join(feed.slug or feed.id for feed in feeds[:10]) or "none yet: `podrun feeds add URL`"
    raise CommandError(f"no feed {slug!r}; there are {known}")


def first(store: StatusStore, limit: int | None, feed: str | None) -> list[Episode]:
    """The first episodes in the order of discovery. Raises CommandError for an unknown feed."""
    return store.catalogue.first_episodes(limit, find_feed(store, feed) if feed else None)


def named(store: StatusStore, text: str) -> Episode:
    """The episode of an id, or of `feed_slug/folder` as progress lines show it. Raises CommandError for none."""
    episode = store.catalogue.episode(text)
    slug, _, folder = text.partition("/")
    if episode is None and folder:
        feed_id = (
            DIRECT_SLUG if slug == DIRECT_SLUG else next((f.id for f in store.catalogue.feeds() if f.slug == slug), "")
        )
        found = store.catalogue.first_episodes(None, feed_id) if feed_id else []
        episode = next((each for each in found if each.folder == folder), None)
    if episode is None:
        raise CommandError(f"no episode {text!r}: `podrun episodes` lists them")
    return episode


def preview(store: StatusStore, text: str) -> Episode:
    """The episode of an id, a name or a URL without adding it: one of a new URL is made up and not stored.

    Raises:
        CommandError: no such episode.
        InvalidUrl: no URL that can be fetched.
    """
    if "://" not in text:
        return named(store, text)
    url = normalise_url(text)
    guid = direct_guid(url)
    found = store.catalogue.episode(episode_id(DIRECT_SLUG, guid))
    if found is not None:
        return found
    return Episode(
        id=episode_id(DIRECT_SLUG, guid),
        seq=0,
        feed_id=DIRECT_SLUG,
        feed_slug=DIRECT_SLUG,
        guid=guid,
        folder=guid,
        title=file_title(url),
        url=url,
        host=host_of(url),
    )


@dataclass(frozen=True)
class Standing:
    """How some episodes stand in a stage. failed: with the reason; it includes what was refused.

    open: has a row that is not at its end. new: has no row. over: what has ended and is to be made anew, which then
    counts as neither done nor failed.
    """

    stage: str
    done: tuple[Episode, ...]
    failed: tuple[tuple[Episode, State, str], ...]
    open: tuple[Episode, ...]
    new: tuple[Episode, ...]
    over: tuple[Episode, ...] = ()

    @property
    def to_do(self) -> tuple[Episode, ...]:
        return self.open + self.new + self.over


def standing(store: StatusStore, stage: str, episodes: Sequence[Episode], again: bool = False) -> Standing:
    """again: what has ended is to be made anew."""
    states = store.work.states(stage, [episode.id for episode in episodes])
    done, failed, still_open, new = [], [], [], []
    for episode in episodes:
        state, reason = states.get(episode.id, (None, ""))
        if state is None:
            new.append(episode)
        elif state is State.DONE:
            done.append(episode)
        elif state in (State.FAILED, State.REFUSED):
            failed.append((episode, state, reason))
        else:
            still_open.append(episode)
    if again:
        ended = {each.id for each in [*done, *(each for each, _state, _reason in failed)]}
        over = tuple(each for each in episodes if each.id in ended)
        return Standing(stage, (), (), tuple(still_open), tuple(new), over)
    return Standing(stage, tuple(done), tuple(failed), tuple(still_open), tuple(new))


def audio_seconds(episodes: Sequence[Episode]) -> float:
    """Seconds of audio, as measured, else as the feed declares; unknown counts as none."""
    return sum(episode.audio_seconds or episode.duration or 0.0 for episode in episodes)


def unknown_lengths(episodes: Sequence[Episode]) -> int:
    return sum(1 for episode in episodes if not (episode.audio_seconds or episode.duration))
