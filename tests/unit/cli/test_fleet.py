"""podrun fleet and podrun emergency-shutdown, in this process, without any worker process."""

import json
import stat
from pathlib import Path

import pytest

from podinsight.domain.control import Control, Mode
from podinsight.domain.observed import NAME, Observed
from podinsight.services.scale import FIXED
from podinsight.topology import SCALE_TICK
from tests.unit.cli.desk import Desk

NAMED = ("--by", "ada", "--why", "drill")


def test_status_of_a_pool_at_zero(desk: Desk) -> None:
    desk.store.workers.set_desired("gpu", 0)
    said = desk.run("fleet", "status")
    assert said.exit_code == 0
    assert "gpu: 0 wanted, at most 1" in said.stdout
    assert "nothing was decided yet" in said.stdout
    assert "no gpu worker runs: nothing burns" in said.stdout
    desk.store.control.tick(SCALE_TICK)
    assert "none until there is work" in desk.run("fleet", "status").stdout
    desk.store.memory.remember(NAME, Observed(at=1.0, why="no work for 9 s").to_json())
    assert "no work for 9 s" in desk.run("fleet", "status").stdout
    found = desk.json("fleet", "status")
    assert (found["scales"], found["desired"], found["instances"], found["shut"]) == (True, 0, [], None)
    assert (found["why"], found["burn_micros_per_hour"], found["is_zero"]) == ("no work for 9 s", 0, False)


