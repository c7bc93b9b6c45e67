"""The phase gate (T2): quotes, and who approves what transcribing costs."""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from podinsight import settings as settings_module
from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.speech_days import add_speech
from podinsight.adapters.memory_speech import ScriptedTranscriber
from podinsight.cli.approval import open_gate
from podinsight.cli.session import Session
from podinsight.domain.quote import FREE_RULE
from podinsight.domain.work import State
from podinsight.errors import ConfigError
from podinsight.ports import Decoded
from podinsight.services.gates import utc_day
from tests.unit.cli.desk import Desk
from tests.unit.cli.test_work_commands import working

TRANSCRIBE = ("transcribe", "--model", "tiny.en", "--no-wait")


@pytest.fixture
def rented(desk: Desk) -> Desk:
    """Three episodes of a second are downloaded, and a live worker decodes on a GPU."""
    fetched(desk)
    desk.start_worker("plan")
    desk.start_worker("gpu", "cuda")
    return desk


def fetched(desk: Desk, count: int = 3) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", count))
    desk.start_worker()
    desk.run("fetch", "--no-wait")
    while desk.work():
        desk.run("fetch", "--no-wait")


def rows(desk: Desk) -> list[tuple[State, str]]:
    found = desk.store.work.states("transcribe", [each.id for each in desk.episodes()])
    return [found[each.id] for each in desk.episodes() if each.id in found]


def waiting(desk: Desk) -> int:
    return len(desk.store.work.waiting_for_approval())


def approved_by(desk: Desk) -> list[object]:
    assert isinstance(desk.store, SqlStore)
    with desk.store.db.read() as conn:
        found = conn.exec_driver_sql("SELECT params FROM work WHERE stage = 'transcribe' ORDER BY id").all()
    return [json.loads(row.params).get("approved") for row in found]


def approvals(desk: Desk) -> list[Any]:
    assert isinstance(desk.store, SqlStore)
    with desk.store.db.read() as conn:
        return list(conn.exec_driver_sql('SELECT "by", rule, why, episodes, high_micros FROM approvals ORDER BY id'))


def measured(desk: Desk, speed: float, device: str = "cuda", model: str = "tiny.en") -> None:
    """An hour of audio was decoded today."""
    assert isinstance(desk.store, SqlStore)
    took = Decoded(3600.0, 3600 / speed, 3600 / speed, model, device, "float16")
    with desk.store.db.write() as conn:
        add_speech(desk.store.db, conn, utc_day(desk.world.clock.now()), took)


# ---------------------------------------------------------------------------------------------------- cpu


def test_a_cpu_needs_nobody(desk: Desk) -> None:
    fetched(desk)
    said = desk.json(*TRANSCRIBE)
    assert (said["transcribe"], said["waiting_for_approval"]) == (3, 0)
    assert said["quote"]["device"] == "cpu"
    assert said["quote"]["usd"] == {"low": 0.0, "likely": 0.0, "high": 0.0}
    assert said["quote"]["approved_by_rule"] == FREE_RULE
    assert approved_by(desk) == [FREE_RULE] * 3
    assert [(row.rule, row.high_micros) for row in approvals(desk)] == [(FREE_RULE, 0)]


def test_without_a_live_worker_the_device_of_this_machine_counts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched(desk)
    assert desk.json("transcribe", "--dry-run", "--model", "tiny.en")["transcribe"]["quote"]["device"] == "cpu"
    desk.world = replace(desk.world, transcriber=ScriptedTranscriber(device="cuda"))
    assert desk.json("transcribe", "--dry-run", "--model", "tiny.en")["transcribe"]["quote"]["device"] == "cuda"
    monkeypatch.setenv("PODINSIGHT_GPU_WORKERS", "0")
    assert desk.json("transcribe", "--dry-run", "--model", "tiny.en")["transcribe"]["quote"]["device"] == "gpu"
    desk.start_worker("gpu", "cpu")
    assert desk.json("transcribe", "--dry-run", "--model", "tiny.en")["transcribe"]["quote"]["device"] == "cpu"


class NothingToDecodeWith(ScriptedTranscriber):
    def device(self) -> tuple[str, str]:
        raise ConfigError("device is cuda, and there is none")


def test_a_device_that_is_not_known_is_priced(desk: Desk) -> None:
    fetched(desk)
    desk.world = replace(desk.world, transcriber=NothingToDecodeWith())
    result = desk.run(*TRANSCRIBE)
    assert result.exit_code == 4
    assert waiting(desk) == 3


# ---------------------------------------------------------------------------------------------------- gpu


