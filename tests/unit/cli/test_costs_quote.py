"""podrun costs quote: what a manifest would cost, by line, and when it would be done (G4)."""

import math
import re
import time
from pathlib import Path

import pytest

from podinsight import settings as settings_module
from podinsight.adapters.database import SqlStore
from podinsight.cli.estimate import gpu_document, gpu_words
from podinsight.domain.days import day_of
from podinsight.domain.money import Unit, usd
from podinsight.domain.quote import FREE_RULE
from podinsight.ports import Bearer, Entry
from podinsight.services.guard import freeze
from tests.unit.cli.desk import Desk
from tests.unit.cli.test_approval import TRANSCRIBE, fetched, measured, rows

ITEMS = ["cpu", "nat", "gpu", "start and idle", "storage", "metrics", "spot interruptions", "retries"]


@pytest.fixture
def manifest(desk: Desk, tmp_path: Path) -> str:
    """Of three episodes: two are downloaded and last a second, of the third nothing is known."""
    fetched(desk, 2)
    desk.run("feeds", "add", desk.serve_feed("/b", "Other Show", 1))
    desk.start_worker("gpu", "cuda")
    path = tmp_path / "list.csv"
    assert desk.run("manifest", "make", "--output", str(path)).exit_code == 0
    return str(path)


def test_every_line_and_the_finish_time(desk: Desk, manifest: str) -> None:
    result = desk.run("costs", "quote", manifest, "--model", "tiny.en")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "3 rows, 3 episodes still to be paid for"
    assert "12 × real time is assumed, nothing was measured yet" in lines[1]
    assert lines[2].split() == ["line", "quantity", "price", "low", "likely", "high"]
    assert [line.split("  ")[0] for line in lines[3:12]] == [*ITEMS, "total"]
    gpu = next(line for line in lines if line.startswith("gpu"))
    assert "$0.526 (list" in gpu
    assert lines[12].startswith("takes ")
    assert lines[12].endswith("with 1 worker (cuda)")
    assert lines[13].startswith("done 20")
    assert lines[14:] == ["how long 1 download will take is not in it: nobody has measured that"]
    assert rows(desk) == [], "nothing is changed"


PRICE_OF_CUDA = {
    "micros": 526_000,
    "source": "list 2026-11-22",
    "estimated": False,
    "origin": "that of g4dn.xlarge",
    "market": False,
}  # G5: with date and source


def test_the_lines_add_up_in_json(desk: Desk, manifest: str) -> None:
    measured(desk, 30.0)
    said = desk.json("costs", "quote", manifest, "--model", "tiny.en")
    quote = said["quote"]
    assert (said["rows"], quote["episodes"], quote["workers"]) == (3, 3, 1)
    assert [line["item"] for line in quote["lines"]] == ITEMS
    assert quote["price"] == PRICE_OF_CUDA
    assert next(line["price"] for line in quote["lines"] if line["item"] == "gpu") == PRICE_OF_CUDA
    for figure in ("low", "likely", "high"):
        assert sum(line["cost"][figure] for line in quote["lines"]) == quote["micros"][figure]
        assert quote["usd"][figure] == quote["micros"][figure] / 1e6
    assert quote["micros"]["low"] < quote["micros"]["likely"] < quote["micros"]["high"]
    for figure, start in (("low", 0), ("likely", 15), ("high", 15 + 60)):
        assert quote["done_in_seconds"][figure] == pytest.approx(quote["device_seconds"][figure] + start)
    assert quote["downloads"] == 1


