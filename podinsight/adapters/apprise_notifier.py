"""ports.Notifier by Apprise: mail, Slack, PagerDuty, webhooks and a hundred more, each by an address of its own."""

import logging
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from podinsight.domain.alerts import Alert, Severity
from podinsight.errors import Unavailable

_TYPES: Final = {Severity.CRITICAL: "failure", Severity.WARNING: "warning", Severity.SUMMARY: "info"}


class AppriseNotifier:
    """urls: whom to tell, by severity. Critical ones without an address of their own go where warnings go."""

    def __init__(self, urls: Mapping[Severity, Sequence[str]]) -> None:
        self._urls = {severity: tuple(found) for severity, found in urls.items()}

    def send(self, alert: Alert) -> bool:
        urls = self._urls.get(alert.severity, ())
        if not urls and alert.severity is Severity.CRITICAL:
            urls = self._urls.get(Severity.WARNING, ())
        if not urls:
            return False
        import apprise  # heavy, and most processes never tell anybody anything

        logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its messages hold addresses with their tokens
        refused = [url for url in urls if not _sent(apprise, url, alert)]
        if refused:
            services = ", ".join(sorted({urlsplit(url).scheme for url in refused}))
            raise Unavailable(f"{len(refused)} of {len(urls)} could not be told ({services})")
        return True


def _sent(apprise: object, url: str, alert: Alert) -> bool:
    teller = apprise.Apprise()  # type: ignore[attr-defined]
    if not teller.add(url):
        return False
    body = alert.body or alert.title
    return bool(teller.notify(title=f"podinsight: {alert.title}", body=body, notify_type=_TYPES[alert.severity]))
