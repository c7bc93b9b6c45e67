"""build(settings) -> Container: the only room that names adapters.

Build it in the process that uses it: obstore used before a fork hangs the child (DESIGN.md, Decided).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from podinsight.adapters import av_probe
from podinsight.adapters.av_probe import AvProbe
from podinsight.adapters.caption_files import CaptionFiles
from podinsight.adapters.celery_queue import CeleryQueue, celery_config
from podinsight.adapters.chunk_audio import AudioCutter
from podinsight.adapters.clock import SystemClock
from podinsight.adapters.database import open_store
from podinsight.adapters.doorkeeper import Doorkeeper
from podinsight.adapters.faster_whisper_speech import WhisperTranscriber
from podinsight.adapters.feedparser_feeds import FeedparserParser
from podinsight.adapters.glue_table import GlueTable
from podinsight.adapters.host_rules import HostRules
from podinsight.adapters.memory import NoTable
from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.adapters.redis_gate import RedisGate
from podinsight.adapters.requests_fetcher import FetchPolicy, RequestsFetcher
from podinsight.adapters.spot_notice import SpotNotices
from podinsight.bootstrap.money import terms
from podinsight.bootstrap.speech import decoding_device, fetch_model, find_model, list_models, whisper_options
from podinsight.domain.feed_list import FeedList, ListedFeed
from podinsight.domain.hosts import HostLimits
from podinsight.ports import (
    CaptionParser,
    Clock,
    Cutter,
    FeedParser,
    Fetcher,
    HostGate,
    Interruptions,
    JobQueue,
    MediaProbe,
    ObjectStore,
    SegmentTable,
    StatusStore,
    Transcriber,
)
from podinsight.settings import Settings
from podinsight.state_dir import make_state_dir

PLACE: Final = "place"


@dataclass(frozen=True)
class Container:
    """The adapters of one process, by port. flush: writes what was noted of hosts and not written yet."""

    clock: Clock
    store: StatusStore
    objects: ObjectStore
    fetcher: Fetcher
    gate: HostGate
    parser: FeedParser
    probe: MediaProbe
    cutter: Cutter
    transcriber: Transcriber
    captions: CaptionParser
    queue: JobQueue
    table: SegmentTable
    host_limits: HostLimits
    flush: Callable[[], None] = lambda: None

    def close(self) -> None:
        """Before the process ends: writes what is still to be written, and lets go of the database."""
        self.flush()
        self.store.close()


def build_store(settings: Settings, clock: Clock | None = None) -> StatusStore:
    """The database alone, for processes that need no more (supervisor, heartbeats).

    Raises:
        Unavailable: it does not answer.
        ConfigError: its schema is newer than this podinsight, or it lies in a state folder that cannot be used.
    """
    if settings.database_url.startswith(f"sqlite:///{settings.state_dir}/"):
        make_state_dir(settings.state_dir)
    return open_store(
        settings.database_url,
        clock or SystemClock(),
        host_limits=host_limits(settings),
        stale_seconds=settings.worker_stale_seconds,
        terms=terms(settings),
    )


def host_limits(settings: Settings) -> HostLimits:
    """What the settings allow at hosts."""
    return HostLimits(
        settings.host_limits, settings.default_host_limit, settings.host_rates, settings.default_host_rate
    )


def build_gate(settings: Settings) -> HostGate:
    """The host gate alone; nothing is asked of the server yet."""
    return RedisGate(settings.redis_url, settings.gate_lease_seconds, settings.gate_quiet_seconds)


def build_table(settings: Settings) -> SegmentTable:
    """Where segments are registered; nothing is asked of it yet."""
    if settings.glue_table is None:
        return NoTable()
    database, _, table = settings.glue_table.partition(".")
    return GlueTable(database, table, settings.s3_region)


def build_interruptions(settings: Settings) -> Interruptions:
    """What tells that this machine is about to be taken away."""
    return SpotNotices(settings.spot_url)


def celery_settings(settings: Settings) -> dict[str, object]:
    """Celery's configuration, the same in every process."""
    return celery_config(settings.redis_url, settings.dispatch_expiry_seconds)


def build(settings: Settings, stopping: Callable[[], bool] = lambda: False, gate: HostGate | None = None) -> Container:
    """Everything a worker, the CLI or an API needs. Nothing heavy is loaded before its first use.

    stopping: says that this process is asked to stop; open requests end then. gate: instead of the one in Redis.
    """
    clock = SystemClock()
    store = build_store(settings, clock)
    gate = gate or build_gate(settings)
    doorkeeper = Doorkeeper(
        gate,
        HostRules(store.hosts, clock),
        settings.gate_renew_seconds,
        settings.gate_patience_seconds,
        store.hosts.observe,
        stopping,
    )
    return Container(
        clock=clock,
        store=store,
        objects=open_objects(settings.area_urls(), s3_options(settings)),
        fetcher=RequestsFetcher(
            FetchPolicy(
                user_agent=settings.user_agent,
                allowed_hosts=frozenset(settings.allowed_hosts),
                connect_seconds=settings.connect_seconds,
                read_seconds=settings.read_seconds,
                total_seconds=settings.fetch_seconds,
                max_feed_bytes=settings.max_feed_bytes,
                max_audio_bytes=settings.max_audio_bytes,
                max_transcript_bytes=settings.max_transcript_bytes,
                fixed=settings.host_addresses,
                stopping=stopping,
            ),
            doorkeeper,
        ),
        gate=gate,
        parser=FeedparserParser(),
        probe=AvProbe(),
        cutter=AudioCutter(),
        transcriber=WhisperTranscriber(whisper_options(settings)),
        captions=CaptionFiles(),
        queue=CeleryQueue(settings.redis_url, settings.dispatch_expiry_seconds),
        table=build_table(settings),
        host_limits=host_limits(settings),
        flush=doorkeeper.flush,
    )


def warm_for_fetching() -> None:
    """Loads what a download needs: a worker does it before it says that it is ready, not in its first task."""
    av_probe.load()


def s3_options(settings: Settings) -> S3Options:
    """How to reach S3."""
    secret = settings.s3_secret_access_key
    return S3Options(
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=secret.get_secret_value() if secret else None,
    )


def open_place(settings: Settings, url: str) -> ObjectStore:
    """What lies under `s3://bucket[/prefix]` or `file:///folder`, reached as our own areas are: its keys begin with
    PLACE, as the name of its only area.

    Raises:
        ConfigError: the URL is neither.
    """
    return open_objects({PLACE: url}, s3_options(settings))


def build_parser() -> FeedParser:
    """The feed parser alone: it needs neither settings nor a database."""
    return FeedparserParser()


def read_feed_list(name: str, data: bytes) -> FeedList:
    """The feeds in an OPML or tier file called `name`. Raises Permanent, naming every entry that is wrong."""
    from podinsight.adapters import feed_lists  # with YAML and listparser, which no worker needs

    return feed_lists.read_feed_list(name, data)


def write_feed_list(feeds: Sequence[ListedFeed], form: str) -> str:
    """A feed list as text. form: `opml` or `yaml`."""
    from podinsight.adapters import feed_lists

    return feed_lists.write_yaml(feeds) if form == "yaml" else feed_lists.write_opml(feeds)


__all__ = [
    "PLACE",
    "Container",
    "build",
    "build_gate",
    "build_interruptions",
    "build_parser",
    "build_store",
    "build_table",
    "celery_settings",
    "decoding_device",
    "fetch_model",
    "find_model",
    "host_limits",
    "list_models",
    "open_place",
    "read_feed_list",
    "s3_options",
    "warm_for_fetching",
    "write_feed_list",
]
