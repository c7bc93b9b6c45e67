"""The database: all of its parts, with feeds, episodes, hosts and figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from podinsight.domain.episode import Episode
from podinsight.domain.feed import Document, Feed, FeedItem, ParsedFeed
from podinsight.domain.hosts import HostLimits, HostNote
from podinsight.domain.metrics import Metric
from podinsight.domain.money import Micros
from podinsight.domain.quote import Approval, ApprovalView, Pace, Speed
from podinsight.ports.control import ControlBoard
from podinsight.ports.guard import Alerts, Findings, Memory
from podinsight.ports.intake import Intake
from podinsight.ports.money import Purse
from podinsight.ports.work import WorkRows
from podinsight.ports.workers import Workers


class Catalogue(Protocol):
    """Feeds and episodes."""

    def add_feed(self, url: str) -> tuple[Feed, bool]:
        """The feed of this normalised URL and whether it is new. http and https, and URLs a feed had before it moved,
        are the same feed."""
        ...

    def set_user_agent(self, feed_id: str, user_agent: str | None) -> None:
        """The user agent for this feed and its audio; None: the installation's own."""
        ...

    def set_tier(self, feed_id: str, tier: str | None) -> None:
        """The group that this feed belongs to (a folder of an OPML list, `tier1` …)."""
        ...

    def feed(self, feed_id: str) -> Feed | None: ...
    def remove_feed(self, feed_id: str) -> None:
        """Forgets a feed that has no episodes."""
        ...

    def feeds(self) -> list[Feed]: ...
    def due_feeds(self, limit: int, hold_seconds: float) -> list[Feed]:
        """Feeds to poll now; each is taken out for `hold_seconds`, so that two pollers never take the same."""
        ...

    def record_poll(self, feed_id: str, document: Document, parsed: ParsedFeed | None, next_poll_at: float) -> int:
        """Stores what a poll gave (None: not modified), names the feed at its first, adds new episodes in feed order.

        Known GUIDs are updated (URL, title), never doubled. An item with a new GUID whose enclosure has the fingerprint
        of an episode of this feed, and with it the title, the date and the length as far as both say them, is that
        episode, and its GUID is remembered (F10). A feed that has moved for good
        (`document.moved_to`, or `parsed.new_url`) is asked for there from now on, and stays the same feed.
        Returns how many episodes are new.
        """
        ...

    def postpone_poll(self, feed_id: str, next_poll_at: float) -> None:
        """The feed could not be asked now, through no fault of its own: nothing else is noted."""
        ...

    def record_poll_error(self, feed_id: str, error: str, next_poll_at: float) -> None: ...
    def add_direct(self, item: FeedItem) -> Episode:
        """The episode of a bare audio URL, under the feed slug `direct`."""
        ...

    def audio_bytes(self, before: float | None = None) -> int:
        """Of all audio that is in place; before: that was by then (epoch seconds)."""
        ...

    def episode(self, episode_id: str) -> Episode | None: ...
    def episodes(self, ids: Sequence[str]) -> list[Episode]: ...
    def first_episodes(self, limit: int | None, feed_id: str | None = None) -> list[Episode]:
        """The first N known episodes in the order of discovery, whatever their state (`--limit` is cumulative)."""
        ...

    def unregistered(self, limit: int) -> list[Episode]:
        """Episodes whose transcript has landed and whose segments wait to be registered as a partition, those that wait
        longest first; flat however many rows there are."""
        ...

    def registered(self, episode_ids: Sequence[str]) -> None:
        """Their segments are registered; until a new transcript lands they wait no more."""
        ...

    def register_later(self, episode_ids: Sequence[str]) -> None:
        """They could not be registered now: `unregistered` gives them after all others."""
        ...


