"""Interruption notices of an EC2 Spot instance, from its metadata service (IMDSv2).

Paths, token header and answers: Amazon EC2 User Guide, "Spot Instance interruption notices", "EC2 instance rebalance
recommendations" and "Use the Instance Metadata Service" (404: no notice; 401: the token is void).
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import requests

from podinsight.domain.identity import redact_url
from podinsight.domain.interruption import Notice
from podinsight.domain.redaction import unexpected

ADDRESS: Final = "http://169.254.169.254"
SESSION: Final = "/latest/api/token"
STOP: Final = "/latest/meta-data/spot/instance-action"
REBALANCE: Final = "/latest/meta-data/events/recommendations/rebalance"
SESSION_SECONDS: Final = 21_600
_SESSION_HEADER: Final = "X-aws-ec2-metadata-token"
_LIFETIME_HEADER: Final = "X-aws-ec2-metadata-token-ttl-seconds"

_log = logging.getLogger(__name__)


class SpotNotices:
    """ports.Interruptions. For one thread.

    Args:
        url: where the metadata service is.
        seconds: longest wait for a connection, and for an answer.
    """

    def __init__(self, url: str = ADDRESS, seconds: float = 1.0) -> None:
        self._url, self._seconds = url.rstrip("/"), seconds
        self._token: str | None = None
        self._silent = False
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy would answer for its own machine, and would see the token

    def look(self) -> Notice | None:
        """See the port."""
        try:
            notice = self._look()
        except (requests.RequestException, ValueError) as error:
            if not self._silent:
                _log.warning("no word of interruptions from %s: %s", redact_url(self._url), unexpected(error))
            self._silent = True
            return None
        self._silent = False
        return notice

    def _look(self) -> Notice | None:
        stop = self._get(STOP)
        if stop is not None:
            return Notice("stop", _seconds(stop, "time"))
        advice = self._get(REBALANCE)
        return None if advice is None else Notice("rebalance", _seconds(advice, "noticeTime"))

    def _get(self, path: str) -> Mapping[str, Any] | None:
        """The document at `path`, None when there is none. Raises RequestException, ValueError."""
        if self._token is None:
            self._token = self._new_token()
        answer = self._ask("GET", path, {_SESSION_HEADER: self._token})
        if answer.status_code == 401:
            self._token = self._new_token()
            answer = self._ask("GET", path, {_SESSION_HEADER: self._token})
        if answer.status_code == 404:
            return None
        document = _ok(answer).json()
        if not isinstance(document, dict):
            raise ValueError(f"{path} is no JSON object")
        return document

    def _new_token(self) -> str:
        self._token = None
        return _ok(self._ask("PUT", SESSION, {_LIFETIME_HEADER: str(SESSION_SECONDS)})).text

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> requests.Response:
        return self._session.request(
            method, self._url + path, headers=headers, timeout=self._seconds, allow_redirects=False
        )


def _ok(answer: requests.Response) -> requests.Response:
    if answer.status_code != 200:
        raise ValueError(f"it answers {answer.status_code}")
    return answer


def _seconds(document: Mapping[str, Any], name: str) -> float | None:
    """An ISO 8601 time in UTC as epoch seconds; what cannot be read is not known: the notice counts all the same."""
    try:
        return datetime.fromisoformat(str(document[name])).timestamp()
    except (KeyError, ValueError):
        return None
