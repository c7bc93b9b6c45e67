"""Flower is told to ask its workers again, and not for ever."""

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import cast

from podinsight.supervisor.introduce import Introduction
from podinsight.supervisor.processes import Child


@dataclass
class Aged:
    """A Flower of a given age."""

    pid: int
    seconds: float

    def age(self) -> float:
        return self.seconds


def test_flower_is_told_twice_and_a_new_one_again() -> None:
    asked: list[str] = []
    heard = threading.Event()

    class Flower(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            heard.set()

        def log_message(self, format: str, *args: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Flower) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        introduction = Introduction(server.server_port)

        def told(pid: int, age: float) -> bool:
            return introduction.tick(cast(Child, Aged(pid, age)))

        assert not introduction.tick(None)
        assert [told(1, age) for age in (0.0, 4.9, 5.0, 6.0, 15.0, 16.0, 999.0)] == [
            False,
            False,
            True,
            False,
            True,
            False,
            False,
        ]
        assert [told(2, age) for age in (1.0, 5.0)] == [False, True]
        assert heard.wait(5)
        server.shutdown()
    assert asked[0] == "/workers?refresh=1&json=1"
