"""podrun notify test: whether people would be told, and never an address (O7)."""

import json

import pytest

from podinsight.errors import ConfigError
from podinsight.settings import load
from tests.unit.cli.desk import Desk

TOKEN = "tok3nthatNobodyMaySee"


@pytest.fixture
def addresses(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    for name in ("critical", "warning", "summary"):
        desk.web.serve(f"/{name}{TOKEN}", b"ok")
        url = f"json://127.0.0.1:{desk.web.port}/{name}{TOKEN}"
        monkeypatch.setenv(f"PODINSIGHT_NOTIFY_{name.upper()}", url)
    return desk


def test_everybody_is_told(addresses: Desk) -> None:
    result = addresses.run("notify", "test")
    assert (result.exit_code, result.stdout) == (0, "critical: told JSON\nwarning: told JSON\nsummary: told JSON\n")
    for name in ("critical", "warning", "summary"):
        (request,) = addresses.web.requests(f"/{name}{TOKEN}")
        assert json.loads(request.body)["title"] == f"podinsight: a test of {name} messages"


def test_one_severity_and_one_that_fails(addresses: Desk) -> None:
    addresses.web.fail(f"/warning{TOKEN}", 500)
    assert addresses.json("notify", "test", "--severity", "critical") == {
        "critical": {"told": True, "services": ["JSON"], "why": ""}
    }
    result = addresses.run("notify", "test")
    assert result.exit_code == 1
    assert "warning: could not be told: JSON" in result.stderr
    assert "summary: told JSON" in result.stdout
    assert TOKEN not in result.output
    assert addresses.run("notify", "test", "--severity", "loud").exit_code == 2


def test_nobody_is_to_be_told(desk: Desk) -> None:
    result = desk.run("notify", "test", "--severity", "summary")
    assert result.exit_code == 2
    assert "set PODINSIGHT_NOTIFY_SUMMARY (docs/costs.md)" in result.stderr


@pytest.mark.parametrize(
    "value", [TOKEN, f"//{TOKEN}", f"json://a.test/x,json://{TOKEN}", f"json://a.test {TOKEN}", f"json:{TOKEN}"]
)
def test_a_setting_that_is_no_address_is_refused_at_once(value: str) -> None:
    with pytest.raises(ConfigError, match="PODINSIGHT_NOTIFY_WARNING: address number") as caught:
        load({"PODINSIGHT_NOTIFY_WARNING": value})
    assert TOKEN not in f"{caught.value}{caught.value.__cause__}"


def test_an_address_that_apprise_does_not_know_keeps_the_stack_from_starting(
    desk: Desk, free_ports: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODINSIGHT_NOTIFY_SUMMARY", f"json://127.0.0.1 nonsense://{TOKEN}")
    for words in (("up",), ("notify", "test")):
        result = desk.run(*words)
        assert result.exit_code == 2
        assert "PODINSIGHT_NOTIFY_SUMMARY: its address number 2 is none that Apprise can use" in result.stderr
        assert TOKEN not in result.output
