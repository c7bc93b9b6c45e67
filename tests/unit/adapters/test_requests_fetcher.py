"""RequestsFetcher against a real server on loopback."""

import contextlib
import gzip
import logging
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests

from podinsight.adapters.addresses import forbidden
from podinsight.adapters.door import OpenDoor
from podinsight.adapters.requests_fetcher import PIECE_BYTES, FetchPolicy, RequestsFetcher
from podinsight.domain.feed import Document
from podinsight.errors import NotThere, Permanent, Refused, Transient
from tests.support.doors import NotingDoor
from tests.support.webserver import Reply, WebServer

ALLOWED = frozenset({"127.0.0.1", "cdn.example.com", "other.example.com"})


def to_loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


POLICY = FetchPolicy(
    user_agent="PodInsight/test (+tests@example.com)",
    allowed_hosts=ALLOWED,
    connect_seconds=5.0,
    read_seconds=5.0,
    total_seconds=20.0,
    max_feed_bytes=1_000_000,
    max_audio_bytes=50_000_000,
    resolver=to_loopback,
)


def policy(**changes: Any) -> FetchPolicy:
    return replace(POLICY, **changes)


def fetcher_with(**changes: Any) -> RequestsFetcher:
    return RequestsFetcher(policy(**changes), OpenDoor())


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.fixture
def fetcher() -> RequestsFetcher:
    return fetcher_with()


def download(fetcher: RequestsFetcher, url: str) -> bytes:
    with fetcher.audio(url) as body:
        return b"".join(piece.data for piece in body.pieces)


def bytes_of(document: Document) -> bytes:
    assert document.body is not None
    return document.body.read()


# ------------------------------------------------------------------------------------------------- what works


def test_audio_streams_in_pieces_with_its_length_and_type(web: WebServer, fetcher: RequestsFetcher) -> None:
    data = bytes(range(256)) * 4096
    url = web.serve("/a.mp3", data, mime="audio/mpeg; x=y")
    with fetcher.audio(url) as body:
        pieces = [piece.data for piece in body.pieces]
    assert b"".join(pieces) == data
    assert (body.url, body.status, body.length, body.mime) == (url, 200, len(data), "audio/mpeg")
    assert max(map(len, pieces)) < 2 * PIECE_BYTES
    (request,) = web.requests("/a.mp3")
    assert request.headers["user-agent"] == "PodInsight/test (+tests@example.com)"
    assert request.headers["accept-encoding"] == "identity"


def test_audio_of_unknown_type_and_chunked_length_is_fine(web: WebServer, fetcher: RequestsFetcher) -> None:
    url = web.answer("/a", Reply(b"x" * 1000, mime=None, chunked=True))
    with fetcher.audio(url) as body:
        assert (body.length, body.mime) == (None, None)
        assert b"".join(piece.data for piece in body.pieces) == b"x" * 1000


def test_a_large_body_needs_little_memory(web: WebServer, fetcher: RequestsFetcher) -> None:
    size = 40_000_000
    url = web.serve("/big.mp3", bytes(size), mime="audio/mpeg")
    download(fetcher, web.serve("/warm.mp3", b"x", mime="audio/mpeg"))
    tracemalloc.start()
    try:
        with fetcher.audio(url) as body:
            assert sum(len(piece.data) for piece in body.pieces) == size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6_000_000


def test_a_slow_body_shows_progress(web: WebServer, fetcher: RequestsFetcher) -> None:
    url = web.serve("/slow.mp3", b"x" * 20_000, rate=10_000)
    with fetcher.audio(url) as body:
        assert 0 < len(next(body.pieces).data) < 20_000


def test_ten_threads_share_a_fetcher(web: WebServer, fetcher: RequestsFetcher) -> None:
    urls = [web.serve(f"/{n}.mp3", bytes([n]) * 50_000, mime="audio/mpeg") for n in range(30)]
    with ThreadPoolExecutor(10) as threads:
        bodies = list(threads.map(lambda url: download(fetcher, url), urls))
    assert bodies == [bytes([n]) * 50_000 for n in range(30)]


