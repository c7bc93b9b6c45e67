"""A metadata service on loopback that behaves like EC2's (IMDSv2), with the notices that a test asks for.

As Amazon documents it: a token is asked for by PUT with a lifetime header (400 without, 403 when it came through a
proxy), everything else needs one that is still good (401), and what is not said is 404.
"""

import json
import secrets
import threading
import time
from datetime import UTC, datetime
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

ACTION = "/latest/meta-data/spot/instance-action"
ADVICE = "/latest/meta-data/events/recommendations/rebalance"


class MetadataService:
    """with MetadataService() as service: … service.stop_in(120) … service.withdraw()"""

    def __init__(self) -> None:
        self._documents: dict[str, tuple[int, bytes]] = {}
        self._tokens: dict[str, float] = {}
        self.asked: list[tuple[str, str, int]] = []  # method, path, status
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                if self.headers.get("X-Forwarded-For"):
                    self._answer(403)
                elif self.path != "/latest/api/token" or not service._lifetime(self.headers):
                    self._answer(400)
                else:
                    token = secrets.token_hex(16)
                    service._tokens[token] = time.monotonic() + service._lifetime(self.headers)
                    self._answer(200, token.encode())

            def do_GET(self) -> None:
                token = self.headers.get("X-aws-ec2-metadata-token", "")
                if service._tokens.get(token, 0.0) < time.monotonic():
                    self._answer(401)
                else:
                    self._answer(*service._documents.get(self.path, (404, b"")))

            def _answer(self, status: int, body: bytes = b"") -> None:
                service.asked.append((self.command, self.path, status))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def stop_in(self, seconds: float, action: str = "terminate") -> float:
        """The machine has a stop notice from now on; returns for when (whole epoch seconds)."""
        at = float(round(time.time() + seconds))
        self.say(ACTION, {"action": action, "time": _iso(at)})
        return at

    def advise_rebalance(self) -> float:
        """The machine has advice to rebalance from now on; returns since when (whole epoch seconds)."""
        at = float(round(time.time()))
        self.say(ADVICE, {"noticeTime": _iso(at)})
        return at

    def say(self, path: str, document: object, status: int = 200) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self._documents[path] = (status, body)

    def withdraw(self) -> None:
        self._documents.clear()

    def void_tokens(self) -> None:
        self._tokens.clear()

    def count(self, method: str, status: int) -> int:
        return sum(1 for each in self.asked if (each[0], each[2]) == (method, status))

    @staticmethod
    def _lifetime(headers: Message) -> float:
        text = headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        return float(text) if text.isdecimal() and 1 <= int(text) <= 21_600 else 0.0


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
