"""Exit codes, errors and what every command has in common."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from podinsight.cli.main import cli
from podinsight.domain.alerts import Severity
from podinsight.domain.budget import Scope
from podinsight.domain.control import Control, Mode
from podinsight.domain.days import day_of
from podinsight.ports import Bearer
from podinsight.services import in_force
from podinsight.services.guard import freeze
from podinsight.supervisor.commands import PROJECT_ROOT
from podinsight.topology import QUEUES
from tests.support.spending import entry
from tests.unit.cli.desk import Desk

HUGE = "99999999999999999999999"


def podrun(*words: str) -> tuple[int, str, str]:
    """`podrun WORDS` with the settings of the environment: exit code, stdout, stderr."""
    result = CliRunner().invoke(cli, list(words), prog_name="podrun")
    return result.exit_code, result.stdout, result.stderr


def test_help_lists_commands_and_exit_codes() -> None:
    code, said, _ = podrun("--help")
    assert code == 0
    for word in ("demo", "up", "down", "restart", "health", "logs", "feeds", "fetch", "transcribe", "retry", "status"):
        assert f"\n  {word} " in said
    for word in ("approve", "episodes", "show", "models", "settings", "pause", "halt", "resume", "fleet"):
        assert f"\n  {word} " in said
    lines = said.partition("Exit codes:")[2].split("\n")
    assert [line.split()[0] for line in lines if line.strip()] == ["0", "1", "2", "3", "4", "5", "6", "130"]


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_has_help(command: str) -> None:
    code, said, _ = podrun(command, "--help")
    assert code == 0
    assert said.startswith(f"Usage: podrun {command}")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("nonsense",), "nonsense"),
        (("status", "--nonsense"), "--nonsense"),
        (("fetch", "--limit", "many"), "many"),
        (("fetch", "--limit", "0"), "0"),
        (("fetch", "--priority", "urgent"), "urgent"),
        (("fetch", "--model", "base"), "--transcribe"),
        (("fetch", "--limit", "3", "abc"), "--limit"),
        (("transcribe", "--language", "english"), "english"),
        (("transcribe", "--language", "xx", "--model", "tiny.en"), "'xx'"),
        (("transcribe", "--language", "de", "--model", "tiny.en"), "knows English alone"),
        (("fetch", "--transcribe", "--language", "de", "--model", "tiny.en"), "knows English alone"),
        (("feeds", "add"), "URL"),
        (("pause", "--by", "me"), "--why"),
        (("retry",), "--failed"),
        (("show", "nobody"), "nobody"),
        (("fetch", "nobody"), "nobody"),
        (("fetch", "--feed", "nobody"), "nobody"),
        (("fetch", "ftp://a.example/x.mp3"), "http"),
        (("logs", "nobody"), "nobody"),
        (("show", "nobody"), "podrun episodes"),
        (("fetch", "no/body"), "podrun episodes"),
        (("fetch", "--limit", HUGE), HUGE),
        (("transcribe", "--limit", HUGE), HUGE),
        (("episodes", "--limit", HUGE), HUGE),
        (("status", "--limit", HUGE), HUGE),
        (("show", "x", "--lines", HUGE), HUGE),
        (("logs", "-n", HUGE), HUGE),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(state: Path, words: tuple[str, ...], hint: str) -> None:
    code, said, complained = podrun(*words)
    assert code == 2
    assert said == ""
    assert complained.startswith("podrun: ")
    assert hint in complained
    assert complained.count("\n") == 1


def test_an_unknown_setting_is_exit_2(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODINSIGHT_FETCH_SLOT", "3")
    monkeypatch.setenv("PODINSIGHT_BROKER_PORT", "many")
    code, _, complained = podrun("status")
    assert code == 2
    assert [line.split()[:2] for line in complained.splitlines()] == [
        ["podrun:", "PODINSIGHT_FETCH_SLOT"],
        ["podrun:", "PODINSIGHT_BROKER_PORT"],
    ]


def test_an_unreachable_database_is_exit_3(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODINSIGHT_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    code, _, complained = podrun("status")
    assert code == 3
    assert "secret" not in complained
    assert "Traceback" not in complained


@pytest.mark.parametrize("command", ["up", "down", "restart", "health", "status", "episodes", "demo"])
@pytest.mark.parametrize("name", ["file", "file/state"])
def test_a_state_folder_that_cannot_be_used_is_wrong_use(
    state: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    (state.parent / "file").write_text("")
    monkeypatch.setenv("PODINSIGHT_STATE_DIR", str(state.parent / name))
    code, said, complained = podrun(command)
    assert (code, said) == (2, "")
    assert complained.startswith(f"podrun: the state folder {state.parent / name} ")
    assert "PODINSIGHT_STATE_DIR" in complained
    assert complained.count("\n") == 1


@pytest.mark.parametrize("command", ["status", "down"])
def test_the_state_folder_is_its_owners_alone(state: Path, free_ports: None, command: str) -> None:
    assert podrun(command)[0] == 0
    assert state.stat().st_mode & 0o777 == 0o700


def test_settings_mask_secrets(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODINSIGHT_REDIS_URL", "redis://:hush@127.0.0.1:6379/0")
    monkeypatch.setenv("PODINSIGHT_LLM_API_KEY", "sk-hush")
    for words in (("settings",), ("settings", "--json")):
        code, said, _ = podrun(*words)
        assert code == 0
        assert "hush" not in said
    rows = {row["name"]: row for row in json.loads(podrun("settings", "--json")[1])["settings"]}
    assert rows["state_dir"]["value"] == str(state)
    assert rows["state_dir"]["source"] == "environment PODINSIGHT_STATE_DIR"
    assert rows["redis_url"]["value"] == "redis://:****@127.0.0.1:6379/0"
    assert rows["model"] == {
        "name": "model",
        "value": "base",
        "source": "default",
        "description": "Whisper model of new transcriptions.",
    }


def test_settings_name_a_file_or_an_address_that_cannot_be_used(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `podrun up` will refuse, `podrun settings` says; it still shows them."""
    for name, value in (("PRICES_FILE", str(state / "none.toml")), ("NOTIFY_CRITICAL", "no-such-service://hush")):
        with monkeypatch.context() as environment:
            environment.setenv(f"PODINSIGHT_{name}", value)
            code, said, complaint = podrun("settings")
        assert (code, "state_dir" in said) == (2, True)
        assert name in complaint.upper()
        assert "hush" not in said + complaint
        with monkeypatch.context() as environment:
            environment.setenv(f"PODINSIGHT_{name}", value)
            code, document, again = podrun("settings", "--json")
        assert (code, again, "settings" in json.loads(document)) == (2, complaint, True)