def test_connections_are_used_again(web: WebServer) -> None:
    asked: list[str] = []

    def counting(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    fetcher = fetcher_with(resolver=counting)
    url = web.serve("/a.mp3", b"x" * 100, mime="audio/mpeg")
    for _ in range(3):
        download(fetcher, url)
    assert asked == ["127.0.0.1"]


def test_threads_share_connections_and_small_answers_do_not_cost_one(web: WebServer) -> None:
    asked: list[str] = []

    def counting(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    fetcher = fetcher_with(resolver=counting)
    web.serve("/b", b"x" * 100)
    web.answer("/a", Reply(b"moved", 302, headers={"Location": "/b"}))
    gone = web.fail("/gone", 404)
    for _ in range(3):
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(download, fetcher, web.url("/a")).result() == b"x" * 100
        with pytest.raises(NotThere):
            fetcher.document(gone)
    assert len(asked) == 1


def test_document_remembers_validators_and_is_conditional(web: WebServer, fetcher: RequestsFetcher) -> None:
    url = web.serve("/feed", b"<rss/>", "text/xml", etag='"v1"', headers={"Last-Modified": "yesterday"})
    first = fetcher.document(url)
    assert first.body is not None
    assert (first.body.read(), first.etag, first.last_modified, first.url) == (b"<rss/>", '"v1"', "yesterday", url)
    assert first.headers["content-type"] == "text/xml"
    again = fetcher.document(url, etag=first.etag, last_modified=first.last_modified)
    assert (again.body, again.etag, again.last_modified) == (None, '"v1"', "yesterday")
    assert web.requests("/feed")[1].headers["if-modified-since"] == "yesterday"


def test_a_feed_that_has_moved_for_good_says_so(web: WebServer, fetcher: RequestsFetcher) -> None:
    web.serve("/new", b"<rss/>", "text/xml")
    web.redirect("/b", "/new", 308)
    web.redirect("/moved", "/b", 301)
    web.redirect("/for-now", "/b", 302)
    assert fetcher.document(web.url("/moved")).moved_to == web.url("/new")
    assert fetcher.document(web.url("/for-now")).moved_to is None
    assert fetcher.document(web.url("/new")).moved_to is None


def test_a_user_agent_of_its_own(web: WebServer, fetcher: RequestsFetcher) -> None:
    """F7: set once for feeds and audio, and overridden by feed."""
    url = web.serve("/x", b"abc")
    fetcher.document(url)
    fetcher.document(url, user_agent="Other/1")
    fetcher.transcript(url, user_agent="Other/2")
    with fetcher.audio(url, "Other/3") as body:
        list(body.pieces)
    agents = [request.headers["user-agent"] for request in web.requests("/x")]
    assert agents == ["PodInsight/test (+tests@example.com)", "Other/1", "Other/2", "Other/3"]


def test_a_large_feed_is_spooled_and_a_transcript_has_a_ceiling_of_its_own(web: WebServer) -> None:
    fetcher = fetcher_with(max_feed_bytes=5_000_000, max_transcript_bytes=100)
    assert len(bytes_of(fetcher.document(web.serve("/feed", b"x" * 3_000_000)))) == 3_000_000
    with pytest.raises(Permanent, match="ceiling of 100 bytes"):
        fetcher.transcript(web.serve("/t", b"x" * 101))
    with pytest.raises(NotThere, match="the episode's transcript is gone") as caught:
        fetcher.transcript(web.fail("/none", 410))
    assert caught.value.status == 410


def test_gzip_feed_is_decoded(web: WebServer, fetcher: RequestsFetcher) -> None:
    assert bytes_of(fetcher.document(web.serve_gzip("/feed", b"<rss/>" * 100, "text/xml"))) == b"<rss/>" * 100


def test_credentials_are_sent_and_never_shown(
    web: WebServer, fetcher: RequestsFetcher, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    web.fail("/private", 404)
    url = web.url("/private?token=s3cret&n=1").replace("//", "//me:pa55@")
    with pytest.raises(Permanent) as caught:
        fetcher.document(url)
    assert web.requests("/private")[0].headers["authorization"].startswith("Basic ")
    assert "n=1" in str(caught.value)
    for secret in ("s3cret", "pa55", "me:"):
        assert secret not in str(caught.value)
        assert secret not in caplog.text
    assert caught.value.__cause__ is None


def test_proxy_variables_are_ignored(web: WebServer, fetcher: RequestsFetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert download(fetcher, web.serve("/a.mp3", b"abc")) == b"abc"


# ------------------------------------------------------------------------------------------------- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(web: WebServer, fetcher: RequestsFetcher, status: int) -> None:
    web.serve("/b/a.mp3", b"abc", mime="audio/mpeg")
    web.redirect("/a/x.mp3", "../b/a.mp3", status)
    with fetcher.audio(web.url("/a/x.mp3")) as body:
        assert b"".join(piece.data for piece in body.pieces) == b"abc"
        assert body.url == web.url("/b/a.mp3")


def test_the_body_of_a_redirect_is_not_read(web: WebServer, fetcher: RequestsFetcher) -> None:
    web.serve("/b", b"abc")
    web.answer("/a", Reply(b"x" * 100_000, 302, headers={"Location": "/b"}, rate=1000))
    began = time.monotonic()
    assert download(fetcher, web.url("/a")) == b"abc"
    assert time.monotonic() - began < 10


def test_ten_redirects_are_followed_and_eleven_are_not(web: WebServer, fetcher: RequestsFetcher) -> None:
    web.serve("/end", b"abc")
    assert download(fetcher, web.chain("/ten", 10, "/end")) == b"abc"
    with pytest.raises(Permanent, match="more than 10 redirects"):
        download(fetcher, web.chain("/eleven", 11, "/end"))


def test_a_redirect_loop_is_said(web: WebServer, fetcher: RequestsFetcher) -> None:
    web.redirect("/a", "/b")
    web.redirect("/b", "/a")
    with pytest.raises(Permanent, match="redirect loop"):
        download(fetcher, web.url("/a"))
    assert web.hits("/a") == 1


@pytest.mark.parametrize("target", ["ftp://example.com/a.mp3", "file:///etc/passwd", "http://[bad/", ""])
def test_a_redirect_to_what_is_not_http_is_given_up(web: WebServer, fetcher: RequestsFetcher, target: str) -> None:
    web.redirect("/a", target)
    with pytest.raises(Permanent, match="redirect"):
        download(fetcher, web.url("/a"))


def test_credentials_stay_with_their_origin(web: WebServer, fetcher: RequestsFetcher) -> None:
    web.redirect("/a", web.url("/b"))
    web.redirect("/b", web.url("/c", host="other.example.com"))
    web.serve("/c", b"abc")
    assert download(fetcher, web.url("/a").replace("//", "//me:pa55@")) == b"abc"
    assert "authorization" in web.requests("/b")[0].headers
    assert "authorization" not in web.requests("/c")[0].headers


# ------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "127.0.0.1"],
)
def test_loopback_in_any_spelling_is_refused(web: WebServer, host: str) -> None:
    web.serve("/a.mp3", b"abc")
    strict = RequestsFetcher(FetchPolicy("x", frozenset(), 2, 2, 5, 1000, 1000), OpenDoor())
    with pytest.raises(Refused, match="only public addresses"):
        download(strict, web.url("/a.mp3", host=host))
    assert web.requests() == []


def test_one_private_answer_of_several_is_enough_to_refuse(web: WebServer) -> None:
    fetcher = fetcher_with(resolver=lambda host, port: ["93.184.216.34", "127.0.0.1"])
    with pytest.raises(Refused, match=r"mixed\.example is at 127\.0\.0\.1, a loopback address"):
        fetcher.document(web.url("/", host="mixed.example"))


def test_every_hop_is_checked(web: WebServer, fetcher: RequestsFetcher) -> None:
    web.serve("/secret", b"abc")
    web.redirect("/a", web.url("/secret", host="internal.example"))
    with pytest.raises(Refused, match=r"internal\.example"):
        download(fetcher, web.url("/a", host="cdn.example.com"))
    assert web.hits("/a") == 1
    assert web.hits("/secret") == 0


def test_a_name_is_resolved_once_and_the_checked_address_is_used(web: WebServer) -> None:
    answers = [["127.0.0.1"]]
    fetcher = fetcher_with(resolver=lambda host, port: answers.pop())
    url = web.serve("/a.mp3", b"abc").replace("127.0.0.1", "cdn.example.com")
    assert download(fetcher, url) == b"abc"
    assert web.requests("/a.mp3")[0].host == "cdn.example.com"


def test_a_host_has_the_address_that_a_setting_says_and_it_is_checked(web: WebServer) -> None:
    def nobody(host: str, port: int) -> list[str]:
        raise AssertionError(host)

    fixed = {"example.com": "127.0.0.1", "elsewhere.example.com": "10.0.0.1", "other.test": "::ffff:127.0.0.1"}
    fetcher = fetcher_with(fixed=fixed, resolver=nobody)
    web.serve("/a.mp3", b"abc")
    assert download(fetcher, web.url("/a.mp3", host="cdn.example.com")) == b"abc"
    refused = {"not-allowed.example.com": "127.0.0.1", "elsewhere.example.com": "10.0.0.1", "other.test": "::ffff:127"}
    for host, address in refused.items():
        with pytest.raises(Refused, match=f"{host} is at {address}"):
            download(fetcher, web.url("/a.mp3", host=host))
    with pytest.raises(AssertionError, match="notexample"):
        download(fetcher, web.url("/a.mp3", host="notexample.com"))
    assert web.hits("/a.mp3") == 1


def test_a_second_address_is_tried(web: WebServer) -> None:
    fetcher = fetcher_with(resolver=lambda host, port: ["::1", "127.0.0.1"])
    assert download(fetcher, web.serve("/a", b"abc").replace("127.0.0.1", "cdn.example.com")) == b"abc"


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.0.192",
        "198.18.0.1",
        "168.63.129.16",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "fec0::1",
        "2001:db8::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::",
        "64:ff9b::7f00:1",
        "64:ff9b:1::808:808",
        "::127.0.0.1",
        "2001:0:7f00:1::1",
        "junk",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert forbidden(address)


@pytest.mark.parametrize(
    "address", ["::1", "::ffff:10.0.0.7", "fd00:ec2::254", "64:ff9b::a9fe:a9fe", "169.254.169.254"]
)
def test_a_name_at_a_forbidden_address_is_refused_without_a_connection(address: str) -> None:
    door = NotingDoor()
    fetcher = RequestsFetcher(policy(resolver=lambda host, port: [address]), door)
    with pytest.raises(Refused, match="only public addresses") as caught:
        download(fetcher, "http://user:pa55@named.example/a?token=s3cret")
    assert "s3cret" not in str(caught.value)
    assert "pa55" not in str(caught.value)
    assert door.log == ["in named.example", "out named.example"], "and its permit is back"


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address: str) -> None:
    assert forbidden(address) is None


def test_tls_checks_the_name_at_the_checked_address(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not here to make a certificate")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=cdn.example.com", "-addext", "subjectAltName=DNS:cdn.example.com"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    names: list[str | None] = []
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    fetcher = fetcher_with(ca_file=str(cert))
    with WebServer(tls=context) as web:
        web.serve("/a.mp3", b"abc")
        assert download(fetcher, web.url("/a.mp3", host="cdn.example.com")) == b"abc"
        assert names == ["cdn.example.com"]
        with pytest.raises(Transient, match="certificate is not valid"):
            download(fetcher, web.url("/a.mp3", host="other.example.com"))
        with pytest.raises(Transient, match="certificate is not valid"):
            download(fetcher_with(), web.url("/a.mp3", host="cdn.example.com"))
        assert web.hits("/a.mp3") == 1


# ------------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, r"404 Not Found from 127.0.0.1: the episode's audio is gone \(http://127"),
        (410, "410 Gone from 127.0.0.1: the episode's audio is gone"),
        (403, "403 Forbidden from 127.0.0.1: the audio is not for us"),
        (401, "401 Unauthorized"),
        (400, "400 Bad Request"),
        (204, "204 No Content"),
    ],
)
def test_answers_that_will_not_change(web: WebServer, fetcher: RequestsFetcher, status: int, text: str) -> None:
    with pytest.raises(Permanent, match=text):
        download(fetcher, web.fail("/a.mp3", status))


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 425, 429])
def test_answers_that_may_change(web: WebServer, fetcher: RequestsFetcher, status: int) -> None:
    with pytest.raises(Transient, match=str(status)) as caught:
        download(fetcher, web.fail("/a.mp3", status))
    assert caught.value.retry_after is None


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(web: WebServer, fetcher: RequestsFetcher, status: int) -> None:
    with pytest.raises(Transient) as caught:
        fetcher.document(web.fail("/s", status, {"Retry-After": "120"}))
    assert caught.value.retry_after == 120.0
    with pytest.raises(Transient) as caught:
        fetcher.document(web.fail("/d", status, {"Retry-After": formatdate(time.time() + 60, usegmt=True)}))
    assert caught.value.retry_after == pytest.approx(60, abs=5)
    with pytest.raises(Transient) as caught:
        fetcher.document(web.fail("/p", status, {"Retry-After": formatdate(time.time() - 60, usegmt=True)}))
    assert caught.value.retry_after == 0.0
    with pytest.raises(Transient) as caught:
        fetcher.document(web.fail("/j", status, {"Retry-After": "soon"}))
    assert caught.value.retry_after is None


