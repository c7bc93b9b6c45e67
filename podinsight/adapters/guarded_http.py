"""The address guard: connections that only ever go to an address that was checked.

Checking a name and then handing it to an HTTP library resolves it twice, and the second answer may differ (DNS
rebinding). So the check is in the connection itself: it resolves once, refuses if any of the answers is forbidden, and
connects to one of the answers it has checked, while Host header and TLS verification go on using the name.
"""

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from podinsight.errors import Refused

Resolver = Callable[[str, int], list[str]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_ADDRESSES_TRIED = 4
MAX_CONNECT_SECONDS = 30.0
STOP_LOOK_SECONDS = 0.5
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_FORBIDDEN_V4 = tuple(
    ipaddress.IPv4Network(block)
    # Shared (CGNAT), protocol assignments, 6to4 relay, benchmarking; the metadata addresses that look public.
    for block in ("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "168.63.129.16/32")
)
_FORBIDDEN_V6 = tuple(
    ipaddress.IPv6Network(block)
    # IPv4-compatible, discard, documentation, site-local (old), local NAT64, unique local (metadata fd00:ec2::254).
    for block in ("::/96", "100::/64", "2001:db8::/32", "3fff::/20", "fec0::/10", "64:ff9b:1::/48", "fc00::/7")
)


def resolve(host: str, port: int) -> list[str]:
    """Every address of a host, by the system's resolver, which also reads odd spellings such as `0x7f.1`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def forbidden(address: str) -> str | None:
    """Why a request must not go to this address, or None if it is public."""
    try:
        parsed: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unreadable"
    return _forbidden_v4(parsed) if isinstance(parsed, ipaddress.IPv4Address) else _forbidden_v6(parsed)


def _forbidden_v4(address: ipaddress.IPv4Address) -> str | None:
    reason = _kind(address)
    if reason is None and any(address in block for block in _FORBIDDEN_V4):
        return "reserved"
    return reason


def _forbidden_v6(address: ipaddress.IPv6Address) -> str | None:
    for inner in _embedded(address):
        reason = _forbidden_v4(inner)
        if reason:
            return f"{reason} ({inner})"
    if address.ipv4_mapped or address in _NAT64:
        return None  # Judged by the address inside; DNS64 gives the latter for every IPv4 host.
    reason = _kind(address)
    if reason is None and any(address in block for block in _FORBIDDEN_V6):
        return "reserved"
    return reason


def _embedded(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that packets to this IPv6 address may end at."""
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [inner for inner in found if inner is not None]


def _kind(address: Address) -> str | None:
    kinds = (
        (address.is_unspecified, "unspecified"),
        (address.is_loopback, "loopback"),
        (address.is_link_local, "link-local"),
        (address.is_multicast, "multicast"),
        (address.is_private, "private"),
        (address.is_reserved, "reserved"),
    )
    return next((name for applies, name in kinds if applies), None)


@dataclass(frozen=True)
class AddressGuard:
    """Resolves and checks. `allowed_hosts` are exact hostnames whose addresses are not checked."""

    allowed_hosts: frozenset[str]
    resolver: Resolver = resolve

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed_hosts", frozenset(host.strip("[] ").lower() for host in self.allowed_hosts))

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses to connect to.

        Raises:
            Refused: one of them is forbidden.
            OSError: the name does not resolve.
        """
        name = host.strip("[]").rstrip(".").lower()
        found = self.resolver(name, port)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        if name not in self.allowed_hosts:
            for address in found:
                reason = forbidden(address)
                if reason:
                    raise Refused(
                        f"{name} is at {address}, a {reason} address: only public addresses are fetched "
                        "(exceptions are named in PODINSIGHT_ALLOWED_HOSTS)"
                    )
        return found


class Deadline:
    """The end of one request, from the first connection to the last byte.

    A time-out per read never ends a body, or a header, that drips; so when the time is over the socket is shut from
    another thread, and the reader sees an end, with `expired` set. So it is when the process is asked to stop.
    """

    def __init__(self, seconds: float, stopping: Callable[[], bool] = lambda: False) -> None:
        self.expired = False
        self.seconds = seconds
        self._at = time.monotonic() + seconds
        self._stopping = stopping
        self._sock: socket.socket | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch_clock, name="deadline", daemon=True)

    def _watch_clock(self) -> None:
        while not self._over.wait(self.left(STOP_LOOK_SECONDS)):
            if time.monotonic() >= self._at or self._stopping():
                self._shut()
                return

    def left(self, most: float) -> float:
        """Seconds left, at most `most`, at least a moment."""
        return min(most, max(0.001, self._at - time.monotonic()))

    def watch(self, sock: socket.socket | None) -> None:
        """The socket that the request uses now."""
        with self._lock:
            self._sock = sock
        if self.expired:
            self._shut()

    def _shut(self) -> None:
        self.expired = True
        with self._lock, contextlib.suppress(OSError):
            if self._sock is not None:
                # The plain method: the TLS one says goodbye first.
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def __enter__(self) -> "Deadline":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()


class CurrentDeadline(threading.local):
    """The deadline of the request that this thread makes just now; connections find it here."""

    value: Deadline | None = None


def guarded_adapter(guard: AddressGuard, current: CurrentDeadline) -> HTTPAdapter:
    """A requests transport whose every connection passes the guard and is watched by its thread's deadline.

    `getresponse` is where a connection is taken into use, be it new or from the pool.
    """

    class GuardedConnection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connect(self, guard, current.value)

        def getresponse(self) -> Any:
            _watch(self, current.value)
            return super().getresponse()

    class GuardedTlsConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _connect(self, guard, current.value)

        def getresponse(self) -> Any:
            _watch(self, current.value)
            return super().getresponse()

    class GuardedPool(HTTPConnectionPool):
        ConnectionCls = GuardedConnection

    class GuardedTlsPool(HTTPSConnectionPool):
        ConnectionCls = GuardedTlsConnection

    class GuardedAdapter(HTTPAdapter):
        def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
            self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **pool_kwargs)
            self.poolmanager.pool_classes_by_scheme = {"http": GuardedPool, "https": GuardedTlsPool}

        def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
            raise Refused("a proxy would go round the address checks")

    return GuardedAdapter(max_retries=0)


def _watch(connection: HTTPConnection, deadline: Deadline | None) -> None:
    if deadline:
        deadline.watch(connection.sock)


def _connect(connection: HTTPConnection, guard: AddressGuard, deadline: Deadline | None) -> socket.socket:
    host, port = connection.host, connection.port or connection.default_port
    try:
        addresses = guard.addresses(host, port)
    except (OSError, UnicodeError) as error:
        reason = error if isinstance(error, socket.gaierror) else socket.gaierror(socket.EAI_NONAME, str(error))
        raise NameResolutionError(host, connection, reason) from error
    timeout = float(connection.timeout) if isinstance(connection.timeout, int | float) else MAX_CONNECT_SECONDS
    options = connection.socket_options or ()
    failure = OSError("no address")
    for address in addresses[:MAX_ADDRESSES_TRIED]:
        try:
            return _open(address, port, deadline.left(timeout) if deadline else timeout, options)
        except OSError as error:
            failure = error
    if isinstance(failure, TimeoutError):
        raise ConnectTimeoutError(connection, f"Connection to {host} timed out")
    raise NewConnectionError(connection, f"Failed to establish a new connection: {failure}") from failure


def _open(address: str, port: int, timeout: float, options: Iterable[Any]) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            sock.setsockopt(*option)
        sock.settimeout(timeout)
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock
