"""--max-usd: what one command may spend at most (G2, G4), and the run under which its work is paid (G1)."""

import json
import re
from collections.abc import Sequence

import pytest

from podinsight.adapters.database import SqlStore
from podinsight.cli import run as run_module
from podinsight.cli.approval import Gate
from podinsight.cli.ceiling import new_run
from podinsight.cli.session import Session
from podinsight.cli.wish import Wish
from podinsight.domain.budget import Scope
from podinsight.domain.episode import Episode
from podinsight.domain.hosts import HostLimits
from podinsight.domain.money import micros, usd
from podinsight.domain.work import State
from tests.support.planning import plan
from tests.support.spending import ALL_PRICED
from tests.unit.cli.desk import Desk
from tests.unit.cli.test_approval import TRANSCRIBE, fetched, rows, waiting

NOTHING_STARTS = (
    "--max-usd $0.02 is less than the $0.09 that the first chunk reserves (90 s of cpu at $3.60 an hour): "
    "nothing could start"
)
RUN = r"\d{8}T\d{6}-[0-9a-f]{4}"


@pytest.fixture
def paid(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Three episodes of a second are downloaded, and a CPU that costs a tenth of a cent a second is up."""
    monkeypatch.setenv("PODINSIGHT_CPU_HOUR_USD", "3.6")
    fetched(desk)
    desk.start_worker("plan")
    desk.start_worker("gpu", "cpu")
    return desk


def runs(desk: Desk) -> list[object]:
    """As the rows have them, in the order of discovery."""
    assert isinstance(desk.store, SqlStore)
    with desk.store.db.read() as conn:
        found = conn.exec_driver_sql("SELECT params FROM work WHERE stage = 'transcribe' ORDER BY id").all()
    return [json.loads(row.params).get("run") for row in found]


def ceilings(desk: Desk) -> list[tuple[str, int]]:
    assert isinstance(desk.store, SqlStore)
    with desk.store.db.read() as conn:
        return [tuple(row) for row in conn.exec_driver_sql("SELECT key, ceiling FROM budgets WHERE scope = 'run'")]


def test_every_command_has_a_run_of_its_own(paid: Desk) -> None:
    one, two, three = (each.id for each in paid.episodes())
    first = paid.json(*TRANSCRIBE, one, two, "--yes", "--by", "ada")["run"]
    assert re.fullmatch(RUN, first)
    second = paid.json(*TRANSCRIBE, two, three, "--yes", "--by", "ada")["run"]
    assert runs(paid) == [first, first, second], "what is there already belongs to the run that queued it"
    assert first != second
    assert ceilings(paid) == []
    assert ": at most" not in paid.run(*TRANSCRIBE, "--yes").stdout


def test_names_of_runs_sort_by_time() -> None:
    early, late = new_run(1_795_375_800.0), new_run(1_795_375_801.0)
    assert early < late
    assert early.startswith("20261122T193000-")


@pytest.mark.parametrize("words", [TRANSCRIBE, ("fetch", "--transcribe", *TRANSCRIBE[1:])])
def test_a_ceiling_is_laid_down_before_anything_is_queued(paid: Desk, words: tuple[str, ...]) -> None:
    result = paid.run(*words, "--yes", "--by", "ada", "--max-usd", "$5")
    assert result.exit_code == 0, result.output
    (line,) = (each for each in result.stdout.splitlines() if each.startswith("run "))
    run = line.split()[1].rstrip(":")
    assert line == f"run {run}: at most $5.00; `podrun costs report --by run`"
    assert runs(paid) == [run] * 3
    assert ceilings(paid) == [(run, micros(5))]
    assert paid.store.purse.budget(Scope.RUN, run).lowest({}) == micros(5)


def test_nothing_is_queued_that_has_no_ceiling_yet(paid: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """G2: a worker may claim a row the moment that it is there."""
    enqueue, seen = run_module._enqueue, []

    def late(
        session: Session, wish: Wish, chosen: Sequence[Episode], stamp: str, gate: Gate, over: Sequence[Episode] = ()
    ) -> None:
        seen.append(ceilings(paid))
        enqueue(session, wish, chosen, stamp, gate, over)

    monkeypatch.setattr(run_module, "_enqueue", late)
    run = paid.json(*TRANSCRIBE, "--yes", "--by", "ada", "--max-usd", "5")["run"]
    assert seen == [[(run, micros(5))]]


def test_the_run_and_its_ceiling_in_json(paid: Desk) -> None:
    said = paid.json(*TRANSCRIBE, "--yes", "--by", "ada", "--max-usd", "0.25")
    assert (said["max_micros"], ceilings(paid)) == (250_000, [(said["run"], 250_000)])


def test_work_that_waits_for_its_approval_keeps_its_ceiling(paid: Desk) -> None:
    assert paid.run(*TRANSCRIBE, "--max-usd", "5").exit_code == 4
    ((run, ceiling),) = ceilings(paid)
    assert paid.run("approve", "--all", "--yes", "--by", "ada").exit_code == 0
    assert (runs(paid), ceiling, waiting(paid)) == ([run] * 3, micros(5), 0)


def test_a_quote_that_may_go_over_is_said(paid: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    over = paid.run(*TRANSCRIBE, "--dry-run", "--max-usd", "0.0001")
    assert (over.exit_code, ceilings(paid)) == (0, [])
    assert NOTHING_STARTS.replace("$0.02", "$0.0001") in over.stderr
    assert paid.run(*TRANSCRIBE, "--dry-run", "--max-usd", "1").stderr == ""
    monkeypatch.setenv("PODINSIGHT_LEASE_SECONDS", "0.2")
    monkeypatch.setenv("PODINSIGHT_RENEW_SECONDS", "0.05")
    lines = paid.json(*TRANSCRIBE, "--dry-run")["transcribe"]["quote"]["lines"]
    costs = [line["cost"] for line in lines if line["item"] != "start and idle"]  # which no command pays for
    said = {figure: sum(each[figure] for each in costs) for figure in ("likely", "high")}
    assert len(costs) == len(lines) - 1
    assert 200 < said["likely"] < said["high"]
    for amount, words in (
        (said["likely"] - 1, f"likely {usd(said['likely'])}, and --max-usd is "),
        (said["likely"], f"up to {usd(said['high'])}, and --max-usd is {usd(said['likely'])}: it may end before"),
        (said["high"], ""),
    ):
        stderr = paid.run(*TRANSCRIBE, "--dry-run", "--max-usd", usd(amount)).stderr
        assert words in stderr if words else not stderr


@pytest.mark.parametrize("words", [TRANSCRIBE, ("fetch", "--transcribe", *TRANSCRIBE[1:])])
def test_a_ceiling_under_which_nothing_could_start_is_refused(paid: Desk, words: tuple[str, ...]) -> None:
    """G2: what a lease reserves does not fit under it, so it would wait for ever."""
    for amount in ("0.02", "0.089999", "0"):
        result = paid.run(*words, "--yes", "--by", "ada", "--max-usd", amount)
        assert result.exit_code == 2
        assert NOTHING_STARTS.replace("$0.02", usd(micros(amount))) in result.stderr
    assert (rows(paid), ceilings(paid)) == ([], [])
    assert paid.run(*words, "--yes", "--by", "ada", "--max-usd", "0.09").exit_code == 0
    again = paid.run(*words, "--yes", "--by", "ada", "--max-usd", "0.02")
    assert again.exit_code == 0, "what others queued is not paid under it"


def test_what_costs_nothing_has_no_least_ceiling(paid: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODINSIGHT_CPU_HOUR_USD", "0")
    result = paid.run(*TRANSCRIBE, "--max-usd", "0")
    assert (result.exit_code, result.stderr) == (0, "")


def test_what_others_queued_is_not_under_it(paid: Desk) -> None:
    paid.run(*TRANSCRIBE, "--limit", "2", "--yes")
    result = paid.run(*TRANSCRIBE, "--yes", "--max-usd", "5")
    said = "--max-usd is for what this command queues: 2 transcriptions of earlier commands keep their own ceilings"
    assert said in result.stderr
    result = paid.run(*TRANSCRIBE, "--yes", "--max-usd", "6")
    assert "3 transcriptions of earlier commands" in result.stderr
    assert [ceiling for _run, ceiling in ceilings(paid)] == [micros(5)], "nothing new is queued under six"


@pytest.mark.parametrize("amount", ["-1", "nan", "inf", "five", "", "1000000001", "1e999999", "0x10"])
def test_amounts_that_are_none_are_refused(paid: Desk, amount: str) -> None:
    result = paid.run(*TRANSCRIBE, "--yes", f"--max-usd={amount}")
    assert result.exit_code == 2
    assert "--max-usd" in result.stderr
    assert "write dollars, such as 5 or 2.50" in result.stderr
    assert (rows(paid), ceilings(paid)) == ([], [])


def test_downloading_alone_has_no_ceiling(desk: Desk) -> None:
    result = desk.run("fetch", "--no-wait", "--max-usd", "5")
    assert (result.exit_code, "add --transcribe" in result.stderr) == (2, True)


def test_nothing_is_laid_down_by_who_says_no(paid: Desk) -> None:
    assert paid.run(*TRANSCRIBE, "--max-usd", "5", answer="n\n").exit_code == 5
    assert (rows(paid), ceilings(paid)) == ([], [])


def test_a_transcription_made_anew_is_paid_by_the_run_that_asked_for_it(paid: Desk) -> None:
    first = paid.json(*TRANSCRIBE, "--yes", "--by", "ada")["run"]
    one = paid.episodes()[0]
    assert isinstance(paid.store, SqlStore)
    with paid.store.db.write() as conn:
        conn.exec_driver_sql(f"UPDATE work SET state = 'failed' WHERE episode_id = '{one.id}' AND stage = 'transcribe'")
    said = paid.json(*TRANSCRIBE, one.id, "--again", "--yes", "--by", "ada", "--max-usd", "5")
    assert sorted(runs(paid), key=str) == sorted([first, first, said["run"]])
    assert ceilings(paid) == [(said["run"], micros(5))]


def test_the_same_audio_asked_for_by_two_runs_is_heard_once(paid: Desk) -> None:
    """F10: what a transcript depends on is not under which name it is paid."""
    assert isinstance(paid.store, SqlStore)
    with paid.store.db.write() as conn:
        conn.exec_driver_sql("UPDATE episodes SET audio_sha256 = 'same'")
    one, two, _three = (each.id for each in paid.episodes())
    paid.run(*TRANSCRIBE, one, "--yes")
    said = paid.json(*TRANSCRIBE, two, "--yes")
    assert said["quote"]["episodes"] == 0
    assert rows(paid)[1] == (State.HELD, "waits for the transcript of the same audio")


def test_who_follows_what_is_held_by_its_ceiling_is_told(paid: Desk) -> None:
    """G3: it ends with exit code 4 and the way out, and does not wait for what does not come."""
    one = paid.episodes()[0].id
    paid.run(*TRANSCRIBE, one, "--yes", "--max-usd", "0.1")
    plan(paid.store, paid.world.objects, one)
    ((run, _ceiling),) = ceilings(paid)
    paid.store.purse.limit(Scope.RUN, run, 1)
    assert isinstance(paid.store, SqlStore)
    priced = SqlStore(paid.store.db, paid.world.clock, HostLimits({}, 10), 30.0, ALL_PRICED)
    assert priced.work.claim("transcribe", one, "gpu-1", 90) is None
    assert rows(paid)[0][1].startswith("budget: ")
    result = paid.run("transcribe", "--model", "tiny.en", one)
    assert result.exit_code == 4, result.output
    assert f" of run {run}: $0.00 spent" in result.stderr
    assert "podrun: 1 transcription waits: budget: " in result.stderr
    assert result.stderr.endswith(". `podrun retry --over-budget --max-usd USD`\n")
    assert "0 failed" in result.stdout