def test_an_html_page_is_no_audio_but_may_be_a_document(web: WebServer, fetcher: RequestsFetcher) -> None:
    url = web.serve("/a.mp3", b"<html>login</html>", mime="Text/HTML; charset=utf-8")
    with pytest.raises(Permanent, match="an HTML page instead of audio"):
        download(fetcher, url)
    assert bytes_of(fetcher.document(url)) == b"<html>login</html>"


@pytest.mark.parametrize("chunked", [False, True])
def test_an_empty_body(web: WebServer, fetcher: RequestsFetcher, chunked: bool) -> None:
    url = web.answer("/a.mp3", Reply(b"", chunked=chunked))
    with pytest.raises(Permanent, match="empty"):
        download(fetcher, url)
    with pytest.raises(Permanent, match="empty"):
        fetcher.document(url)


def test_a_short_body_names_both_numbers(web: WebServer, fetcher: RequestsFetcher) -> None:
    url = web.answer("/feed", Reply(b"x" * 600, declared=1000))
    with pytest.raises(Transient, match="ended after 600 of 1000 bytes"):
        fetcher.document(url)


def test_audio_above_the_ceiling(web: WebServer) -> None:
    fetcher = fetcher_with(max_audio_bytes=1000)
    assert len(download(fetcher, web.serve("/ok", bytes(1000)))) == 1000
    with pytest.raises(Permanent, match="ceiling of 1000 bytes"):
        download(fetcher, web.serve("/said", bytes(1001)))
    with pytest.raises(Permanent, match="ceiling of 1000 bytes"):
        download(fetcher, web.answer("/unsaid", Reply(bytes(1001), chunked=True)))


