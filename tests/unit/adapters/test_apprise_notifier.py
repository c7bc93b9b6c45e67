"""People are told, soon, and no address is ever shown (O7)."""

import json
import logging
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator

import pytest

from podinsight.adapters.apprise_notifier import LONGEST_BODY, AppriseNotifier, unusable
from podinsight.domain.alerts import Alert, Severity
from podinsight.errors import Unavailable
from tests.support.webserver import Reply, WebServer

TOKEN = "tok3nthatNobodyMaySee"
CRITICAL, WARNING, SUMMARY = Severity.CRITICAL, Severity.WARNING, Severity.SUMMARY


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as served:
        yield served


def address(web: WebServer, path: str = "") -> str:
    return f"json://ada:{TOKEN}@127.0.0.1:{web.port}/{path}{TOKEN}"


def alert(severity: Severity = WARNING, title: str = "GPU work is frozen", body: str = "") -> Alert:
    return Alert(f"k:{uuid.uuid4().hex}", severity, title, body)


def heard(web: WebServer, path: str = "") -> list[dict[str, str]]:
    return [json.loads(each.body) for each in web.requests(f"/{path}{TOKEN}")]


def refused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(("severity", "kind"), [(CRITICAL, "failure"), (WARNING, "warning"), (SUMMARY, "info")])
def test_each_severity_has_its_way(web: WebServer, severity: Severity, kind: str) -> None:
    for each in Severity:
        web.serve(f"/{each}{TOKEN}", b"ok")
    notifier = AppriseNotifier({each: [address(web, each)] for each in Severity})
    assert notifier.send(alert(severity, "title é", "line one\nline two"))
    assert {each: len(heard(web, each)) for each in Severity} == {each: int(each is severity) for each in Severity}
    (said,) = heard(web, severity)
    assert (said["title"], said["message"], said["type"]) == ("podinsight: title é", "line one\nline two", kind)


def test_critical_ones_go_where_warnings_go_when_nothing_else_is_said(web: WebServer) -> None:
    web.serve(f"/{TOKEN}", b"ok")
    notifier = AppriseNotifier({WARNING: [address(web)]})
    assert notifier.send(alert(CRITICAL))
    assert not notifier.send(alert(SUMMARY))
    assert (notifier.services(CRITICAL), notifier.services(SUMMARY)) == (("JSON",), ())
    assert [each["type"] for each in heard(web)] == ["failure"]


def test_a_title_is_one_line_and_a_body_is_cut(web: WebServer) -> None:
    """Titles of episodes come from strangers."""
    web.serve(f"/{TOKEN}", b"ok")
    AppriseNotifier({WARNING: [address(web)]}).send(alert(title="a\r\nBcc: eve\x1b[31m", body="x" * 20_000 + "\x00"))
    (said,) = heard(web)
    assert said["title"] == "podinsight: a  Bcc: eve [31m"
    assert len(said["message"]) <= LONGEST_BODY
    assert said["message"].endswith("x (cut)")


def test_markup_is_text(web: WebServer) -> None:
    web.serve(f"/{TOKEN}", b"ok")
    AppriseNotifier({WARNING: [address(web)]}).send(alert(body="a <b>&amp; *c* \\n"))
    assert heard(web)[0]["message"] == "a <b>&amp; *c* \\n"


@pytest.mark.parametrize("status", [500, 403, 404])
def test_a_refusal_is_said_without_the_address(web: WebServer, status: int, caplog: pytest.LogCaptureFixture) -> None:
    web.fail(f"/{TOKEN}", status)
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable, match="JSON") as caught:
        AppriseNotifier({WARNING: [address(web)]}).send(alert())
    assert heard(web)
    assert TOKEN not in f"{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}{caplog.text}"


def test_nobody_listens(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    url = f"json://ada:{TOKEN}@127.0.0.1:{refused_port()}/{TOKEN}"
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable, match="JSON") as caught:
        AppriseNotifier({WARNING: [url]}).send(alert())
    assert TOKEN not in f"{caught.value!r}{caplog.text}{capfd.readouterr()}"