def test_status_names_workers_with_their_price(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODINSIGHT_CPU_HOUR_USD", "0.25")
    desk.store.workers.expect("gpu-0", "here", "gpu", 1)
    desk.start_worker("gpu")
    found = desk.json("fleet", "status")
    assert [(each["id"], each["state"], each["kind"]) for each in found["instances"]] == [
        ("gpu-0", "starting", "cpu"),
        ("gpu-1", "ready", "cpu"),
    ], "who has not said what it decodes on is reckoned as the others of its pool"
    assert found["burn_micros_per_hour"] == 500_000
    text = desk.run("fleet", "status").stdout
    assert "burns $0.50 an hour" in text
    assert text.count("$0.25 (settings)") == 2


def test_status_marks_a_price_that_nobody_is_sure_of(desk: Desk) -> None:
    """G5: with where it is from, in the table and in JSON; so is that of a worker that has not said its device."""
    desk.store.workers.register("gpu-1", "here", "gpu", 1, 1)
    assert "(dearest list price, estimated)" in desk.run("fleet", "status").stdout
    (rate,) = [each["rate"] for each in desk.json("fleet", "status")["instances"]]
    assert (rate["source"], rate["estimated"], rate["micros"] > 0) == ("dearest list price", True, True)


def test_a_starting_worker_of_a_free_cpu_burns_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """G5: a laptop's CPU must not be reckoned at a GPU's price while it has not said what it is."""
    desk.store.workers.expect("gpu-0", "here", "gpu", 1)
    monkeypatch.setenv("PODINSIGHT_DEVICE", "cpu")
    assert desk.json("fleet", "status")["burn_micros_per_hour"] == 0
    monkeypatch.setenv("PODINSIGHT_DEVICE", "cuda")
    assert desk.json("fleet", "status")["burn_micros_per_hour"] == 526_000


def test_the_log_keeps_who_shut_and_opened_it_and_why(desk: Desk) -> None:
    """G7: `fleet start` needs a name and a reason, and both stay on record, like those of the stop before it."""
    assert "its size was never changed" in desk.run("fleet", "log").stdout
    assert desk.json("fleet", "log") == []
    desk.store.workers.set_desired("gpu", 1, "cost guard", "2 episodes wait\x1b[2J")
    desk.run("fleet", "stop", "--by", "ada", "--why", "over the holidays")
    desk.run("fleet", "start", "--by", "bob", "--why", "back")
    headers, *rows = desk.run("fleet", "log").stdout.splitlines()
    assert headers.split() == ["when", "what", "workers", "by", "why"]
    assert [" ".join(row.split()[2:]) for row in rows] == [
        "opened 0 → 1 bob back",
        "shut 1 → 0 ada over the holidays",
        "sized 0 → 1 cost guard 2 episodes wait [2J",
    ]
    (last,) = desk.json("fleet", "log", "--limit", "1")
    assert {name: last[name] for name in ("what", "group", "before", "after", "by", "why")} == {
        "what": "opened",
        "group": "gpu",
        "before": 0,
        "after": 1,
        "by": "bob",
        "why": "back",
    }
    desk.run("emergency-shutdown", "--local", *NAMED)
    desk.run("resume", "--by", "eve", "--why", "over")
    assert [(each["what"], each["by"], each["why"]) for each in desk.json("fleet", "log", "--limit", "2")] == [
        ("opened", "eve", "over"),
        ("shut", "ada", "emergency shutdown: drill"),
    ]


def test_stop_shuts_it_and_start_opens_it_with_what_it_had(desk: Desk) -> None:
    desk.store.workers.set_desired("gpu", 1)
    assert "shut (by ada: drill)" in desk.run("fleet", "stop", *NAMED).stdout
    found = desk.json("fleet", "status")
    assert (found["shut"]["reason"], found["is_zero"]) == ("ada: drill", True)
    assert "was shut already: ada: drill" in desk.run("fleet", "stop", "--by", "bob", "--why", "too").stdout
    assert "shut since" in desk.run("fleet", "status").stdout
    assert desk.json("fleet", "start", *NAMED)["opened"]
    assert desk.store.workers.desired() == {"gpu": 1}
    assert desk.store.control.read().mode is Mode.RUNNING
    assert "it is open" in desk.run("fleet", "start", *NAMED).stdout


@pytest.mark.parametrize("command", [("fleet", "stop"), ("fleet", "start"), ("emergency-shutdown", "--local")])
@pytest.mark.parametrize("words", [("--by", " ", "--why", "x"), ("--by", "x", "--why", ""), ("--by", "x")])
def test_nobody_and_nothing_are_refused(desk: Desk, command: tuple[str, ...], words: tuple[str, ...]) -> None:
    said = desk.run(*command, *words)
    assert said.exit_code == 2
    assert "--by" in said.stderr or "--why" in said.stderr
    assert not desk.store.control.read().gpu_frozen
    assert desk.store.workers.pools() == {}


def test_another_fleet_than_the_local_one_comes_later(desk: Desk) -> None:
    said = desk.run("emergency-shutdown", *NAMED)
    assert said.exit_code == 2
    assert "later release" in said.stderr
    assert not desk.store.control.read().gpu_frozen


def test_an_emergency_shutdown_leaves_evidence_and_a_dry_run_leaves_nothing(desk: Desk, state: Path) -> None:
    """G9: dated evidence of zero, for its owner alone."""
    desk.store.workers.set_desired("gpu", 1)
    plan = desk.json("emergency-shutdown", "--local", *NAMED, "--dry-run")["plan"]
    assert plan == ["freeze GPU work", "set gpu (0 to 1, 1 wanted) to zero"]
    assert not desk.store.control.read().gpu_frozen
    assert not (state / "evidence").exists()

    done = desk.json("emergency-shutdown", "--local", *NAMED)
    assert (done["proven"], done["froze"]) == (True, True)
    (kept,) = (state / "evidence").glob("emergency-*Z.json")
    assert done["evidence"] == str(kept)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    evidence = json.loads(kept.read_text())
    assert (evidence["by"], evidence["why"], evidence["unproven"]) == ("ada", "drill", [])
    assert [each["is_clean"] for each in evidence["reads"]] == [True, True]
    assert evidence["snapshot"]["groups"] == [{"name": "gpu", "least": 0, "desired": 1, "most": 1}]
    assert desk.store.control.read().gpu_frozen
    again = desk.run("emergency-shutdown", "--local", "--by", "bob", "--why", "too")
    assert (again.exit_code, "was frozen before" in again.stdout) == (0, True)
    assert len(list((state / "evidence").iterdir())) == 2
    assert desk.json("resume", "--by", "ada", "--why", "over")["fleet_opened"]
    assert desk.store.workers.desired() == {"gpu": 1}


def test_an_emergency_shutdown_tells_people_by_itself(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """G7: at once and without beat; whoever cannot be told is named without his address, and told by the next sweep."""
    token = "tok3nthatNobodyMaySee"
    desk.web.serve(f"/{token}", b"ok")
    monkeypatch.setenv("PODINSIGHT_NOTIFY_CRITICAL", f"json://127.0.0.1:{desk.web.port}/{token}")
    desk.store.workers.set_desired("gpu", 1)
    said = desk.run("emergency-shutdown", "--local", *NAMED)
    assert (said.exit_code, "not told" in said.stderr) == (0, False)
    (request,) = desk.web.requests(f"/{token}")
    assert "emergency shutdown of GPU work by ada: drill" in json.loads(request.body)["title"]
    assert desk.store.alerts.unsent(9) == []
    desk.run("resume", "--by", "ada", "--why", "over")

    desk.web.fail(f"/{token}", 500)
    said = desk.run("emergency-shutdown", "--local", *NAMED)
    assert said.exit_code == 0
    assert "people were not told yet: could not be told: JSON; the next sweep tries again" in said.stderr
    assert token not in said.output
    assert [each.alert.title for each in desk.store.alerts.unsent(9)] == [
        "resumed by ada: over",
        "emergency shutdown of GPU work by ada: drill",
    ]


def test_work_needs_no_gpu_worker_where_one_comes_with_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool at zero is no fault while somebody decides how many there are."""
    desk.store.workers.set_desired("gpu", 0)
    for pool in ("fetch", "plan"):
        desk.start_worker(pool)
    url = desk.serve_feed("/feed", "A feed", 1)
    assert desk.run("feeds", "add", url).exit_code == 0
    words = ("fetch", "--limit", "1", "--transcribe", "--yes", "--model", "tiny.en")
    said = desk.run(*words)
    assert (said.exit_code, "no gpu worker is up" in said.stderr) == (3, True)
    desk.run("fleet", "stop", *NAMED)
    desk.store.control.tick(SCALE_TICK)
    said = desk.run(*words)
    assert (said.exit_code, "the gpu workers are shut (ada: drill)" in said.stderr) == (3, True)
    desk.run("fleet", "start", *NAMED)
    assert desk.run(*words, "--no-wait").exit_code == 0
    assert "gpu 0 (comes with work)" in desk.run("status").stdout
    monkeypatch.setenv("PODINSIGHT_FLEET", "fixed")
    assert "comes with work" not in desk.run("status").stdout
    monkeypatch.setenv("PODINSIGHT_FLEET", "local")
    monkeypatch.setenv("PODINSIGHT_GPU_WORKERS", "0")
    assert "comes with work" not in desk.run("status").stdout


def test_opened_while_work_is_frozen_no_worker_comes(desk: Desk) -> None:
    """G3: never a worker while frozen; a size that is fixed comes back with the resume."""
    desk.store.workers.set_desired("gpu", 1)
    desk.run("fleet", "stop", *NAMED)
    desk.store.control.write(Control(gpu_frozen=True, by="cost guard", why="spent"))
    said = desk.run("fleet", "start", *NAMED)
    assert "open again" in said.stdout
    assert "gpu frozen by cost guard" in said.stdout
    assert desk.store.workers.desired()["gpu"] == 0


def test_a_fixed_size_that_is_opened_while_work_is_frozen_is_kept_for_the_resume(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G3: also when it is shut and opened again, at the 0 that it has by then."""
    monkeypatch.setenv("PODINSIGHT_FLEET", "fixed")
    desk.store.workers.set_desired("gpu", 1)
    desk.store.control.write(Control(gpu_frozen=True, by="cost guard", why="spent"))
    for _ in range(2):
        desk.run("fleet", "stop", *NAMED)
        desk.run("fleet", "start", *NAMED)
    assert desk.store.workers.desired()["gpu"] == 0
    assert desk.store.memory.recall(FIXED) == {"desired": 1}
    assert "the size is fixed (PODINSIGHT_FLEET)" in desk.run("fleet", "status").stdout