def test_a_gzip_bomb_stops_at_the_ceiling(web: WebServer, fetcher: RequestsFetcher) -> None:
    bomb = gzip.compress(bytes(200_000_000), 1)
    url = web.serve("/feed", bomb, "text/xml", headers={"Content-Encoding": "gzip"})
    tracemalloc.start()
    try:
        with pytest.raises(Permanent, match="ceiling of 1000000 bytes"):
            fetcher.document(url)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_a_corrupt_gzip_body_may_pass(web: WebServer, fetcher: RequestsFetcher) -> None:
    url = web.serve("/feed", b"no gzip at all", "text/xml", headers={"Content-Encoding": "gzip"})
    with pytest.raises(Transient, match="corrupt"):
        fetcher.document(url)


def test_an_encoding_nobody_asked_for(web: WebServer, fetcher: RequestsFetcher) -> None:
    url = web.serve("/feed", b"???", "text/xml", headers={"Content-Encoding": "x-strange"})
    with pytest.raises(Permanent, match="encoding"):
        fetcher.document(url)


def test_a_stalled_answer_times_out(web: WebServer) -> None:
    fetcher = fetcher_with(read_seconds=0.2)
    never = threading.Event()
    url = web.answer("/a.mp3", Reply(b"x", gate=never))
    with pytest.raises(Transient, match="no more data"):
        download(fetcher, url)