def test_a_fixed_fleet_decodes_with_all_it_has_and_idles_on_nobodys_account(
    desk: Desk, manifest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G4: what runs anyway is no cost of this."""
    scaling = desk.json("costs", "quote", manifest)["quote"]
    monkeypatch.setenv("PODINSIGHT_FLEET", "fixed")
    one = desk.json("costs", "quote", manifest)["quote"]
    assert one["done_in_seconds"] == one["device_seconds"]
    assert one["lines"] == [line for line in scaling["lines"] if line["item"] != "start and idle"]
    monkeypatch.setenv("PODINSIGHT_GPU_WORKERS", "4")
    four = desk.json("costs", "quote", manifest)["quote"]
    assert (four["micros"], four["workers"]) == (one["micros"], 4)
    assert four["done_in_seconds"]["likely"] == pytest.approx(one["done_in_seconds"]["likely"] / 4)
    assert "  4 workers are done in " in desk.run(*TRANSCRIBE[:-1], "--dry-run").stdout


def test_a_scaling_fleet_starts_no_more_than_it_needs(
    desk: Desk, manifest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G4, G6: `gpu_workers` is the most there may be."""
    monkeypatch.setenv("PODINSIGHT_GPU_WORKERS", "4")
    assert desk.json("costs", "quote", manifest)["quote"]["workers"] == 1
    said = desk.run(*TRANSCRIBE[:-1], "--dry-run").stdout
    assert re.search(r"  1 worker is done in [^,]*, likely [^,]*, start included\n", said)
    idle = next(
        line for line in desk.json("costs", "quote", manifest)["quote"]["lines"] if line["item"] == "start and idle"
    )
    assert f", {usd(idle['cost']['likely'])} of it while workers start and wait; approved" in said
    took = desk.json("costs", "quote", manifest)["quote"]["device_seconds"]["likely"]
    monkeypatch.setenv("PODINSIGHT_FLEET_DRAIN_SECONDS", str(took / 2.5))
    three = desk.json("costs", "quote", manifest)["quote"]
    assert three["workers"] == 3
    assert three["done_in_seconds"]["likely"] == pytest.approx(took / 3 + 15)
    idle = next(line["cost"] for line in three["lines"] if line["item"] == "start and idle")
    seconds = 3 * 15 + 60 + 120 + 300
    assert (idle["low"], idle["likely"]) == (0, math.ceil(seconds * 526_000 / 3600)), "cuda at $0.526"


def test_a_small_job_is_quoted_with_what_its_worker_idles(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """G4: a few seconds of work, and a worker that starts, waits for the grace and goes."""
    fetched(desk)
    monkeypatch.setenv("PODINSIGHT_CPU_HOUR_USD", "3.6")
    monkeypatch.setenv("PODINSIGHT_FLEET_GRACE_SECONDS", "30")
    desk.start_worker("gpu", "cpu")
    quote = desk.json("transcribe", "--dry-run")["transcribe"]["quote"]
    idle = next(line["cost"] for line in quote["lines"] if line["item"] == "start and idle")
    assert idle == {"low": 0, "likely": 45_000, "high": 210_000}
    assert quote["micros"]["likely"] > 45_000
    monkeypatch.setenv("PODINSIGHT_CPU_HOUR_USD", "0")
    free = desk.json("transcribe", "--dry-run")["transcribe"]["quote"]
    assert (free["micros"], free["approved_by_rule"]) == ({"low": 0, "likely": 0, "high": 0}, FREE_RULE)
    assert "start and idle" not in [line["item"] for line in free["lines"]]


def test_what_is_approved_and_not_done_is_still_to_be_paid_for(desk: Desk, manifest: str) -> None:
    assert desk.json("costs", "quote", manifest, "--limit", "1")["quote"]["episodes"] == 1
    desk.run(*TRANSCRIBE, "--yes", "--by", "ada")
    result = desk.run("costs", "quote", manifest)
    assert result.stdout.startswith("3 rows, 3 episodes still to be paid for (2 of them approved already)\n")
    said = desk.json("costs", "quote", manifest, "--limit", "2")
    assert (said["approved_already"], said["quote"]["episodes"]) == (2, 2)
    assert said["quote"]["micros"]["likely"] > 0
    assert isinstance(desk.store, SqlStore)
    with desk.store.db.write() as conn:
        conn.exec_driver_sql("UPDATE work SET state = 'done' WHERE stage = 'transcribe'")
    assert desk.run("costs", "quote", manifest, "--limit", "2").stdout == "2 rows, 0 episodes still to be paid for\n"


def test_what_waits_for_the_transcript_of_the_same_audio_is_not_paid_for(desk: Desk, manifest: str) -> None:
    """F10."""
    assert isinstance(desk.store, SqlStore)
    with desk.store.db.write() as conn:
        conn.exec_driver_sql("UPDATE episodes SET audio_sha256 = 'same' WHERE audio_key IS NOT NULL")
    desk.run(*TRANSCRIBE, "--yes", "--by", "ada")
    said = desk.json("costs", "quote", manifest, "--limit", "2")
    assert (said["approved_already"], said["quote"]["episodes"]) == (1, 1)


def test_stop_levels_under_which_it_does_not_fit(desk: Desk, manifest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """G3, G4."""
    assert desk.json("costs", "quote", manifest)["quote"]["over_stop_levels"] == []
    monkeypatch.setenv("PODINSIGHT_STOP_GPU_DAY_USD", "0.020001")
    today = day_of(time.time())
    desk.store.purse.charge(
        "a", Bearer(today), [Entry("transcribe", "gpu", 1000, Unit.MILLISECONDS, 72_000_000, "cuda")]
    )
    level = f"$0.020001 of GPU work on {today} leaves $0.000001"
    line = f"  {level}: it would be frozen before it is done (stop_gpu_day_usd)\n"
    assert line in desk.run("costs", "quote", manifest).stdout
    assert line in desk.run("fetch", "--transcribe", "--dry-run").stdout
    (over,) = desk.json("costs", "quote", manifest)["quote"]["over_stop_levels"]
    assert (over["scope"], over["key"], over["stop_micros"], over["left_micros"]) == (
        "gpu_day", today, 20_001, 1,
    )  # fmt: skip


def test_a_level_must_have_room_for_the_last_leases(desk: Desk, manifest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """G2, G4: what is likely to be spent fits, the reservation of a claim beside it does not."""
    likely = desk.json("costs", "quote", manifest)["quote"]["micros"]["likely"]
    monkeypatch.setenv("PODINSIGHT_STOP_GPU_DAY_USD", f"{likely / 1e6:.6f}")
    (over,) = desk.json("costs", "quote", manifest)["quote"]["over_stop_levels"]
    assert over["likely_micros"] <= over["left_micros"] < over["likely_micros"] + over["kept_free_micros"]
    said = desk.run("costs", "quote", manifest).stdout
    assert "kept free for the last leases it would be frozen before it is done (stop_gpu_day_usd)\n" in said


def test_no_finish_time_is_promised_while_work_is_stopped(desk: Desk, manifest: str) -> None:
    """G4, G7: frozen, paused or halted: times count from a resume."""
    dry = ("fetch", "--transcribe", "--dry-run")
    assert desk.json("costs", "quote", manifest)["quote"]["stopped"] is None
    assert "work is stopped" not in desk.run("costs", "quote", manifest).stdout + desk.run(*dry).stdout
    freeze(desk.store, "GPU work has spent $0.02", "stop:gpu_day:x")
    line = "work is stopped: gpu frozen by cost guard: GPU work has spent $0.02; times count from when `podrun resume "
    assert f"\n{line}" in desk.run("costs", "quote", manifest).stdout
    assert f"\n  {line}" in desk.run(*dry).stdout
    said = "gpu frozen by cost guard: GPU work has spent $0.02"
    assert desk.json("costs", "quote", manifest)["quote"]["stopped"] == said
    assert desk.json(*dry)["transcribe"]["quote"]["stopped"] == said
    desk.run("pause", "--by", "ada", "--why", "disk")
    assert desk.json("costs", "quote", manifest)["quote"]["stopped"] == "paused by ada: disk"


def test_what_could_not_be_downloaded_is_left_out(desk: Desk, tmp_path: Path) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 2, broken=1))
    desk.start_worker()
    desk.run("fetch", "--no-wait")
    desk.work()
    desk.start_worker("gpu", "cuda")
    desk.run("manifest", "make", "--output", str(tmp_path / "list.csv"))
    text = desk.run("costs", "quote", str(tmp_path / "list.csv")).stdout
    assert text.startswith("2 rows, 1 episode still to be paid for\n")
    assert text.endswith("1 row could not be downloaded and left out: `podrun retry --failed`\n")


def test_the_price_of_a_rented_gpu_is_that_of_the_book(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run is compared with at its end."""
    state.parent.joinpath("prices.toml").write_text("[devices]\ncuda = { usd = 0.4 }\n")
    monkeypatch.setenv("PODINSIGHT_PRICES_FILE", str(state.parent / "prices.toml"))
    settings = settings_module.load()
    assert gpu_document(settings, 43_200.0) == {"gpu_estimate_usd": 0.4, "gpu_hour_usd": 0.4, "gpu_speed": 12.0}
    assert "$0.4000 on a rented GPU (an estimate: $0.40 an hour, 12 × real time)" in gpu_words(settings, 43_200.0)


def test_in_the_cloud_the_rest_is_paid_too(desk: Desk, manifest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The objects of this test stay in their folder: the settings alone say where they lie."""
    here = {line["item"]: line["cost"] for line in desk.json("costs", "quote", manifest)["quote"]["lines"]}
    assert {item: here[item]["high"] for item in ("cpu", "nat", "storage", "metrics")} == dict.fromkeys(
        ("cpu", "nat", "storage", "metrics"), 0
    )
    monkeypatch.setenv("PODINSIGHT_OBJECTS_URL", "s3://bucket")
    there = {line["item"]: line["cost"] for line in desk.json("costs", "quote", manifest)["quote"]["lines"]}
    assert min(there[item]["likely"] for item in ("cpu", "nat", "storage", "metrics")) > 0
    assert there["gpu"] == here["gpu"]
    assert "for CPU, NAT and a month's storage" in desk.run("fetch", "--dry-run", "--feed", "other-show").stdout


def test_an_unknown_device_is_said_to_be_estimated(desk: Desk, manifest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """G5."""
    desk.store.workers.mark("gpu-1", "dead")
    monkeypatch.setenv("PODINSIGHT_GPU_WORKERS", "0")
    assert "$1.006 (dearest list price, estimated high)" in desk.run("costs", "quote", manifest).stdout
    assert "at $1.006 an hour, which is estimated high" in desk.run(*TRANSCRIBE, "--dry-run").stdout


@pytest.mark.parametrize("name", ["none.csv", "manifests/none.csv", "https://a.test/m.csv"])
def test_a_manifest_that_is_not_there(desk: Desk, name: str) -> None:
    result = desk.run("costs", "quote", name)
    assert (result.exit_code, name in result.stderr or "https" in result.stderr) == (2, True)


def test_a_manifest_with_a_fault(desk: Desk, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("episode_id,audio_url\n,not a url\n")
    result = desk.run("costs", "quote", str(bad))
    assert result.exit_code == 2
    assert "nothing was done" in result.stderr


def test_a_bad_prices_file(desk: Desk, manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prices.toml").write_text("[devices]\ncuda = 0.4\n")
    monkeypatch.setenv("PODINSIGHT_PRICES_FILE", str(tmp_path / "prices.toml"))
    result = desk.run("costs", "quote", manifest)
    assert (result.exit_code, "devices.cuda must be a table" in result.stderr) == (2, True)