def test_a_gpu_waits_for_its_approval(rented: Desk) -> None:
    result = rented.run(*TRANSCRIBE)
    assert result.exit_code == 4
    assert "3 transcriptions wait for approval: `podrun approve " in result.stderr
    assert rows(rented) == [(State.HELD, "waits for approval")] * 3
    assert approvals(rented) == []
    demand = rented.store.work.demand("plan"), rented.store.work.demand("transcribe")
    assert [(each.waiting, each.in_flight) for each in demand] == [(0, 0), (0, 0)]
    assert rented.json("status")["waiting_for_approval"] == 3
    assert "`podrun approve --all --dry-run` shows the cost" in rented.run("status").stdout
    assert rented.run(*TRANSCRIBE[:-1]).exit_code == 4, "nothing is followed that cannot move"


def test_approve_shows_the_quote_and_lets_it_run(rented: Desk) -> None:
    rented.run(*TRANSCRIBE)
    for words in ((), ("--all", rented.episodes()[0].id)):
        assert rented.run("approve", *words).exit_code == 2
    unasked = rented.run("approve", "--all")
    assert unasked.exit_code == 4
    ids = " ".join(each.id for each in rented.episodes())
    command = f"podrun approve {ids} --yes --by NAME --why REASON"
    assert unasked.stderr.endswith(f"3 transcriptions wait for approval: `{command}` (or a standing rule)\n")
    assert "dry run" in rented.run("approve", "--all", "--dry-run").stdout
    assert waiting(rented) == 3
    assert approvals(rented) == []
    assert rented.run("approvals").stdout == "nothing was approved yet\n"
    first = rented.episodes()[0]
    said = rented.json("approve", first.id, "--yes", "--by", "ada", "--why", "a trial")
    assert (said["approved"], said["by"], said["waiting"]) == (1, "ada", 1)
    assert rented.run("approve", first.id, "--yes").stderr == "podrun: first-show/guid-1 does not wait for approval\n"
    result = rented.run("approve", "--all", answer="y\n")
    assert result.exit_code == 0
    assert "Approve 2 transcriptions for $0.0000 to $0.1" in result.stderr
    assert waiting(rented) == 0
    first_one, second_one = approvals(rented)
    assert (first_one.by, first_one.rule, first_one.why, first_one.episodes) == ("ada", "", "a trial", 1)
    assert second_one.episodes == 2
    listed = [(each["by"], each["why"], each["episodes"]) for each in rented.json("approvals")["approvals"]]
    assert (len(listed), listed[-1]) == (2, ("ada", "a trial", 1))
    amounts = [(each["micros"]["high"], each["usd"]["high"]) for each in rented.json("approvals")["approvals"]]
    assert amounts == [(row.high_micros, row.high_micros / 1e6) for row in (second_one, first_one)]
    assert "a trial" in rented.run("approvals").stdout
    assert rows(rented)[0][1] != "waits for approval"
    assert rented.run("approve", "--all").stdout == "nothing waits for approval\n"


@pytest.mark.parametrize("words", [TRANSCRIBE, ("fetch", "--transcribe", "--model", "tiny.en", "--no-wait")])
def test_a_person_at_the_terminal_is_asked(rented: Desk, words: tuple[str, ...]) -> None:
    refused = rented.run(*words, answer="n\n")
    assert (refused.exit_code, "not approved: nothing was changed" in refused.stderr) == (5, True)
    assert rows(rented) == []
    assert rented.run(*words, answer="\n").exit_code == 5, "no is what is meant by nothing"
    result = rented.run(*words, "--by", "ada", answer="y\n")
    assert result.exit_code == 0
    assert "3 episodes" in result.stdout
    assert approved_by(rented) == ["ada"] * 3
    assert [(row.by, row.episodes) for row in approvals(rented)] == [("ada", 3)]
    assert rented.run(*words, answer="").exit_code == 0, "all is approved: nobody is asked again"


def test_yes_approves_also_what_waited_before(rented: Desk) -> None:
    rented.run(*TRANSCRIBE, "--limit", "2")
    said = rented.json(*TRANSCRIBE, "--yes", "--by", "ada")
    assert (said["quote"]["episodes"], said["waiting_for_approval"]) == (3, 0)
    assert approved_by(rented) == ["ada"] * 3


def test_downloads_go_on_while_their_transcriptions_wait(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 2))
    desk.start_worker("gpu", "cuda")
    result = desk.run("fetch", "--transcribe", "--model", "tiny.en", "--no-wait")
    assert result.exit_code == 4
    assert len(desk.store.work.states("fetch", [each.id for each in desk.episodes()])) == 2
    assert rows(desk) == [(State.HELD, "waits for its audio")] * 2
    assert waiting(desk) == 2
    assert desk.run("approve", "--all", "--yes").exit_code == 0
    assert waiting(desk) == 0