@dataclass(frozen=True)
class HostRow:
    """What is stored of a host key (a domain suffix or an exact host).

    limit_set, rate_set: what a person laid down (None: the settings hold). limit_now: what the gate last allowed when
    it had lowered the limit (None: the full limit). cooling_until: epoch seconds before which nothing is asked.
    The counts are those of one UTC day.
    """

    host: str
    limit_set: int | None = None
    rate_set: float | None = None
    limit_now: int | None = None
    cooling_until: float | None = None
    requests: int = 0
    throttled: int = 0
    failed: int = 0
    received: int = 0


class Hosts(Protocol):
    """What is known of hosts: rules that people laid down, and what was observed. Survives an emptied Redis."""

    def set_rule(self, host: str, limit: int | None, rate: float | None, *, drain: float = 0.0) -> None:
        """Lays down (or with None takes back) requests at a time and requests a second of a host or suffix.

        When hosts fall under another key by it, the cool-down and the lowered limit that they had hold there, and for
        `drain` seconds nothing may be requested, so that requests under the old keys can end.
        """
        ...

    def rows(self, day: str) -> list[HostRow]:
        """Every host that has a rule, or was asked for something on `day` (`2026-11-22`, UTC), by name."""
        ...

    def row(self, host: str, day: str) -> HostRow:
        """One host key; all empty when nothing is known."""
        ...

    def limits(self) -> HostLimits:
        """The settings' limits and rates with the stored rules over them."""
        ...

    def observe(self, notes: Sequence[HostNote]) -> None:
        """Adds counts to today's, and keeps limit_now and cooling_until of notes that say them. One transaction."""
        ...


class Metrics(Protocol):
    """The figures of T9 as values, by UTC day."""

    def read(self, day: str) -> list[Metric]:
        """DownloadSuccessRate by feed_slug, PerHost429 by hostname, GBTransferred and AvgDownloadMB by phase (fetch),
        AudioHours and DecodingSpeed by model and device, each also without dimensions for all together (but for the
        speed), and GPUCostToday; only what has data.

        GPUCostToday: what the ledger has for GPU work of that day, idle machines included; no bill.
        """
        ...


class SpeechBook(Protocol):
    """What decoding took, by day, and who approved that it is paid for."""

    def speeds(self, since: str, model: str, device: str) -> list[Speed]:
        """What was measured on this day (`2026-11-22`, UTC) and later, by day and compute type."""
        ...

    def lately(self, since: float, model: str, device: str, audio_seconds: float) -> Pace:
        """How fast it went lately: of the chunks committed after `since` (epoch seconds), the newest first, until they
        have `audio_seconds` of audio or there are no more."""
        ...

    def approve(self, approval: Approval, most_today: Micros | None = None) -> bool:
        """Records an approval. most_today: how much (by the high figures) rules may approve in all on this UTC day;
        when this one would go beyond, nothing is recorded and the answer is False. Two at once never do together."""
        ...

    def approvals(self, limit: int) -> list[ApprovalView]:
        """The last ones, the newest first."""
        ...

    def approved(self, day: str, by_rule: bool | None = None) -> Micros:
        """What was approved on a UTC day, by the high figures: by anybody, by rules (True) or people (False)."""
        ...

    def models(self, episode_ids: Sequence[str]) -> dict[str, str]:
        """The model that the transcribe row of each of these episodes asks for; those without a row are left out."""
        ...


class StatusStore(Protocol):
    """The database: the truth."""

    @property
    def catalogue(self) -> Catalogue: ...
    @property
    def intake(self) -> Intake: ...
    @property
    def work(self) -> WorkRows: ...
    @property
    def workers(self) -> Workers: ...
    @property
    def control(self) -> ControlBoard: ...
    @property
    def hosts(self) -> Hosts: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def speech(self) -> SpeechBook: ...
    @property
    def purse(self) -> Purse: ...
    @property
    def findings(self) -> Findings: ...
    @property
    def alerts(self) -> Alerts: ...
    @property
    def memory(self) -> Memory: ...
    def ping(self) -> None:
        """Raises `Unavailable` when the database does not answer."""
        ...

    def close(self) -> None: ...