def test_settings_name_machines_that_may_be_mistyped(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G5: a typo is not silent; another cloud's machine is no error."""
    path = state.parent / "prices.toml"
    path.write_text("[devices]\n" + "".join(f'"{name}" = {{ usd = 1 }}\n' for name in ("cpu", "cuda", "g5.xlarge")))
    monkeypatch.setenv("PODINSIGHT_PRICES_FILE", str(path))
    assert podrun("settings")[::2] == (0, "")
    with path.open("a") as stream:
        stream.write('"g4dn.xlage" = { usd = 0.5 }\n')
    code, said, complaint = podrun("settings")
    assert (code, "state_dir" in said) == (0, True)
    assert complaint == (
        "podrun: prices_file has machines that are not in the shipped list: g4dn.xlage (nearest: g4dn.xlarge); "
        "a mistyped one prices nothing\n"
    )
    with path.open("a") as stream:
        stream.writelines(f'"a2-{n}" = {{ usd = 0.5 }}\n' for n in range(4))
    assert " and 2 more; " in podrun("settings")[2]


def test_pause_halt_and_resume(desk: Desk) -> None:
    desk.store.control.write(desk.store.control.read())
    assert desk.run("pause", "--by", "ada", "--why", "maintenance").exit_code == 0
    control = desk.store.control.read()
    assert (control.mode, control.by, control.why) == (Mode.PAUSED, "ada", "maintenance")
    assert desk.json("halt", "--by", "bob", "--why", "worse")["mode"] == "halted"
    said = desk.run("status").stdout
    assert "halted by bob" in said
    assert "worse" in said
    assert "`podrun resume --by NAME --why REASON` goes on" in said
    for command in ("pause", "halt", "resume"):
        assert f"Example: podrun {command} --by ada --why " in podrun(command, "--help")[1]
    assert "and before that paused by ada" in said
    lifted = desk.run("resume", "--by", "ada", "--why", "better").stdout
    assert "lifted: halted by bob" in lifted
    assert "still paused by ada" in lifted
    assert desk.json("resume", "--by", "ada", "--why", "done")["held"] == []
    assert desk.store.control.read().mode is Mode.RUNNING
    assert "halted" not in desk.run("status").stdout
    assert desk.run("resume", "--by", "ada", "--why", "done").stdout == "nothing is stopped\n"


def test_a_team_is_told_of_a_pause_a_halt_and_a_resume(desk: Desk) -> None:
    """O7: each once, as a warning, in the transaction that changes control."""
    for command in ("pause", "halt", "resume", "resume", "resume"):
        assert desk.run(command, "--by", "ada", "--why", f"a {command}").exit_code == 0
    told = [each.alert for each in desk.store.alerts.unsent(9)]
    assert {each.severity for each in told} == {Severity.WARNING}
    assert [each.title for each in told] == [
        "paused by ada: a pause", "halted by ada: a halt", "resumed by ada: a resume", "resumed by ada: a resume",
    ]  # fmt: skip
    assert told[2].body == "Lifted: halted by ada: a halt\nStill paused by ada: a pause"
    assert told[3].body == "Lifted: paused by ada: a pause\nWork goes on."


@pytest.mark.parametrize("command", ["pause", "halt", "resume"])
@pytest.mark.parametrize("words", [("--by", " ", "--why", "x"), ("--by", "ada", "--why", "\x1b"), ("--by", "ada")])
def test_a_stop_and_its_end_have_a_name_and_a_reason(desk: Desk, command: str, words: tuple[str, ...]) -> None:
    assert desk.run(command, *words).exit_code == 2
    assert desk.store.control.history() == []


def test_status_and_resume_of_a_freeze(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """G3: who, when and why, how to go on, and which level would stop it again."""
    monkeypatch.setenv("PODINSIGHT_STOP_GPU_DAY_USD", "0.02")
    freeze(desk.store, "GPU work has spent $0.02", "stop:gpu_day:x")
    desk.store.purse.charge("t", Bearer(day_of(time.time())), [entry(20_000)])
    said = desk.run("status").stdout
    assert "GPU work frozen by cost guard since 2" in said
    assert "GPU work has spent $0.02 (`podrun resume --by NAME --why REASON` goes on)" in said
    assert [each["by"] for each in desk.json("status")["stops"]] == ["cost guard"]
    resumed = desk.run("resume", "--by", "ada", "--why", "one more")
    said = resumed.stdout
    assert (resumed.exit_code, "running again, until the levels are looked at" in said) == (1, True)
    assert "stop level of $0.02, and $0.02 are spent, $0.00 reserved: no room for a worker; raise" in said
    assert "raise PODINSIGHT_STOP_GPU_DAY_USD and" in said


def test_resume_knows_the_level_that_the_running_stack_holds(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """G3, G7: a level that was raised in this shell alone lets nothing go on; a stack that is gone holds nothing."""
    monkeypatch.setenv("PODINSIGHT_STOP_GPU_DAY_USD", "10")
    desk.store.purse.charge("t", Bearer(day_of(time.time())), [entry(20_000)])
    again = ("resume", "--by", "ada", "--why", "raised")
    for held, ago, warned in ((20_000, 0, True), (20_000, 3600, False), (10_000_000, 0, False), (None, 0, False)):
        in_force.say(desk.store, {Scope.GPU_DAY: held}, time.time() - ago)
        freeze(desk.store, "spent", "stop:gpu_day:x")
        resumed = desk.run(*again)
        said = resumed.stdout
        assert (resumed.exit_code, "running again\n" in said) == (0, True)
        assert ("the running stack still holds $0.02 for GPU work of the day" in said) == warned
        assert ("`podrun restart` with PODINSIGHT_STOP_GPU_DAY_USD as here" in said) == warned
    in_force.say(desk.store, {Scope.GPU_DAY: 20_000}, time.time())
    freeze(desk.store, "spent", "stop:gpu_day:x")
    document = desk.json(*again)
    assert document["levels_reached"] == []
    assert [each["stop_micros"] for each in document["levels_not_restarted"]] == [20_000]


def test_resume_opens_a_fleet_that_was_shut(desk: Desk) -> None:
    desk.store.workers.set_desired("gpu", 1)
    desk.store.control.write(Control(Mode.HALTED, gpu_frozen=True, by="bob", why="fire"))
    desk.store.workers.shut("gpu", 1, "fire")
    assert "the fleet has its sizes back" in desk.run("resume", "--by", "ada", "--why", "out").stdout
    assert desk.store.workers.pools()["gpu"].kept is None
    desk.store.workers.shut("gpu", 1, "holidays")
    said = desk.run("resume", "--by", "ada", "--why", "out").stdout
    assert "the fleet stays shut (holidays)" in said


def test_health_and_logs_say_that_nothing_runs(state: Path, free_ports: None) -> None:
    code, said, _ = podrun("health", "--json")
    assert code == 3
    checks = {check["name"]: check["ok"] for check in json.loads(said)["checks"]}
    assert checks["supervisor"] is False
    assert (checks["database"], checks["control"]) == (True, True)
    assert [checks[pool] for pool in QUEUES] == [False] * len(QUEUES)
    assert podrun("health")[0] == 3
    assert podrun("logs")[0] == 3
    assert "nothing was running" in podrun("down")[1]


def test_logs_show_the_last_lines(state: Path) -> None:
    folder = state / "logs"
    folder.mkdir(parents=True)
    (folder / "beat.log").write_text("".join(f"beat {number}\n" for number in range(30)))
    (folder / "fetch.log").write_text("fetch says\n")
    code, said, _ = podrun("logs", "beat", "-n", "2")
    assert (code, said) == (0, "beat 28\nbeat 29\n")
    code, said, _ = podrun("logs")
    assert code == 0
    assert "==> beat" in said
    assert "fetch says" in said


def test_a_reader_that_leaves_is_no_error(state: Path) -> None:
    """`podrun settings | head -0`: nothing on stderr, exit code 0."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "podinsight.cli.main", "settings"],
            stdout=write,
            stderr=subprocess.PIPE,
            cwd=PROJECT_ROOT,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