@pytest.mark.parametrize(("broken", "code"), [(0, 4), (1, 1)])
def test_downloads_are_followed_and_transcriptions_that_wait_are_not(desk: Desk, broken: int, code: int) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 3, broken=broken))
    desk.start_worker("gpu", "cuda")
    with working(desk):
        result = desk.run("fetch", "--transcribe", "--model", "tiny.en", "--json")
    assert result.exit_code == code
    quote, *_episodes, summary = [json.loads(line) for line in result.stdout.splitlines()]
    assert (quote["event"], quote["episodes"], quote["episodes_without_length"]) == ("quote", 3, 3)
    assert (summary["fetch"]["done"], summary["transcribe"]["done"]) == (3 - broken, 0)
    assert f"{3 - broken} transcriptions wait for approval" in result.stderr


def test_a_fetch_that_failed_before_is_neither_quoted_nor_approved(desk: Desk) -> None:
    """What a later `podrun retry` brings in was in no quote."""
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 2, broken=1))
    desk.start_worker()
    desk.run("fetch", "--no-wait")
    desk.work()
    desk.start_worker("gpu", "cuda")
    said = desk.json("fetch", "--transcribe", "--model", "tiny.en", "--no-wait", "--yes", "--by", "ada")
    assert said["quote"]["episodes"] == 1
    assert approved_by(desk) == ["ada", None]


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 5, 2), (b"y\n", 0, 0)])
def test_a_terminal_is_known_as_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: bytes, code: int, left: int
) -> None:
    monkeypatch.setenv("PODINSIGHT_GPU_WORKERS", "0")
    monkeypatch.setenv("PODINSIGHT_REDIS_URL", "redis://127.0.0.1:9/0")
    fetched(desk, 2)
    assert desk.run(*TRANSCRIBE).exit_code == 4
    terminal, end = os.openpty()
    command = [sys.executable, "-m", "podinsight.cli.main", "approve", "--all"]
    with subprocess.Popen(command, stdin=end, stdout=subprocess.PIPE, stderr=end) as podrun:
        os.close(end)
        os.write(terminal, answer)
        assert podrun.wait(60) == code
        assert podrun.stdout is not None
        assert b"2 transcriptions to approve" in podrun.stdout.read()
    os.close(terminal)
    assert waiting(desk) == left


# ---------------------------------------------------------------------------------------------------- standing rules