def test_a_stalled_body_times_out(web: WebServer) -> None:
    fetcher = fetcher_with(read_seconds=0.2)
    url = web.serve("/a.mp3", b"xx", rate=1)
    with pytest.raises(Transient, match="no more data"):
        download(fetcher, url)


@pytest.mark.parametrize("reply", [Reply(b"x" * 10_000, rate=100), Reply(b"x" * 10_000, rate=100, chunked=True)])
def test_a_dripping_body_ends_at_the_total_time(web: WebServer, reply: Reply) -> None:
    fetcher = fetcher_with(total_seconds=0.5)
    url = web.answer("/a.mp3", reply)
    began = time.monotonic()
    with pytest.raises(Transient, match=r"not done after 0\.5 s"):
        download(fetcher, url)
    assert time.monotonic() - began < 10


def test_a_dripping_header_ends_at_the_total_time(web: WebServer) -> None:
    fetcher = fetcher_with(total_seconds=0.5)
    url = web.answer("/a.mp3", Reply(header_drip=0.02))
    began = time.monotonic()
    with pytest.raises(Transient, match=r"not done after 0\.5 s"):
        download(fetcher, url)
    assert time.monotonic() - began < 10


def test_a_dripping_tls_handshake_ends_at_the_total_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                connection.sendall(b"\x16\x03\x03\x40\x00")  # a handshake record of 16 KiB, byte by byte
                while True:
                    connection.sendall(b"\x00")
                    time.sleep(0.02)

        threading.Thread(target=drip, daemon=True).start()
        fetcher = fetcher_with(total_seconds=0.5)
        began = time.monotonic()
        with pytest.raises(Transient, match=r"not done after 0\.5 s"):
            download(fetcher, f"https://127.0.0.1:{server.getsockname()[1]}/")
        assert time.monotonic() - began < 4


