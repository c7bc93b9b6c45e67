"""build(settings) -> Container: the only file that names adapters.

Build it in the process that uses it: obstore used before a fork hangs the child (DESIGN.md, Decided).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from podinsight.adapters import av_probe, feed_lists, price_file
from podinsight.adapters.apprise_notifier import AppriseNotifier, unusable
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
from podinsight.adapters.local_fleet import LocalFleet
from podinsight.adapters.memory import NoBilling, NoPrices, NoTable
from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.adapters.redis_gate import RedisGate
from podinsight.adapters.requests_fetcher import FetchPolicy, RequestsFetcher
from podinsight.adapters.spot_notice import SpotNotices
from podinsight.adapters.whisper_models import ModelInfo, WhisperOptions, available, fetch, find
from podinsight.domain.alerts import Severity
from podinsight.domain.feed_list import FeedList, ListedFeed
from podinsight.domain.fleet import Rate
from podinsight.domain.hosts import HostLimits
from podinsight.domain.money import micros
from podinsight.domain.pool import Rules
from podinsight.domain.prices import CPU, CUDA, LOCAL, Price, PriceBook, Terms
from podinsight.errors import ConfigError, Permanent
from podinsight.ports import (
    Billing,
    CaptionParser,
    Clock,
    Cutter,
    FeedParser,
    Fetcher,
    Fleet,
    HostGate,
    Interruptions,
    JobQueue,
    MediaProbe,
    Notifier,
    ObjectStore,
    SegmentTable,
    StatusStore,
    Transcriber,
)
from podinsight.services import pricing
from podinsight.services.emergency import EmergencyPorts
from podinsight.services.guard import GuardPorts, GuardRules
from podinsight.services.resume import ResumePorts
from podinsight.settings import Settings
from podinsight.settings_sources import variable
from podinsight.state_dir import make_state_dir

PLACE: Final = "place"
_SLOW: Final = 4.0  # a worker may take so many times a chunk's length for it


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


def price_book(settings: Settings) -> PriceBook:
    """What things cost: the list prices, over them those of prices_file, over both what settings say of devices.

    A machine's own CPU costs nothing until somebody says so. The list prices of what is paid beside machines (NAT,
    storage …) hold in the cloud that they are of alone: where raw audio or staged results lie on S3 with no endpoint
    of somebody else's. What prices_file says holds anywhere.

    Raises:
        ConfigError: prices_file cannot be read, or is wrong.
    """
    listed = price_file.shipped()
    lower = PriceBook({CPU: LOCAL, **listed.devices}, listed.services if in_cloud(settings) else {})
    if settings.prices_file is not None:
        lower = price_file.read(settings.prices_file).over(lower)
    hours = {CPU: ("cpu_hour_usd", settings.cpu_hour_usd), CUDA: ("gpu_hour_usd", settings.gpu_hour_usd)}
    given = {
        kind: Price(micros(str(usd)), "settings")
        for kind, (name, usd) in hours.items()
        if name in settings.model_fields_set
    }
    return PriceBook(given, {}).over(lower)


def in_cloud(settings: Settings) -> bool:
    """Whether objects are kept, and so everything beside them runs, at AWS."""
    areas = settings.area_urls()
    return settings.s3_endpoint is None and any(areas[each].startswith("s3://") for each in ("raw", "stage"))


def terms(settings: Settings) -> Terms:
    """By what work is reserved and settled."""
    return Terms(
        price_book(settings),
        settings.limits(),
        settings.gpu_speed / 3,
        settings.fetch_seconds,
        settings.max_audio_bytes,
    )


def build_fleet(settings: Settings, store: StatusStore, clock: Clock) -> Fleet:
    """The gpu workers that are started and stopped."""
    prices = price_book(settings)

    def rate(kind: str) -> Rate:
        price = pricing.hour(prices, NoPrices(), kind, "")
        return Rate(price.micros, price.source, price.estimated)

    def device() -> str:
        return settings.device if settings.device != "auto" else _device_here(whisper_options(settings))

    most, silent = settings.gpu_workers, settings.worker_stale_seconds
    return LocalFleet(store, clock, most, silent, rate, device=device)


def guard_ports(settings: Settings, world: "Container") -> GuardPorts:
    """What the cost guard works with."""
    fleet = build_fleet(settings, world.store, world.clock)
    notifier, billing = build_notifier(settings), build_billing(settings)
    return GuardPorts(world.store, fleet, world.objects, world.clock, notifier, billing, price_book(settings))


def resume_ports(settings: Settings, store: StatusStore) -> ResumePorts:
    """What a resume works with: no broker and no objects."""
    clock = SystemClock()
    return ResumePorts(store, build_fleet(settings, store, clock), clock)


def emergency_ports(
    settings: Settings, store: StatusStore, left: Callable[[], Sequence[str]], pause: Callable[[], None]
) -> EmergencyPorts:
    """What an emergency shutdown works with: the database alone, no broker."""
    clock = SystemClock()
    return EmergencyPorts(store, build_fleet(settings, store, clock), clock, left, pause)


def build_notifier(settings: Settings) -> Notifier:
    """Who tells people, for one round of telling."""
    return AppriseNotifier(_notified(settings))


def notified_services(settings: Settings) -> dict[Severity, tuple[str, ...]]:
    """What kinds of service are told, by severity; sends nothing. Loads Apprise, if there is an address at all.

    Raises:
        ConfigError: an address that cannot be used; the text names the setting, and never shows the address.
    """
    urls = _notified(settings)
    faults = [
        f"{variable(f'notify_{severity.value}')}: its address number {number} is none that Apprise can use "
        "(docs/costs.md shows what they look like)"
        for severity, found in urls.items()
        for number in unusable(found)
    ]
    if faults:
        raise ConfigError("\n".join(faults))
    notifier = AppriseNotifier(urls)
    return {severity: notifier.services(severity) for severity in urls}


def _notified(settings: Settings) -> dict[Severity, list[str]]:
    told = {
        Severity.CRITICAL: settings.notify_critical,
        Severity.WARNING: settings.notify_warning,
        Severity.SUMMARY: settings.notify_summary,
    }
    return {severity: [url.get_secret_value() for url in urls] for severity, urls in told.items()}


def build_billing(_settings: Settings) -> Billing:
    """The provider's bill: a laptop has none."""
    return NoBilling()


