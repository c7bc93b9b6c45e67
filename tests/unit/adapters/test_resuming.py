"""Bodies that break: resumed, started over or given up, against the hostile server (F9)."""

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from podinsight.adapters import resuming
from podinsight.adapters.door import OpenDoor
from podinsight.adapters.requests_fetcher import FetchPolicy, RequestsFetcher
from podinsight.errors import Busy, NotThere, Permanent, Transient
from tests.support.doors import NotingDoor
from tests.support.hostile import Hostile, expected, hostile
from tests.support.webserver import Reply, WebServer

MIB = 2**20
POLICY = FetchPolicy(
    user_agent="PodInsight/test",
    allowed_hosts=frozenset({"a.test", "b.test", "127.0.0.1"}),
    connect_seconds=5.0,
    read_seconds=5.0,
    total_seconds=60.0,
    max_feed_bytes=MIB,
    max_audio_bytes=400 * MIB,
    fixed={"test": "127.0.0.1"},
)


@dataclass(frozen=True)
class Got:
    """starts: the offsets at which the body (re)started; each piece must follow the one before."""

    size: int
    sha256: str
    starts: int


def fetch(fetcher: RequestsFetcher, url: str) -> Got:
    digest, size, starts = hashlib.sha256(), 0, 0
    with fetcher.audio(url) as body:
        for piece in body.pieces:
            if piece.offset == 0:
                digest, size, starts = hashlib.sha256(), 0, starts + 1
            assert piece.offset == size
            digest.update(piece.data)
            size += len(piece.data)
    return Got(size, digest.hexdigest(), starts)


def whole(host: str, name: str, size: int, version: int = 0, starts: int = 1) -> Got:
    return Got(size, expected(host, name, size, version).sha256(), starts)


@pytest.fixture(scope="module")
def server() -> Iterator[Hostile]:
    with hostile() as running:
        yield running


@pytest.fixture(autouse=True)
def _forget(server: Hostile) -> None:
    server.reset()


@pytest.fixture
def fetcher() -> RequestsFetcher:
    return RequestsFetcher(POLICY, OpenDoor())


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "PAUSE", lambda _state: 0.0)


def path(server: Hostile, name: str) -> dict[str, int]:
    found: dict[str, int] = server.stats()["paths"][name]
    return found


def test_ten_breaks_at_random_bytes_cost_no_byte_twice(server: Hostile, fetcher: RequestsFetcher) -> None:
    """F9: 100 MiB broken ten times is fetched in at most 1.02 times its bytes."""
    size = 100 * MIB
    assert fetch(fetcher, server.url("a.test", "x.wav", size=size, breaks=10, seed=7)) == whole("a.test", "x.wav", size)
    counted = path(server, "a.test/x.wav")
    assert (counted["requests"], counted["broken"]) == (11, 10)
    assert counted["bytes"] <= size * 1.02