def test_a_closed_port_and_an_unknown_name_may_pass(web: WebServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Transient, match=r"no connection: .*refused") as caught:
        fetcher_with().document(f"http://127.0.0.1:{port}/feed?auth=s3cret")
    assert "s3cret" not in str(caught.value)

    def nobody(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(Transient, match=r"does not resolve: gone\.example"):
        fetcher_with(resolver=nobody).document("http://gone.example/feed")


def test_a_resolver_that_hangs_is_bound_by_the_time_outs(web: WebServer) -> None:
    url, go_on = web.serve("/a", b"1"), threading.Event()
    slow = url.replace("127.0.0.1", "cdn.example.com")

    def hangs(host: str, port: int) -> list[str]:
        go_on.wait(30)
        return ["127.0.0.1"]

    fetcher = fetcher_with(resolver=hangs, connect_seconds=0.2, connections=1)
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(Transient, match=r"the host name does not resolve in time: cdn\.example\.com"):
            fetcher.document(slow)
    with pytest.raises(Transient, match=r"no connection: too many host names do not resolve in time: cdn\.example"):
        fetcher.document(slow)
    with pytest.raises(Transient, match=r"not done after 0\.5 s|does not resolve in time"):
        fetcher_with(resolver=hangs, total_seconds=0.5).document(slow)
    assert time.monotonic() - began < 15
    go_on.set()
    for _ in range(5):  # they come back in their own time, and make room
        assert bytes_of(poll_until(lambda: fetcher.document(slow))) == b"1"


def poll_until(call: Callable[[], Document]) -> Document:
    until = time.monotonic() + 10
    while True:
        try:
            return call()
        except Transient:
            if time.monotonic() > until:
                raise


@pytest.mark.parametrize("url", ["ftp://example.com/a", "example.com/a", "", "http:///a", "http://a b/", "http://a:x/"])
def test_urls_that_cannot_be_asked_for(fetcher: RequestsFetcher, url: str) -> None:
    with pytest.raises(Permanent):
        fetcher.document(url)


def test_a_range_is_served_plainly(web: WebServer) -> None:
    url = web.serve("/a", b"0123456789")
    answer = requests.get(url, headers={"Range": "bytes=2-4"}, timeout=5)
    assert (answer.status_code, answer.content, answer.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert requests.get(url, headers={"Range": "bytes=7-"}, timeout=5).content == b"789"
