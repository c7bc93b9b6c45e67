"""Spot notices over real HTTP, from a metadata service that behaves like EC2's (T4, G9)."""

import logging
import socket
import time
from collections.abc import Iterator

import pytest

from podinsight.adapters.spot_notice import SpotNotices
from podinsight.domain.interruption import Notice
from tests.support.imds import ACTION, ADVICE, MetadataService


@pytest.fixture
def service() -> Iterator[MetadataService]:
    with MetadataService() as running:
        yield running


def test_no_notice(service: MetadataService) -> None:
    assert SpotNotices(service.url).look() is None
    assert [path for method, path, status in service.asked if method == "GET" and status == 404] == [ACTION, ADVICE]


@pytest.mark.parametrize("action", ["terminate", "stop", "hibernate"])
def test_a_stop_notice_and_when(service: MetadataService, action: str) -> None:
    at = service.stop_in(120, action)
    assert SpotNotices(service.url).look() == Notice("stop", at)


def test_advice_to_rebalance_and_since_when(service: MetadataService) -> None:
    at = service.advise_rebalance()
    assert SpotNotices(service.url).look() == Notice("rebalance", at)


def test_a_stop_goes_before_advice(service: MetadataService) -> None:
    service.advise_rebalance()
    at = service.stop_in(120)
    assert SpotNotices(service.url).look() == Notice("stop", at)


def test_one_token_serves_many_looks_and_a_void_one_is_replaced(service: MetadataService) -> None:
    notices = SpotNotices(service.url)
    for _ in range(3):
        notices.look()
    assert service.count("PUT", 200) == 1
    assert service.count("GET", 401) == 0
    service.void_tokens()
    at = service.stop_in(120)
    assert notices.look() == Notice("stop", at)
    assert service.count("PUT", 200) == 2
    assert service.count("GET", 401) == 1


@pytest.mark.parametrize("document", [{"action": "terminate"}, {"action": "terminate", "time": "soon"}])
def test_a_notice_whose_time_cannot_be_read_counts(service: MetadataService, document: dict[str, str]) -> None:
    service.say(ACTION, document)
    assert SpotNotices(service.url).look() == Notice("stop", None)


@pytest.mark.parametrize(
    ("document", "status"), [(b"<html>", 200), ([1], 200), (b"", 500), (b"", 302), (b"", 403), (b"", 401)]
)
def test_what_is_no_notice_is_none_and_said_once(
    service: MetadataService, document: object, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    service.say(ACTION, document, status)
    notices = SpotNotices(service.url)
    with caplog.at_level(logging.WARNING):
        assert [notices.look() for _ in range(3)] == [None, None, None]
        assert len(caplog.records) == 1
        service.withdraw()
        assert notices.look() is None
        service.say(ACTION, document, status)
        notices.look()
        assert len(caplog.records) == 2, "it answered in between, so it is news"


def test_nobody_there_is_no_notice_and_no_wait(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert SpotNotices(f"http://127.0.0.1:{closed.getsockname()[1]}").look() is None
    assert len(caplog.records) == 1


def test_a_password_in_the_address_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        assert SpotNotices(f"http://me:hunter2@127.0.0.1:{port}").look() is None
    assert f"from http://127.0.0.1:{port}: " in caplog.text
    assert "hunter2" not in caplog.text


def test_a_service_that_does_not_answer_is_given_up_soon() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        assert SpotNotices(f"http://127.0.0.1:{silent.getsockname()[1]}", seconds=0.2).look() is None
        assert time.monotonic() - began < 5


def test_no_proxy_is_asked(service: MetadataService, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would answer for its own machine."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    at = service.stop_in(120)
    assert SpotNotices(service.url).look() == Notice("stop", at)
