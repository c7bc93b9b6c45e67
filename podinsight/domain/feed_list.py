"""Lists of feeds that people keep: OPML and tier files. Standard library only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ListedFeed:
    """One feed of a list. `url` is normalised and may hold credentials; `where` names its entry for a person.

    tier: the group it stands in (nested folders joined by `/`), else what the name of the file says.
    """

    url: str
    where: str
    title: str | None = None
    tier: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True)
class FeedList:
    """A whole list, every entry checked, each feed once. `notes` says what was odd and left out."""

    feeds: tuple[ListedFeed, ...]
    notes: tuple[str, ...] = ()
