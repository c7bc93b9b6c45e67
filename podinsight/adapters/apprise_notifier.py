"""ports.Notifier by Apprise: mail, Slack, PagerDuty, webhooks and a hundred more, each by an address of its own.

Addresses hold passwords and tokens. Nothing here says one: not in an error, not in a log of a library.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from podinsight.domain.alerts import Alert, Severity
from podinsight.errors import Unavailable

PATIENCE_SECONDS: Final = 20.0  # more than any service's own time-outs, mail's too
LONGEST_TITLE: Final = 240
LONGEST_BODY: Final = 8000
_TYPES: Final = {Severity.CRITICAL: "FAILURE", Severity.WARNING: "WARNING", Severity.SUMMARY: "INFO"}
_THREAD: Final = "podinsight-tells"
_UNKNOWN: Final = "an address that Apprise does not know"
_KEPT: Final = 1000


class AppriseNotifier:
    """Made for one round of telling: an address that did not answer in time is not asked again by the same notifier.

    urls: whom to tell, by severity. Critical ones without an address of their own go where warnings go. patience:
    seconds for all addresses together, which are told at once.
    """

    def __init__(self, urls: Mapping[Severity, Sequence[str]], patience: float = PATIENCE_SECONDS) -> None:
        self._urls = {severity: tuple(found) for severity, found in urls.items()}
        self._patience = patience
        self._silent: set[str] = set()

    def services(self, severity: Severity) -> tuple[str, ...]:
        """What kinds of service are told of this severity (`Slack`, `JSON`), in the order of the addresses."""
        return tuple(_service(url) or _UNKNOWN for url in self._of(severity))

    def send(self, alert: Alert) -> bool:
        urls = self._of(alert.severity)
        if not urls:
            return False
        tells = [_Telling(url, alert) for url in urls if not _TOLD.has(alert.key, url)]
        for each in tells:
            if each.url not in self._silent:
                each.start()
        until = time.monotonic() + self._patience
        for each in tells:
            each.wait(until)
        self._silent |= {each.url for each in tells if each.silent}
        refused = sorted({each.trouble for each in tells if each.trouble})
        for each in tells:
            if not each.trouble:
                _TOLD.add(alert.key, each.url)
        if refused:
            raise Unavailable(f"could not be told: {', '.join(refused)}")
        return True

    def _of(self, severity: Severity) -> tuple[str, ...]:
        urls = self._urls.get(severity, ())
        return urls if urls or severity is not Severity.CRITICAL else self._urls.get(Severity.WARNING, ())


def unusable(urls: Sequence[str]) -> list[int]:
    """The numbers, from 1, of the addresses that Apprise cannot use. Nothing is sent."""
    return [number for number, url in enumerate(urls, 1) if _service(url) is None]


class _Telling:
    """One address in a thread of its own: whoever hangs there keeps nobody waiting, not even a process that ends."""

    def __init__(self, url: str, alert: Alert) -> None:
        self.url, self._alert = url, alert
        self._told: bool | None = None
        self._service = ""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=_THREAD, daemon=True)
        self._thread.start()

    def wait(self, until: float) -> None:
        if self._thread is not None:
            self._thread.join(max(0.0, until - time.monotonic()))

    @property
    def silent(self) -> bool:
        return self._told is None

    @property
    def trouble(self) -> str:
        """Which service could not be told; empty when it was."""
        if self._told:
            return ""
        name = self._service or _service(self.url) or _UNKNOWN
        return f"{name} does not answer in time" if self.silent else name

    def _run(self) -> None:
        try:
            teller = _teller(self.url)
            self._service = str(teller.service_name) if teller else _UNKNOWN
            self._told = bool(teller) and _tell(teller, self._alert)
        except Exception:  # a plug-in's own fault, whose text may hold the address
            self._told = False


class _Told:
    """Who was told of what by this process: when one address is down, the others are not told again at each try."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def has(self, key: str, url: str) -> bool:
        with self._lock:
            return (key, url) in self._known

    def add(self, key: str, url: str) -> None:
        with self._lock:
            self._known[key, url] = None
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)


_TOLD: Final = _Told()


def _service(url: str) -> str | None:
    teller = _teller(url)
    return str(teller.service_name) if teller else None


def _teller(url: str) -> Any:
    """What tells this address, or None."""
    import apprise  # heavy, and most processes never tell anybody anything

    _hush()
    asset = apprise.AppriseAsset(app_id="podinsight", app_desc="podinsight", async_mode=False, image_url_mask="")
    teller = apprise.Apprise.instantiate(url, asset=asset)
    if teller is not None:
        teller.notify_format = apprise.NotifyFormat.TEXT
        teller.overflow_mode = apprise.OverflowMode.TRUNCATE  # else the service refuses what is too long for it
    return teller


def _tell(teller: Any, alert: Alert) -> bool:
    """By the service itself: Apprise would send from threads for which a process that ends waits."""
    title = _cut(f"podinsight: {_line(alert.title)}", LONGEST_TITLE)
    body = _cut("\n".join(_line(line) for line in (alert.body or alert.title).splitlines()), LONGEST_BODY)
    import apprise

    kind = getattr(apprise.NotifyType, _TYPES[alert.severity])
    return bool(teller.notify(body=body, title=title, notify_type=kind, body_format=teller.notify_format))


def _line(text: str) -> str:
    """Titles of episodes come from strangers, and mail has header lines."""
    return "".join(each if each.isprintable() else " " for each in text).rstrip()


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 6]} (cut)"


def _hush() -> None:
    """Apprise and what it sends with write addresses into logs, tokens included."""
    logging.getLogger("apprise").disabled = True
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_not_ours)


def _not_ours(record: logging.LogRecord) -> bool:
    return record.threadName != _THREAD
