"""The figures of T9 in SQL: a few rows a day for each feed and each host."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Row, func, select

from podinsight.adapters.database.catalogue_tables import feed_days, feeds, host_days
from podinsight.adapters.database.engine import Database
from podinsight.adapters.database.models import speech_days
from podinsight.adapters.database.reservations import read_budgets
from podinsight.domain.budget import Scope
from podinsight.domain.metrics import GPU_COST_TODAY, Metric
from podinsight.domain.money import DOLLAR

_FETCH = {"phase": "fetch"}
_GB, _MB, _HOUR = 1e9, 1e6, 3600


class SqlMetrics:
    """ports.Metrics."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def read(self, day: str) -> list[Metric]:
        by_feed = (
            select(feed_days, feeds.c.slug)
            .join(feeds, feeds.c.id == feed_days.c.feed_id)
            .where(feed_days.c.day == day)
            .order_by(feeds.c.slug)
        )
        took = [func.sum(speech_days.c[name]).label(name) for name in ("audio_seconds", "device_seconds")]
        by_device = (
            select(speech_days.c.model, speech_days.c.device, *took)
            .where(speech_days.c.day == day)
            .group_by(speech_days.c.model, speech_days.c.device)
            .order_by(speech_days.c.model, speech_days.c.device)
        )
        by_host = select(host_days).where(host_days.c.day == day).order_by(host_days.c.host)
        with self._db.read() as conn:
            of_feeds, of_hosts = conn.execute(by_feed).all(), conn.execute(by_host).all()
            of_devices = conn.execute(by_device).all()
            spent = read_budgets(conn, [(Scope.GPU_DAY, day)])[0].spent
        return [
            *_success(of_feeds),
            *_throttled(of_hosts),
            *_volume(of_feeds, of_hosts),
            *_speech(of_devices),
            *([Metric(GPU_COST_TODAY, spent / DOLLAR, "USD")] if of_devices or spent else []),
        ]


def _success(rows: Sequence[Row[Any]]) -> Iterator[Metric]:
    done, ended = 0, 0
    for row in rows:
        done, ended = done + row.downloaded, ended + row.downloaded + row.failed
        if row.downloaded + row.failed:
            share = row.downloaded / (row.downloaded + row.failed)
            yield Metric("DownloadSuccessRate", share, "share", {"feed_slug": str(row.slug)})
    if ended:
        yield Metric("DownloadSuccessRate", done / ended, "share")


def _throttled(rows: Sequence[Row[Any]]) -> Iterator[Metric]:
    throttled, requests = 0, 0
    for row in rows:
        throttled, requests = throttled + row.throttled, requests + row.requests
        if row.requests:
            yield Metric("PerHost429", row.throttled / row.requests, "share", {"hostname": row.host})
    if requests:
        yield Metric("PerHost429", throttled / requests, "share")


def _volume(of_feeds: Sequence[Row[Any]], of_hosts: Sequence[Row[Any]]) -> Iterator[Metric]:
    """What came over the wire is what hosts were noted to have sent; a note that got lost is no less than the files."""
    files, downloaded = (sum(int(getattr(row, name)) for row in of_feeds) for name in ("received", "downloaded"))
    gigabytes = max(files, sum(int(row.received) for row in of_hosts)) / _GB
    for dimensions in (_FETCH, {}):
        if gigabytes:
            yield Metric("GBTransferred", gigabytes, "GB", dimensions)
        if downloaded:
            yield Metric("AvgDownloadMB", files / downloaded / _MB, "MB", dimensions)


def _speech(rows: Sequence[Row[Any]]) -> Iterator[Metric]:
    for row in rows:
        dimensions = {"model": str(row.model), "device": str(row.device)}
        yield Metric("AudioHours", row.audio_seconds / _HOUR, "h", dimensions)
        if row.device_seconds > 0:
            yield Metric("DecodingSpeed", row.audio_seconds / row.device_seconds, "x", dimensions)
    if rows:
        yield Metric("AudioHours", sum(row.audio_seconds for row in rows) / _HOUR, "h")
