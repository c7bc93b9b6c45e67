"""Connections that only ever go to an address that was checked, and that can be cut off at any moment.

Checking a name and then handing it to an HTTP library resolves it twice, and the second answer may differ (DNS
rebinding). So the check is in the connection itself: it resolves once, refuses if any of the answers is forbidden, and
connects to one of the answers it has checked, while Host header and TLS verification go on using the name.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable
from ssl import SSLContext
from typing import Any

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from podinsight.adapters.addresses import AddressGuard
from podinsight.adapters.lookups import Lookups, TooSlow
from podinsight.errors import Refused

MAX_ADDRESSES_TRIED = 4
MAX_CONNECT_SECONDS = 30.0
STOP_LOOK_SECONDS = 0.5


class Deadline:
    """The end of one fetch, from the first connection to the last byte, over all its requests.

    A time-out per read never ends a body, or a header, that drips; so when the time is over the socket is shut from
    another thread, and the reader sees an end, with `expired` set. So it is when the process is asked to stop, and
    when somebody calls `cut`.

    check: asked before a new connection is used; what it raises ends the request. received: is told the bytes of each
    answer's body that came over the wire.
    """

    def __init__(self, seconds: float, stopping: Callable[[], bool] = lambda: False) -> None:
        self.seconds = seconds
        self.check: Callable[[], None] = lambda: None
        self.received: Callable[[int], None] = lambda _bytes: None
        self._at = time.monotonic() + seconds
        self._stopping = stopping
        self._sock: socket.socket | None = None
        self._owned = False
        self._lock = threading.Lock()
        self._cut = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch_clock, name="deadline", daemon=True)

    @property
    def expired(self) -> bool:
        return self._cut.is_set()

    def left(self, most: float) -> float:
        """Seconds left, at most `most`, at least a moment."""
        return min(most, max(0.001, self._at - time.monotonic()))

    def wait(self, seconds: float) -> None:
        """Waits, but not past the end."""
        self._cut.wait(self.left(seconds))

    def watch(self, sock: socket.socket | None, owned: bool = False) -> None:
        """The socket that the request uses now; None: it uses none, or gives it back to the pool.

        owned: it is a duplicate, to be closed here.
        """
        with self._lock:
            old, self._sock = self._sock if self._owned else None, sock
            self._owned = owned
        if old is not None:
            old.close()
        if self.expired:
            self.cut()

    def cut(self) -> None:
        """Ends the request now. From any thread."""
        self._cut.set()
        with self._lock, contextlib.suppress(OSError):
            if self._sock is not None:
                # The plain method: the TLS one says goodbye first.
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def _watch_clock(self) -> None:
        while not self._over.wait(self.left(STOP_LOOK_SECONDS)):
            if time.monotonic() >= self._at or self._stopping():
                self.cut()
                return

    def __enter__(self) -> "Deadline":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self.watch(None)


class CurrentDeadline(threading.local):
    """The deadline of the request that this thread makes just now; connections find it here."""

    value: Deadline | None = None


def guarded_adapter(
    guard: AddressGuard, current: CurrentDeadline, pools: int, connections: int, ca_file: str | None
) -> HTTPAdapter:
    """A requests transport for any number of threads, whose every connection passes the guard and is watched by its
    thread's deadline.

    Args:
        pools: hosts whose idle connections are kept.
        connections: idle connections that are kept of each.
        ca_file: certificates to trust instead of the usual ones.

    `getresponse` is where a connection is taken into use, be it new or from the pool.
    """
    lookups = Lookups(2 * connections)  # as many hang at most as are needed at once

    class GuardedConnection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connect(self, guard, lookups, current.value)

        def getresponse(self) -> Any:
            _watch(self, current.value)
            return super().getresponse()

    class GuardedTlsConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _connect(self, guard, lookups, current.value)

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
            self.tls = _tls_context(ca_file)

        def build_connection_pool_key_attributes(
            self, request: PreparedRequest, verify: object, cert: object = None
        ) -> tuple[Any, Any]:
            """One TLS context for all: reading the certificates again costs milliseconds a connection."""
            host, _ = super().build_connection_pool_key_attributes(request, True)
            return host, {"ssl_context": self.tls} if host["scheme"] == "https" else {}

        def cert_verify(self, conn: Any, url: Any, verify: object, cert: object) -> None:
            """The TLS context knows what to trust."""

        def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
            raise Refused("a proxy would go round the address checks")

    return GuardedAdapter(pool_connections=pools, pool_maxsize=connections, max_retries=0)


def _tls_context(ca_file: str | None) -> SSLContext:
    context = create_urllib3_context()
    context.load_verify_locations(ca_file or DEFAULT_CA_BUNDLE_PATH)
    return context


def _watch(connection: HTTPConnection, deadline: Deadline | None) -> None:
    if deadline:
        deadline.watch(connection.sock)


def _connect(
    connection: HTTPConnection, guard: AddressGuard, lookups: Lookups, deadline: Deadline | None
) -> socket.socket:
    timeout = float(connection.timeout) if isinstance(connection.timeout, int | float) else MAX_CONNECT_SECONDS
    addresses = _addresses(connection, guard, lookups, timeout, deadline)
    sock = _open_one_of(connection, addresses, timeout, deadline)
    if deadline:
        # A TLS handshake goes on below urllib3, on a socket that nobody else sees: watched by a duplicate.
        tls = isinstance(connection, HTTPSConnection)
        deadline.watch(sock.dup() if tls else sock, owned=tls)
        try:
            deadline.check()
        except BaseException:
            sock.close()
            raise
    return sock


def _addresses(
    connection: HTTPConnection, guard: AddressGuard, lookups: Lookups, timeout: float, deadline: Deadline | None
) -> list[str]:
    """Waits for the resolver as long as for a connection, and not past the deadline."""
    host, port = connection.host, connection.port or connection.default_port
    seconds = deadline.left(timeout) if deadline else timeout
    try:
        return lookups.result(
            lambda: guard.addresses(host, port), seconds, lambda: deadline is not None and deadline.expired
        )
    except TooSlow as error:
        raise ConnectTimeoutError(connection, f"Resolving {host} timed out") from error
    except BlockingIOError as error:
        raise NewConnectionError(connection, f"Failed to resolve: {error}") from error
    except (OSError, UnicodeError) as error:
        reason = error if isinstance(error, socket.gaierror) else socket.gaierror(socket.EAI_NONAME, str(error))
        raise NameResolutionError(host, connection, reason) from error


def _open_one_of(
    connection: HTTPConnection, addresses: list[str], timeout: float, deadline: Deadline | None
) -> socket.socket:
    host, port = connection.host, connection.port or connection.default_port
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