@pytest.mark.parametrize(
    ("behaviour", "starts"),
    [
        ({"etag": "none"}, 1),  # Last-Modified does
        ({"etag": "weak"}, 1),
        ({"etag": "weak", "modified": False}, 2),
        ({"etag": "none", "modified": False}, 2),
        ({"ranges": False}, 2),
        ({"chunked": True, "size": MIB}, 1),
    ],
)
def test_what_the_server_says_of_its_file_decides_whether_it_goes_on(
    server: Hostile, fetcher: RequestsFetcher, behaviour: dict[str, Any], starts: int
) -> None:
    url = server.url("a.test", "x.wav", **{"breaks_at": str(MIB // 2), "size": MIB, **behaviour})
    assert fetch(fetcher, url) == whole("a.test", "x.wav", MIB, starts=starts)


def test_a_file_that_changes_between_ranges_is_never_mixed(server: Hostile, fetcher: RequestsFetcher) -> None:
    url = server.url("a.test", "x.wav", size=MIB, breaks_at=str(MIB // 2), changes=1)
    assert fetch(fetcher, url) == whole("a.test", "x.wav", MIB, version=1, starts=2)


def test_a_server_without_if_range_is_seen_through(fetcher: RequestsFetcher) -> None:
    """It sends the rest of another file as 206: its total or its ETag gives it away."""
    old, new = b"o" * 100_000, b"n" * 100_000
    with WebServer() as web:
        first = Reply(old[:60_000], declared=100_000, headers={"ETag": '"old"'})
        url = web.answer("/etag", first, Reply(new, headers={"ETag": '"new"'}))
        assert fetch(fetcher, url) == Got(100_000, hashlib.sha256(new).hexdigest(), 2)
        url = web.answer("/total", first, Reply(new + b"!", headers={"ETag": '"old"'}))
        assert fetch(fetcher, url) == Got(100_001, hashlib.sha256(new + b"!").hexdigest(), 2)
        shrunk = Reply(new[:50_000], headers={"ETag": '"new"'})  # 416: nothing there
        assert fetch(fetcher, web.answer("/shrunk", first, shrunk)).size == 50_000
        assert [request.headers.get("if-range") for request in web.requests("/etag")] == [None, '"old"', None]
        assert web.requests("/etag")[1].headers["range"] == "bytes=60000-"


def test_a_206_with_another_start_is_not_believed(fetcher: RequestsFetcher) -> None:
    data = bytes(range(250)) * 400
    tags = {"ETag": '"v"'}
    with WebServer() as web:
        wrong = Reply(data[50_000:], 206, headers={**tags, "Content-Range": "bytes 50000-99999/100000"})
        first = Reply(data[:60_000], declared=100_000, headers=tags)
        url = web.answer("/a", first, wrong, Reply(data, headers=tags))
        assert fetch(fetcher, url) == Got(100_000, hashlib.sha256(data).hexdigest(), 2)


class Rest(NamedTuple):
    """What a server answers to Range: `said` are its headers."""

    body: bytes
    said: dict[str, str]
    chunked: bool = False


OLD = bytes(range(250)) * 400
OTHER = bytes(reversed(OLD))
TAG, DATE = {"ETag": '"v"'}, {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
RANGE = {"Content-Range": "bytes 60000-99999/100000"}


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (TAG, Rest(OTHER[60_000:], RANGE)),  # RFC 9110, 15.3.7: a 206 has the ETag that the 200 would have
        ({**TAG, **DATE}, Rest(OTHER[60_000:], {**RANGE, **DATE})),
        (DATE, Rest(OTHER[60_000:], {**RANGE, "Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT"})),
        (TAG, Rest(OTHER, {**RANGE, **TAG})),  # the whole, whatever it says
        (TAG, Rest(OTHER[60_000:90_000], {**RANGE, **TAG})),
        (TAG, Rest(OTHER[60_000:] + b"more", {**RANGE, **TAG}, chunked=True)),
        (TAG, Rest(OTHER[60_000:], {**TAG, "Content-Range": "bytes 60000-70000/100000"}, chunked=True)),
        (TAG, Rest(OTHER[60_000:], {**TAG, "Content-Range": "bytes 60000-59999/*"}, chunked=True)),
        (TAG, Rest(OTHER[60_000:], {**TAG, "Content-Range": "bytes 60000-100000/*"}, chunked=True)),
        (TAG, Rest(OTHER[60_000:], {**TAG, "Content-Range": "bytes 60000-100000/100000"}, chunked=True)),
        (TAG, Rest(OTHER[60_000:], {**TAG, "Content-Range": f"bytes 60000-{'9' * 5000}/*"}, chunked=True)),
    ],
)
def test_a_206_that_may_be_of_another_file_starts_over(
    fetcher: RequestsFetcher, first: dict[str, str], rest: Rest
) -> None:
    with WebServer() as web:
        broken = Reply(OLD[:60_000], declared=len(OLD), headers=first)
        doubtful = Reply(rest.body, 206, headers=rest.said, chunked=rest.chunked)
        url = web.answer("/a", broken, doubtful, Reply(OLD, headers=first))
        assert fetch(fetcher, url) == Got(len(OLD), hashlib.sha256(OLD).hexdigest(), 2)
        assert [request.headers.get("range") for request in web.requests("/a")] == [None, "bytes=60000-", None]


@pytest.mark.usefixtures("no_pauses")
def test_a_206_that_runs_past_its_end_every_time_is_given_up(fetcher: RequestsFetcher) -> None:
    with WebServer() as web:
        broken = Reply(OLD[:60_000], declared=len(OLD), headers=TAG)
        endless = Reply(OTHER, 206, headers={**TAG, **RANGE}, chunked=True)
        url = web.answer("/a", *[broken, endless] * 10)
        with pytest.raises(Transient, match=r"more bytes than|started over 3 times"):
            fetch(fetcher, url)
        assert web.hits("/a") <= 10


@pytest.mark.usefixtures("no_pauses")
def test_without_an_etag_and_a_date_the_place_must_be_the_same(fetcher: RequestsFetcher) -> None:
    """RFC 9110, 15.3.7: a 206 to If-Range need not repeat Last-Modified. Another edge may have another ad."""
    with WebServer() as web:
        broken = Reply(OLD[:60_000], declared=len(OLD), headers=DATE)
        rest = Reply(OLD[60_000:], 206, headers=RANGE)
        assert fetch(fetcher, web.answer("/same", broken, rest)) == Got(len(OLD), hashlib.sha256(OLD).hexdigest(), 1)
        one, two = web.answer("/one", broken, Reply(OLD, headers=DATE)), web.answer("/two", rest)
        to = [Reply(b"", 302, headers={"Location": place}) for place in (one, two, one)]
        assert fetch(fetcher, web.answer("/a", *to)) == Got(len(OLD), hashlib.sha256(OLD).hexdigest(), 2)


@pytest.mark.usefixtures("no_pauses")
def test_a_whole_body_without_its_last_chunk_is_whole() -> None:
    """The server says 416 to the rest: there is none. What it has by then is never fetched again."""
    with chunked_without_end(OLD, {"Content-Range": f"bytes */{len(OLD)}"}) as (url, ranges):
        assert fetch(RequestsFetcher(POLICY, OpenDoor()), url) == Got(len(OLD), hashlib.sha256(OLD).hexdigest(), 1)
        assert ranges == [None, f"bytes={len(OLD)}-"]


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("said", [{"ETag": '"other"', "Content-Range": f"bytes */{len(OLD)}"}, {}])
def test_a_416_of_another_file_is_no_end(said: dict[str, str]) -> None:
    with chunked_without_end(OLD, said) as (url, ranges), pytest.raises(Transient, match="given up"):
        fetch(RequestsFetcher(POLICY, OpenDoor()), url)
    assert len(ranges) > 2


@contextmanager
def chunked_without_end(body: bytes, said: dict[str, str]) -> Iterator[tuple[str, list[str | None]]]:
    """A body that comes whole, without the last chunk; `said` are the headers of the 416. URL and ranges asked for."""
    ranges: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            ranges.append(self.headers.get("Range"))
            headers = {"ETag": '"v"', "Transfer-Encoding": "chunked"}
            self.send_response(200 if ranges[-1] is None else 416)
            for name, value in (headers if ranges[-1] is None else {"Content-Length": "0", **said}).items():
                self.send_header(name, value)
            self.end_headers()
            if ranges[-1] is None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/a", ranges
        finally:
            server.shutdown()


def test_an_encoded_body_starts_over(fetcher: RequestsFetcher) -> None:
    import gzip

    packed = gzip.compress(bytes(range(256)) * 4000, 0)
    head = {"ETag": '"v"', "Content-Encoding": "gzip"}
    with WebServer() as web:
        url = web.answer("/a", Reply(packed[:600_000], declared=len(packed), headers=head), Reply(packed, headers=head))
        assert fetch(fetcher, url).sha256 == hashlib.sha256(bytes(range(256)) * 4000).hexdigest()
        assert "range" not in web.requests("/a")[1].headers


def test_a_stall_is_a_break_and_is_resumed(server: Hostile) -> None:
    fetcher = RequestsFetcher(replace(POLICY, read_seconds=0.3), OpenDoor())
    url = server.url("a.test", "x.wav", size=MIB, stall_at=400_000)
    # Each connection brings one byte at least and then nothing: no end in sight but the total time.
    with pytest.raises(Transient, match="not done after 2 s"):
        fetch(RequestsFetcher(replace(POLICY, read_seconds=0.3, total_seconds=2.0), OpenDoor()), url)
    with WebServer() as web:
        tags = {"ETag": '"v"'}
        url = web.answer("/a", Reply(b"x" * 1000, declared=2000, headers=tags), Reply(b"x" * 2000, headers=tags))
        assert fetch(fetcher, url).size == 2000


@pytest.mark.usefixtures("no_pauses")
def test_breaks_without_progress_are_given_up(server: Hostile, fetcher: RequestsFetcher) -> None:
    tags = {"ETag": '"v"'}
    with WebServer() as web:
        nothing_more = Reply(b"", 206, declared=400, headers={**tags, "Content-Range": "bytes 600-999/1000"})
        url = web.answer("/a", Reply(b"x" * 600, declared=1000, headers=tags), nothing_more)
        with pytest.raises(Transient, match=r"ended after .*given up after 4 breaks with 600 of 1000 bytes"):
            fetch(fetcher, url)
        assert web.hits("/a") == 4


@pytest.mark.usefixtures("no_pauses")
def test_a_body_that_starts_over_again_and_again_is_given_up(server: Hostile, fetcher: RequestsFetcher) -> None:
    points = ",".join(str(MIB // 10 * n) for n in range(1, 9))  # each start gets a little further than the last
    url = server.url("a.test", "x.wav", size=MIB, breaks_at=points, ranges=False)
    with pytest.raises(Transient, match="started over 3 times"):
        fetch(fetcher, url)
    assert path(server, "a.test/x.wav")["requests"] == 5


@pytest.mark.usefixtures("no_pauses")
def test_progress_byte_by_byte_ends_after_fifty_resumptions(server: Hostile, fetcher: RequestsFetcher) -> None:
    points = ",".join(str(n) for n in range(1000, 1100))
    with pytest.raises(Transient, match=r"given up after 51 breaks with 1050 of"):
        fetch(fetcher, server.url("a.test", "x.wav", size=MIB, breaks_at=points))


def test_a_wrong_length_is_said_and_not_fetched_again(server: Hostile, fetcher: RequestsFetcher) -> None:
    with pytest.raises(Transient, match=f"ended after {MIB} of {MIB + 100} bytes"):
        fetch(fetcher, server.url("a.test", "x.wav", size=MIB, lie=100))
    assert path(server, "a.test/x.wav")["bytes"] == MIB
    assert fetch(fetcher, server.url("a.test", "y.wav", size=MIB, lie=-100)).size == MIB - 100


def test_an_endless_body_ends_at_the_ceiling(server: Hostile) -> None:
    fetcher = RequestsFetcher(replace(POLICY, max_audio_bytes=5 * MIB), OpenDoor())
    with pytest.raises(Permanent, match="ceiling"):
        fetch(fetcher, server.url("a.test", "x.wav", endless=True))


def test_a_resumption_goes_by_the_first_url(server: Hostile, fetcher: RequestsFetcher) -> None:
    """Signed URLs at the end of the redirects may be stale by now."""
    url = server.url("a.test", "x.wav", size=MIB, breaks_at=str(MIB // 2), via="b.test")
    assert fetch(fetcher, url) == whole("b.test", "x.wav", MIB)
    assert path(server, "a.test/x.wav")["requests"] == 2


@pytest.mark.parametrize(("status", "error"), [(429, Transient), (503, Transient), (404, NotThere)])
def test_a_status_is_never_retried_in_the_slot(
    server: Hostile, fetcher: RequestsFetcher, status: int, error: type[Exception]
) -> None:
    behaviour = {"size": MIB, "breaks_at": "500000", "status": status, "retry_after": 9, "after": 1}
    with pytest.raises(error) as caught:
        fetch(fetcher, server.url("a.test", f"x{status}.wav", **behaviour))
    assert path(server, f"a.test/x{status}.wav")["requests"] == 2
    assert getattr(caught.value, "retry_after", 9.0) == 9.0
    with pytest.raises(error):
        fetch(fetcher, server.url("a.test", f"y{status}.wav", status=status))
    assert path(server, f"a.test/y{status}.wav")["requests"] == 1


def test_quick_failures_before_an_answer_are_tried_again(server: Hostile) -> None:
    asked: list[str] = []

    def twice_down(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.2" if len(asked) < 3 else "127.0.0.1"]

    door = NotingDoor()
    fetcher = RequestsFetcher(replace(POLICY, fixed={}, resolver=twice_down), door)
    assert fetch(fetcher, server.url("a.test", "x.wav", size=1000)).size == 1000
    assert door.log == ["in a.test", "a.test failed", "out a.test"] * 2 + ["in a.test", "a.test 200", "out a.test"]


# ------------------------------------------------------------------------------------------------- the door


def test_every_hop_and_every_resumption_has_a_permit_of_its_own(server: Hostile) -> None:
    door = NotingDoor()
    url = server.url("a.test", "x.wav", size=MIB, breaks_at="500000", via="b.test,a.test")
    assert fetch(RequestsFetcher(POLICY, door), url).size == MIB
    hops = ["in a.test", "a.test 302", "out a.test", "in b.test", "b.test 302", "out b.test"]
    last = ["in a.test", "a.test {}", "out a.test"]
    assert door.log == [*hops, *(each.format(200) for each in last), *hops, *(each.format(206) for each in last)]
    assert door.received == MIB


def test_feeds_and_transcripts_pass_the_door_and_retry_after_is_told(server: Hostile) -> None:
    door = NotingDoor()
    fetcher = RequestsFetcher(POLICY, door)
    fetcher.document(server.url("a.test", "feed", size=100))
    fetcher.transcript(server.url("b.test", "t.vtt", size=100))
    with pytest.raises(Transient):
        fetcher.document(server.url("b.test", "feed", status=429, retry_after=30, form="date"))
    assert [line for line in door.log if "in " not in line and "out " not in line][:2] == ["a.test 200", "b.test 200"]
    assert door.log[-2] in ("b.test 429 30", "b.test 429 29")


def test_a_door_that_is_busy_at_first_lets_nothing_through(server: Hostile) -> None:
    door = NotingDoor()
    door.busy = [3.0]
    with pytest.raises(Busy) as caught:
        fetch(RequestsFetcher(POLICY, door), server.url("a.test", "x.wav"))
    assert caught.value.seconds == 3.0
    assert "a.test" not in server.stats()["hosts"] or server.stats()["hosts"]["a.test"]["requests"] == 0


def test_half_a_body_waits_for_a_busy_door_but_not_for_a_cooling_one(server: Hostile) -> None:
    door = NotingDoor()
    fetcher = RequestsFetcher(POLICY, door)
    url = server.url("a.test", "x.wav", size=MIB, breaks_at="400000,800000")
    with fetcher.audio(url) as body:
        first = next(body.pieces)
        door.busy = [0.5]
        rest = b"".join(piece.data for piece in body.pieces)
        assert hashlib.sha256(first.data + rest).hexdigest() == expected("a.test", "x.wav", MIB).sha256()
    url = server.url("a.test", "y.wav", size=MIB, breaks_at="400000")
    with fetcher.audio(url) as body:
        next(body.pieces)
        door.busy = [600.0]
        with pytest.raises(Busy):
            list(body.pieces)


def test_a_lost_lease_cuts_the_request_off_at_once(server: Hostile) -> None:
    door = NotingDoor()
    fetcher = RequestsFetcher(POLICY, door)
    with fetcher.audio(server.url("a.test", "x.wav", size=MIB, stall_at=MIB // 2)) as body:
        next(body.pieces)
        threading.Timer(0.2, door.lose).start()
        began = time.monotonic()
        with pytest.raises(Transient) as caught:
            list(body.pieces)
        assert caught.value.ours, "no attempt is charged for what our gate lost"
        assert time.monotonic() - began < 3.0
    wait_until_nothing_is_in_flight(server)


def wait_until_nothing_is_in_flight(server: Hostile) -> None:
    until = time.monotonic() + 5
    while server.stats()["hosts"]["a.test"]["in_flight"] and time.monotonic() < until:
        time.sleep(0.01)
    assert server.stats()["hosts"]["a.test"]["in_flight"] == 0


def test_leaving_a_body_early_gives_the_permit_back_and_closes_the_connection(server: Hostile) -> None:
    door = NotingDoor()
    with RequestsFetcher(POLICY, door).audio(server.url("a.test", "x.wav", size=100 * MIB, rate=10 * MIB)) as body:
        next(body.pieces)
    assert door.log[-1] == "out a.test"
    wait_until_nothing_is_in_flight(server)


def test_the_hostile_server_counts_what_is_in_flight(server: Hostile, fetcher: RequestsFetcher) -> None:
    """The referee of the larger tests: its count is exact, and it turns away what is over a host's limit."""
    urls = [server.url("a.test", f"{n}.wav", size=20_000, first_byte=0.5) for n in range(6)]
    with ThreadPoolExecutor(6) as threads:
        assert [got.size for got in threads.map(lambda url: fetch(fetcher, url), urls)] == [20_000] * 6
    seen = server.stats()["hosts"]["a.test"]
    assert (seen["requests"], seen["peak"], seen["in_flight"], seen["bytes"]) == (6, 6, 0, 120_000)
    assert len(seen["times"]) == 6
    assert [event[2] for event in server.events()] == [1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1, 0]

    server.reset()
    url = server.url("a.test", "busy.wav", size=20_000, first_byte=0.5, limit=1, retry_after=4)
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(fetch, fetcher, url) for _ in range(2)]
        faults = [error for error in (each.exception() for each in waiting) if error]
    assert server.stats()["hosts"]["a.test"]["statuses"] == {"429": 1, "200": 1}
    assert [getattr(error, "retry_after", None) for error in faults] == [4.0]
    # One after the other nobody is turned away: the last byte comes when the request is no longer counted.
    for _ in range(20):
        fetch(fetcher, server.url("a.test", "busy.wav", size=20_000, limit=1))