def test_no_log_of_success_shows_the_address(web: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    web.serve(f"/{TOKEN}", b"ok")
    with caplog.at_level(1):
        assert AppriseNotifier({WARNING: [address(web)]}).send(alert())
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("reply", [Reply(gate=threading.Event()), Reply(header_drip=0.05)])
def test_whoever_hangs_keeps_nobody_waiting(web: WebServer, reply: Reply) -> None:
    """The other address is told, and the one that hangs is not asked again in the same round."""
    web.answer(f"/slow{TOKEN}", reply)
    web.serve(f"/quick{TOKEN}", b"ok")
    notifier = AppriseNotifier({WARNING: [address(web, "slow"), address(web, "quick")]}, patience=0.4)
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(Unavailable, match="JSON does not answer in time"):
            notifier.send(alert())
    assert time.monotonic() - began < 3.0
    assert (len(heard(web, "slow")), len(heard(web, "quick"))) == (1, 3)


def test_who_was_told_is_not_told_again_because_another_was_not(web: WebServer) -> None:
    web.answer(f"/bad{TOKEN}", Reply(status=500), Reply(b"ok"))
    web.serve(f"/good{TOKEN}", b"ok")
    urls, said = {WARNING: [address(web, "bad"), address(web, "good")]}, alert()
    with pytest.raises(Unavailable):
        AppriseNotifier(urls).send(said)
    assert AppriseNotifier(urls).send(said)
    assert (len(heard(web, "bad")), len(heard(web, "good"))) == (2, 1)


GOOD = (
    f"mailto://ada:{TOKEN}@example.org?to=ops@example.org",
    f"mailtos://ada:{TOKEN}@smtp.example.org:465/?from=podinsight@example.org&to=ops@example.org",
    f"slack://T1JJ3T3L2/A1BRTD4JD/{TOKEN}123/#alerts",
    f"https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/{TOKEN}123",
    f"pagerduty://{TOKEN}@{TOKEN}",
    f"json://10.0.0.5:8080/hook/{TOKEN}",
    f"jsons://example.org/hook/{TOKEN}",
)


def test_addresses_as_documented_can_be_used() -> None:
    assert unusable(GOOD) == []


def test_what_apprise_cannot_use_is_told_by_its_number(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(1):
        assert unusable([GOOD[0], f"nonsense://{TOKEN}", f"slack://{TOKEN}", GOOD[4]]) == [2, 3]
    assert TOKEN not in caplog.text
    with pytest.raises(Unavailable, match="Apprise does not know") as caught:
        AppriseNotifier({WARNING: [f"nonsense://{TOKEN}"]}).send(alert())
    assert TOKEN not in str(caught.value)


def test_a_process_that_hangs_in_telling_can_end(web: WebServer) -> None:
    web.answer(f"/{TOKEN}", Reply(header_drip=0.05))
    script = (
        "import sys; from podinsight.adapters.apprise_notifier import AppriseNotifier as N;"
        "from podinsight.domain.alerts import Alert, Severity as S\n"
        "try: N({S.WARNING: [sys.argv[1]]}, patience=0.2).send(Alert('k', S.WARNING, 't'))\n"
        "except Exception as error: print(type(error).__name__)"
    )
    ended = subprocess.run([sys.executable, "-c", script, address(web)], capture_output=True, text=True, timeout=20)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "Unavailable\n", "")


def test_a_process_that_sends_nothing_does_not_load_apprise() -> None:
    script = (
        "import sys, podinsight.bootstrap.money as b; from podinsight.settings import Settings;"
        "from podinsight.domain.alerts import Alert, Severity as S;"
        "n = b.build_notifier(Settings(notify_warning='json://127.0.0.1')); n.send(Alert('k', S.SUMMARY, 't'));"
        "b.notified_services(Settings()); print('apprise' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("False\n", "")
