"""The hostile server's connections and counts; tests.support.hostile says how to use it."""

import asyncio
import fcntl
import json
import socket
import struct
import termios
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.support.hostile_files import Behaviour
from tests.support.hostile_replies import Reply, Turn, make_reply

HOST = "127.0.0.1"


@dataclass
class _Host:
    requests: int = 0
    in_flight: int = 0
    peak: int = 0
    bytes: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)


@dataclass
class _Path:
    requests: int = 0
    bytes: int = 0
    broken: int = 0


class _Flight:
    """One request, from its header to its last byte."""

    def __init__(self, server: "HostileServer", host: str, path: str, port: int) -> None:
        self.server, self.name, self.path_name, self.port = server, host, path, port
        self.host, self.path = server.hosts[host], server.paths[f"{host}{path}"]
        self.number = self.path.requests
        self.path.requests += 1
        self.host.requests += 1
        self.host.times.append(time.time())
        self._count(1)
        self._over = False

    def _count(self, change: int) -> None:
        self.host.in_flight += change
        self.host.peak = max(self.host.peak, self.host.in_flight)
        self.server.events.append((time.time(), self.name, self.host.in_flight, self.path_name, self.port))

    def sent(self, count: int) -> None:
        self.host.bytes += count
        self.path.bytes += count

    def end(self) -> None:
        if not self._over:
            self._over = True
            self._count(-1)


class _Connection:
    """Reads requests and notices at once when the client is gone."""

    def __init__(self, server: "HostileServer", sock: socket.socket) -> None:
        self.server, self.sock = server, sock
        self.loop = asyncio.get_running_loop()
        self.port = sock.getpeername()[1]
        self._held = b""
        self._more: asyncio.Task[bytes] | None = None

    def _reading(self) -> "asyncio.Task[bytes]":
        if self._more is None:
            self._more = self.loop.create_task(self.loop.sock_recv(self.sock, 65536))
        return self._more

    async def head(self) -> str | None:
        while b"\r\n\r\n" not in self._held:
            data = await self._reading()
            self._more = None
            if not data:
                return None
            self._held += data
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        return head.decode("latin-1")

    async def serve(self) -> None:
        try:
            while (head := await self.head()) is not None:
                answering = self.loop.create_task(self.server.answer(self, head))
                await asyncio.wait({answering, self._reading()}, return_when=asyncio.FIRST_COMPLETED)
                if not answering.done() and not self._alive():
                    answering.cancel()
                    with suppress(asyncio.CancelledError):
                        await answering
                    return
                if not await answering:
                    return
        except OSError:
            return
        finally:
            if self._more is not None:
                self._more.cancel()
            self.sock.close()

    def _alive(self) -> bool:
        task = self._reading()
        return task.exception() is None and bool(task.result())

    async def send(self, data: bytes | memoryview) -> None:
        await self.loop.sock_sendall(self.sock, data)

    async def reset(self) -> None:
        """Once the client's kernel has all that was sent, so that it is known what came."""
        unsent = struct.pack("i", 1)
        for _ in range(200):
            with suppress(OSError):
                unsent = fcntl.ioctl(self.sock, termios.TIOCOUTQ, struct.pack("i", 0))
            if struct.unpack("i", unsent)[0] == 0:
                break
            await asyncio.sleep(0.005)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class HostileServer:
    """Counts by host and by path, and every change of what is in flight."""

    def __init__(self, port: int = 0, address: str = HOST) -> None:
        self.listener = socket.create_server((address, port), backlog=512)
        self.hosts: defaultdict[str, _Host] = defaultdict(_Host)
        self.paths: defaultdict[str, _Path] = defaultdict(_Path)
        self.events: list[tuple[float, str, int, str, int]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self.listener.setblocking(False)
        while True:
            sock, _ = await loop.sock_accept(self.listener)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(OSError):
                task = loop.create_task(_Connection(self, sock).serve())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def answer(self, connection: _Connection, head: str) -> bool:
        """Whether the connection goes on."""
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        parts = urlsplit(first.split(" ")[1])
        if parts.path.startswith("/_hostile/"):
            await connection.send(self._control(parts.path.removeprefix("/_hostile/")))
            return True
        host, _, port = headers.get("host", "").rpartition(":")
        flight = _Flight(self, host, parts.path, connection.port)
        try:
            query = dict(parse_qsl(parts.query))
            behaviour = Behaviour.read(query)
            if behaviour.first_byte:
                await asyncio.sleep(behaviour.first_byte)
            turn = Turn(
                host, port, parts.path, query, headers, flight.number, flight.path.broken, flight.host.in_flight
            )
            reply = make_reply(behaviour, turn)
            flight.path.broken = reply.broken
            flight.host.statuses[reply.head[9:12].decode()] += 1
            return await self._send(connection, flight, behaviour, reply)
        finally:
            flight.end()

    async def _send(self, connection: _Connection, flight: _Flight, behaviour: Behaviour, reply: Reply) -> bool:
        began, sent = time.monotonic(), 0
        view = memoryview(reply.head)
        counted = False
        for following in reply.body:
            await connection.send(view)
            if counted:
                flight.sent(len(view))
                sent += len(view)
                pause = behaviour.drip or (began + sent / behaviour.rate - time.monotonic() if behaviour.rate else 0)
                if pause > 0:
                    await asyncio.sleep(pause)
            view, counted = following, True
        if reply.then == "hang":
            await connection.send(view)
            flight.sent(len(view))
            await asyncio.Event().wait()
        # The client may be done and back before this task runs again: the last byte goes when it is no longer counted.
        await connection.send(view[:-1])
        flight.sent(len(view) if counted else 0)
        if reply.then == "reset":
            await connection.send(view[-1:])
            await connection.reset()
        flight.end()
        if reply.then != "reset":
            await connection.send(view[-1:])
        return reply.then == "keep"

    def _control(self, what: str) -> bytes:
        if what == "reset":
            for host in self.hosts.values():
                host.requests, host.peak, host.bytes, host.times = 0, host.in_flight, 0, []
                host.statuses.clear()
            self.paths.clear()
            self.events.clear()
        hosts = {name: vars(host) for name, host in self.hosts.items()}
        paths = {name: vars(path) for name, path in self.paths.items()}
        answer: dict[str, Any] = {"events": self.events} if what == "events" else {"hosts": hosts, "paths": paths}
        text = json.dumps(answer).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text) + text
