"""One pooled HTTP client a process: redirects by hand, each request behind the door and at a checked address.

requests makes the request and urllib3 keeps the connections (ADR 7); nothing of theirs that follows, retries, remembers
or reads the environment is used.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

from podinsight.adapters.addresses import AddressGuard, Resolver, resolve
from podinsight.adapters.door import Door, Permit
from podinsight.adapters.guarded_http import CurrentDeadline, Deadline, guarded_adapter
from podinsight.adapters.http_answers import (
    Broken,
    Kind,
    check_status,
    failure_text,
    is_quick,
    redirect_target,
    retry_after,
)
from podinsight.adapters.http_body import VENDOR_ERRORS, Answer, finish, too_long
from podinsight.domain.identity import host_of, normalise_url, redact_url
from podinsight.errors import Permanent

REDIRECTS = frozenset({301, 302, 303, 307, 308})
FOR_GOOD = frozenset({301, 308})
HOSTS_POOLED = 64


@dataclass(frozen=True)
class FetchPolicy:
    """How this installation goes to the web.

    allowed_hosts: hostnames that may be at an address that is not public.
    total_seconds: from the first connection to the last byte, over all redirects and resumptions; a document has
        document_seconds.
    resolver: (host, port) → addresses.
    fixed: hostname or suffix → address, before the resolver is asked.
    ca_file: a PEM file of certificates to trust instead of the usual ones.
    connections: idle connections to keep of each host; at least the slots of the process.
    stopping: asked twice a second; when it says so, every open request ends as if its time were over.
    """

    user_agent: str
    allowed_hosts: frozenset[str]
    connect_seconds: float
    read_seconds: float
    total_seconds: float
    max_feed_bytes: int
    max_audio_bytes: int
    max_transcript_bytes: int = 16 * 2**20
    max_redirects: int = 10
    document_seconds: float = 60.0
    resolver: Resolver = resolve
    fixed: Mapping[str, str] = field(default_factory=dict)
    ca_file: str | None = None
    connections: int = 64
    stopping: Callable[[], bool] = lambda: False

    def ceiling(self, kind: Kind) -> int:
        """The most bytes of a body."""
        ceilings = {Kind.AUDIO: self.max_audio_bytes, Kind.FEED: self.max_feed_bytes}
        return ceilings.get(kind, self.max_transcript_bytes)

    def deadline(self, kind: Kind) -> Deadline:
        audio = kind is Kind.AUDIO
        seconds = self.total_seconds if audio else min(self.total_seconds, self.document_seconds)
        return Deadline(seconds, self.stopping)


class HttpClient:
    """Any number of threads share one: one pool of connections, one TLS context."""

    def __init__(self, policy: FetchPolicy, door: Door) -> None:
        # At DEBUG urllib3 logs the path of every request with its query, tokens included.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
        self._policy = policy
        self._door = door
        self._current = CurrentDeadline()
        guard = AddressGuard(policy.allowed_hosts, policy.resolver, policy.fixed)
        self._adapter = guarded_adapter(guard, self._current, HOSTS_POOLED, policy.connections, policy.ca_file)

    @contextmanager
    def get(
        self, url: str, headers: Mapping[str, str], kind: Kind, deadline: Deadline, also: Collection[int] = frozenset()
    ) -> Iterator[Answer]:
        """Asks, following redirects; the last request's permit is held for as long as the answer is open.

        also: statuses that the headers allow besides 200.

        Raises:
            Broken: no answer came.
            Busy, Abandoned: the door.
            Transient, Permanent, Refused: see ports.Fetcher.
        """
        here = normalise_url(url)
        seen = {here}
        hops: list[int] = []
        while True:
            with self._ask(here, headers, deadline) as (response, permit):
                status = response.status_code
                if status not in REDIRECTS:
                    check_status(status, response.headers, here, kind, also)
                    moved = bool(hops) and FOR_GOOD.issuperset(hops)
                    yield Answer(response, permit, deadline, here, self._policy.ceiling(kind), moved)
                    return
                here = redirect_target(here, response.headers.get("Location"))
            if here in seen:
                raise Permanent(f"a redirect loop: {host_of(url)} leads back to {redact_url(here)}")
            if len(seen) > self._policy.max_redirects:
                raise Permanent(f"more than {self._policy.max_redirects} redirects from {redact_url(url)}")
            seen.add(here)
            hops.append(status)

    @contextmanager
    def _ask(
        self, url: str, headers: Mapping[str, str], deadline: Deadline
    ) -> Iterator[tuple[requests.Response, Permit]]:
        """One request. Its connection is closed, or back in the pool, before its permit is."""
        with self._door.permit(host_of(url)) as permit:
            permit.on_lost(deadline.cut)
            try:
                response = self._send(url, headers, deadline, permit)
                try:
                    permit.answered(response.status_code, retry_after(response.headers.get("Retry-After")))
                    yield response, permit
                finally:
                    finish(response, deadline)
                    deadline.received(response.raw.tell())
            finally:
                deadline.watch(None)

    def _send(self, url: str, headers: Mapping[str, str], deadline: Deadline, permit: Permit) -> requests.Response:
        policy = self._policy
        try:
            request = requests.Request("GET", url, headers={"User-Agent": policy.user_agent, **headers}).prepare()
        except (requests.RequestException, ValueError):
            raise Permanent(f"a URL that cannot be requested: {redact_url(url)}") from None
        permit.check()
        if deadline.expired:
            raise too_long(url, deadline)
        deadline.check = permit.check
        timeout = (deadline.left(policy.connect_seconds), deadline.left(policy.read_seconds))
        outer, self._current.value = self._current.value, deadline
        try:
            return self._adapter.send(request, stream=True, timeout=timeout)
        except VENDOR_ERRORS as error:
            permit.check()
            if deadline.expired:
                raise too_long(url, deadline) from None
            text = f"{failure_text(error)}: {host_of(url)} ({redact_url(url)})"
            raise Broken(text, quick=is_quick(error)) from None
        finally:
            self._current.value = outer