def guard_rules(settings: Settings) -> GuardRules:
    """The settable part of the cost guard."""
    fleet = Rules(
        most=settings.gpu_workers,
        drain=settings.fleet_drain_seconds,
        patience=0.0,
        grace=settings.fleet_grace_seconds,
        settle=settings.fleet_settle_seconds,
        start=settings.fleet_start_seconds,
        sweep=max(settings.sweep_every_seconds, settings.scale_every_seconds),
        stop=settings.stop_seconds,
        stall=max(settings.progress_seconds, _SLOW * settings.chunk_seconds),
        least_billed=0.0,
    )
    return GuardRules(
        settings.limits(),
        fleet,
        settings.fleet_scales,
        settings.gpu_speed,
        settings.model,
        settings.economy_hold_seconds,
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


def whisper_options(settings: Settings) -> WhisperOptions:
    """Where speech runs and where its weights are."""
    return WhisperOptions(
        device=settings.device,
        compute_type=settings.compute_type,
        cpu_threads=settings.cpu_threads,
        model_dir=settings.model_dir,
        cache_dir=settings.model_cache_dir or settings.state_dir / "models",
    )


def decoding_device(settings: Settings) -> str:
    """What this machine decodes speech on (`cpu`, `cuda`); empty when it cannot. Loads no model."""
    return _device_here(whisper_options(settings))


@cache
def _device_here(options: WhisperOptions) -> str:
    try:
        return WhisperTranscriber(options).device()[0]
    except (ConfigError, Permanent):
        return ""


def list_models(settings: Settings) -> list[ModelInfo]:
    """The speech models on this machine. Raises Permanent when the extra `speech` is not installed."""
    return available(whisper_options(settings))


def find_model(settings: Settings, name: str) -> Path:
    """The folder of a model that is on this machine. Raises Permanent, naming the three ways to get it."""
    return find(name, whisper_options(settings), download=False)


def fetch_model(settings: Settings, name: str) -> Path:
    """The folder of a model, downloaded if need be. Raises Permanent, naming the three ways to get it."""
    return fetch(name, whisper_options(settings))


def build_parser() -> FeedParser:
    """The feed parser alone: it needs neither settings nor a database."""
    return FeedparserParser()


def read_feed_list(name: str, data: bytes) -> FeedList:
    """The feeds in an OPML or tier file called `name`. Raises Permanent, naming every entry that is wrong."""
    return feed_lists.read_feed_list(name, data)


def write_feed_list(feeds: Sequence[ListedFeed], form: str) -> str:
    """A feed list as text. form: `opml` or `yaml`."""
    return feed_lists.write_yaml(feeds) if form == "yaml" else feed_lists.write_opml(feeds)
