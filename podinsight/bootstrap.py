"""build(settings) -> Container: the only file that names adapters.

Build it in the process that uses it: obstore used before a fork hangs the child (DESIGN.md, Decided).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from podinsight.adapters.av_probe import AvProbe
from podinsight.adapters.celery_queue import CeleryQueue, celery_config
from podinsight.adapters.clock import SystemClock
from podinsight.adapters.database import open_store
from podinsight.adapters.faster_whisper_speech import WhisperTranscriber
from podinsight.adapters.feedparser_feeds import FeedparserParser
from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.adapters.requests_fetcher import FetchPolicy, RequestsFetcher
from podinsight.adapters.whisper_models import ModelInfo, WhisperOptions, available, fetch, find
from podinsight.domain.identity import HostLimits
from podinsight.ports import Clock, FeedParser, Fetcher, JobQueue, MediaProbe, ObjectStore, StatusStore, Transcriber
from podinsight.settings import Settings
from podinsight.state_dir import make_state_dir


@dataclass(frozen=True)
class Container:
    """The adapters of one process, by port."""

    clock: Clock
    store: StatusStore
    objects: ObjectStore
    fetcher: Fetcher
    parser: FeedParser
    probe: MediaProbe
    transcriber: Transcriber
    queue: JobQueue
    host_limits: HostLimits


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
        host_limits=HostLimits(settings.host_limits, settings.default_host_limit),
        stale_seconds=settings.worker_stale_seconds,
    )


def celery_settings(settings: Settings) -> dict[str, object]:
    """Celery's configuration, the same in every process."""
    return celery_config(settings.redis_url, settings.dispatch_expiry_seconds)


def build(settings: Settings, stopping: Callable[[], bool] = lambda: False) -> Container:
    """Everything a worker, the CLI or an API needs. Nothing heavy is loaded before its first use.

    stopping: says that this process is asked to stop; open requests end then.
    """
    clock = SystemClock()
    limits = HostLimits(settings.host_limits, settings.default_host_limit)
    return Container(
        clock=clock,
        store=build_store(settings, clock),
        objects=open_objects(
            settings.area_urls(),
            S3Options(
                endpoint=settings.s3_endpoint,
                region=settings.s3_region,
                access_key_id=settings.s3_access_key_id,
                secret_access_key=settings.s3_secret_access_key.get_secret_value()
                if settings.s3_secret_access_key
                else None,
            ),
        ),
        fetcher=RequestsFetcher(
            FetchPolicy(
                user_agent=settings.user_agent,
                allowed_hosts=frozenset(settings.allowed_hosts),
                connect_seconds=settings.connect_seconds,
                read_seconds=settings.read_seconds,
                total_seconds=settings.fetch_seconds,
                max_feed_bytes=settings.max_feed_bytes,
                max_audio_bytes=settings.max_audio_bytes,
                stopping=stopping,
            )
        ),
        parser=FeedparserParser(),
        probe=AvProbe(),
        transcriber=WhisperTranscriber(whisper_options(settings)),
        queue=CeleryQueue(settings.redis_url, settings.dispatch_expiry_seconds),
        host_limits=limits,
    )


def whisper_options(settings: Settings) -> WhisperOptions:
    """Where speech runs and where its weights are."""
    return WhisperOptions(
        device=settings.device,
        compute_type=settings.compute_type,
        cpu_threads=settings.cpu_threads,
        model_dir=settings.model_dir,
        cache_dir=settings.model_cache_dir or settings.state_dir / "models",
    )


def list_models(settings: Settings) -> list[ModelInfo]:
    """The speech models on this machine. Raises Permanent when the extra `speech` is not installed."""
    return available(whisper_options(settings))


def find_model(settings: Settings, name: str) -> Path:
    """The folder of a model that is on this machine. Raises Permanent, naming the three ways to get it."""
    return find(name, whisper_options(settings), download=False)


def fetch_model(settings: Settings, name: str) -> Path:
    """The folder of a model, downloaded if need be. Raises Permanent, naming the three ways to get it."""
    return fetch(name, whisper_options(settings))