def test_a_standing_rule_approves_up_to_its_limits(rented: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODINSIGHT_FLEET", "fixed")  # what a worker idles is the same for one as for three
    high = rented.json("transcribe", "--dry-run", "--model", "tiny.en", "--limit", "1")["transcribe"]["quote"]["usd"][
        "high"
    ]
    monkeypatch.setenv("PODINSIGHT_APPROVE_USD_PER_RUN", str(high * 1.5))
    monkeypatch.setenv("PODINSIGHT_APPROVE_USD_PER_DAY", str(high * 2.5))
    assert rented.run(*TRANSCRIBE).exit_code == 4, "three at once are more than a command may spend"
    ids = [each.id for each in rented.episodes()]
    result = rented.run(*TRANSCRIBE, ids[0])
    assert (result.exit_code, "  approved by rule: up to $" in result.stdout) == (0, True)
    assert rented.run("approve", ids[1]).exit_code == 0
    assert rented.run("approve", ids[2]).exit_code == 4, "the day's limit"
    assert [(row.rule[:5], row.episodes) for row in approvals(rented)] == [("rule:", 1)] * 2
    said = rented.json("approve", "--all", "--dry-run")["quote"]
    assert said["approved_today_usd"] == pytest.approx(2 * high, rel=0.2)
    assert said["approved_today_micros"] == sum(row.high_micros for row in approvals(rented))
    assert rented.run("approve", ids[2], "--yes").exit_code == 0


def test_two_commands_at_once_do_not_share_a_rules_last_dollars(rented: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODINSIGHT_FLEET", "fixed")
    monkeypatch.setenv("PODINSIGHT_APPROVE_USD_PER_RUN", "0.2")
    monkeypatch.setenv("PODINSIGHT_APPROVE_USD_PER_DAY", "0.3")
    hour = {"tiny.en": [replace(rented.episodes()[0], audio_seconds=3600.0)]}  # high figure: $0.1512
    session = Session(settings_module.load(), rented.world)
    gates = [open_gate(session, hour, yes, "ada", "") for yes in (False, False, True)]
    assert [gate.rule[:5] for gate in gates] == ["rule:"] * 3, "each by itself fits into the day"
    assert [gate.enter()[:5] for gate in gates] == ["rule:", "", "ada"]
    assert open_gate(session, hour, False, "ada", "").rule == ""


def test_a_rule_must_fit_into_its_day(rented: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODINSIGHT_APPROVE_USD_PER_RUN", "5")
    with pytest.raises(ConfigError, match=r"approve_usd_per_run \(5\) must not be more than approve_usd_per_day \(0\)"):
        rented.run("status")


# ---------------------------------------------------------------------------------------------------- quotes


def test_a_quote_goes_by_what_was_measured(rented: Desk) -> None:
    measured(rented, 50.0)
    measured(rented, 5.0, device="cpu")
    measured(rented, 6.0, model="base")
    words = ("transcribe", "--dry-run", "--model", "tiny.en")
    said = rented.json(*words)["transcribe"]
    quote = said["quote"]
    assert quote["device_seconds"]["likely"] == pytest.approx(said["audio_seconds"] / 50)
    gpu = next(line["cost"] for line in quote["lines"] if line["item"] == "gpu")
    assert gpu["likely"] == math.ceil(said["audio_seconds"] / 50 / 3600 * 526_000), "rounded up"
    assert quote["micros"]["likely"] == sum(line["cost"]["likely"] for line in quote["lines"])
    assert quote["usd"]["likely"] == quote["micros"]["likely"] / 1e6
    text = rented.run(*words).stdout
    assert "quote: 3 episodes, 0:03 min of audio\n" in text
    assert "of cuda (tiny.en: 50 × real time, measured over 1.00 h of audio" in text
    assert re.search(r"at \$0\.526 an hour, \$[\d.]+ of it while .*; approved today so far: up to \$0\.00\n", text)
    assert "needs approval" in text
    assert rows(rented) == []


def test_audio_that_is_known_to_be_the_same_is_quoted_once(rented: Desk) -> None:
    """F10: the others wait for the transcript of the first."""
    assert isinstance(rented.store, SqlStore)
    with rented.store.db.write() as conn:
        conn.exec_driver_sql("UPDATE episodes SET audio_sha256 = 'same'")
    quoted = rented.json("transcribe", "--dry-run", "--model", "tiny.en")["transcribe"]
    assert (quoted["to_do"], quoted["quote"]["episodes"]) == (3, 1)
    assert rented.run(*TRANSCRIBE, "--yes", "--by", "ada").exit_code == 0
    twin = (State.HELD, "waits for the transcript of the same audio")
    assert rows(rented) == [(State.HELD, "waits for its plan"), twin, twin]
    assert approved_by(rented) == ["ada", None, None]


def test_waiting_work_is_quoted_by_its_own_model(rented: Desk) -> None:
    rented.run(*TRANSCRIBE)
    measured(rented, 50.0)
    assert rented.json("approve", "--all", "--dry-run")["quote"]["basis"].startswith("tiny.en: 50 ×")


def test_unknown_lengths_are_told(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 2))
    text = desk.run("fetch", "--transcribe", "--dry-run", "--model", "tiny.en").stdout
    assert "quote: 2 episodes, 2.0 h of audio (2 lengths not known, so 40:00 min to 6.0 h)" in text


# ---------------------------------------------------------------------------------------------------- params


def test_prompts_and_hotwords_come_from_the_feeds_settings(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """T1: names that a show is full of."""
    monkeypatch.setenv("PODINSIGHT_PROMPTS", '{"first-show": "With Ada, and Charles."}')
    monkeypatch.setenv("PODINSIGHT_HOTWORDS", "first-show=Lovelace Babbage,other-show=Curie")
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 1), desk.serve_feed("/b", "Third Show", 1))
    words = ("fetch", "--transcribe", "--model", "tiny.en", "--no-wait")
    desk.run(*words)
    assert params(desk) == [
        {"model": "tiny.en", "language": None, "prompt": "With Ada, and Charles.", "hotwords": "Lovelace Babbage"},
        {"model": "tiny.en", "language": None},
    ]


def test_the_command_line_goes_over_the_settings(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODINSIGHT_PROMPTS", "first-show=With Ada.")
    monkeypatch.setenv("PODINSIGHT_HOTWORDS", "first-show=Lovelace")
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 1))
    words = ("--model", "tiny.en", "--no-wait", "--words", "--prompt", "With Marie.", "--hotwords", "")
    assert desk.run("fetch", *words).exit_code == 2
    assert desk.run("fetch", "--no-wait", "--yes").exit_code == 2
    desk.run("fetch", "--transcribe", *words)
    assert params(desk) == [{"model": "tiny.en", "language": None, "prompt": "With Marie.", "words": True}]


def params(desk: Desk) -> list[dict[str, object]]:
    assert isinstance(desk.store, SqlStore)
    with desk.store.db.read() as conn:
        found = conn.exec_driver_sql("SELECT params FROM work WHERE stage = 'transcribe' ORDER BY id").all()
    left_out = ("approved", "run")
    return [{name: value for name, value in json.loads(row.params).items() if name not in left_out} for row in found]
