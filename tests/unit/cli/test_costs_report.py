"""podrun costs report adds up to the micro-dollar, and says what holds (G1, G3, G7)."""

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podinsight.cli import costs_report
from podinsight.cli.costs_rows import COLUMNS, Row, amount, to_csv
from podinsight.domain.days import day_of
from podinsight.domain.feed import FeedItem
from podinsight.domain.money import Unit, micros, usd
from podinsight.ports import Bearer, By, Entry, Reservation, Total
from tests.unit.cli.desk import Desk

HOUR, GB = 3_600_000, 10**9
DOCS = Path(__file__).resolve().parents[3] / "docs" / "costs.md"


def today() -> str:
    return day_of(time.time())


def gpu(hours: float, price: str = "0.526", *, service: str = "gpu", estimated: bool = False) -> Entry:
    return Entry(
        "transcribe", service, int(hours * HOUR), Unit.MILLISECONDS, micros(price), "cuda", estimated=estimated
    )


@pytest.fixture
def spent(desk: Desk) -> Desk:
    """Two episodes, one of them with a title that a spreadsheet would run, and idle time that nobody bears."""
    purse, now = desk.store.purse, today()
    items = {
        name: desk.store.catalogue.add_direct(FeedItem(name, title, f"http://a.test/{name}.mp3"))
        for name, title in (("dear", "=HYPERLINK(1)"), ("cheap", "a\x1b[31m title"))
    }
    purse.charge("1", Bearer(now, items["dear"].id, "direct", "r1"), [gpu(6), gpu(0.5, estimated=True)])
    purse.charge("2", Bearer("2026-01-31", items["cheap"].id, "direct", "r1"), [gpu(0.0001)])
    purse.charge(
        "3",
        Bearer("2026-02-01", items["cheap"].id, "direct"),
        [gpu(0.1), Entry("fetch", "nat", 3 * GB, Unit.BYTES, 45_000)],
    )
    purse.charge("4", Bearer(now), [gpu(1, service="idle"), Entry("fetch", "cpu", HOUR, Unit.MILLISECONDS, 0, "cpu")])
    return desk


def ledger(desk: Desk, since: str = "2020-01-01") -> int:
    return sum(line.entry.micros for line in desk.store.purse.entries(since, today()))


@pytest.mark.parametrize("by", list(By))
def test_every_way_adds_up_to_the_ledger(spent: Desk, by: By) -> None:
    found = spent.json("costs", "report", "--by", by.value, "--since", "2026-01-01")
    assert found["total_micros"] == sum(row["micros"] for row in found["rows"]) == ledger(spent)
    assert found["total_usd"] == amount(ledger(spent))
    said = spent.run("costs", "report", "--by", by.value, "--since", "2026-01-01").stdout
    assert f"total {usd(ledger(spent))}, {usd(263_000)} of it estimated (~): 7 lines of the ledger" in said


def test_a_day_has_a_bar_and_quantities(spent: Desk) -> None:
    said = spent.run("costs", "report", "--since", "2026-01-01").stdout.splitlines()
    assert said[0].split() == ["day", "cost", "share", "gpu", "idle", "fetch,", "plan", "bytes"]
    rows = {line.split()[0]: line for line in said[1:4]}
    assert list(rows) == ["2026-01-31", "2026-02-01", today()]
    assert "█" * 24 in rows[today()]
    assert f"~{usd(micros('3.945'))}" in rows[today()]
    assert "6.5 h" in rows[today()]
    assert "▏" in rows["2026-01-31"]
    assert "3.0 GB" in rows["2026-02-01"]
    assert "\x1b" not in "".join(said)


def test_dear_episodes_with_their_titles(spent: Desk) -> None:
    """--over 3 (G7)."""
    found = spent.json("costs", "report", "--by", "item", "--over", "3", "--since", "2026-01-01")
    assert [(row["label"], row["micros"]) for row in found["rows"]] == [("direct: =HYPERLINK(1)", 3_419_000)]
    assert (found["left_out"], found["total_micros"]) == (2, ledger(spent))
    said = spent.run("costs", "report", "--by", "item", "--over", "$3.00", "--since", "2026-01-01").stdout
    assert f"not shown: 2 with {usd(ledger(spent) - 3_419_000)} in all" in said
    assert spent.json("costs", "report", "--by", "item", "--over", "3.419")["rows"] == []  # more than, not as much
    for over in ("0", "0.000001"):
        found = spent.json("costs", "report", "--by", "item", "--over", over, "--since", "2026-01-01")
        assert "" not in [row["key"] for row in found["rows"]], "idle time is no episode"


@pytest.mark.parametrize(
    ("by", "name"),
    [
        (By.ITEM, "(of no episode: idle time, storage, feeds)"),
        (By.FEED, "(of no feed: idle time, storage)"),
        (By.RUN, "(of no run: idle time, downloads)"),
    ],
)
def test_what_nobody_bears_has_a_name(spent: Desk, by: By, name: str) -> None:
    said = spent.run("costs", "report", "--by", by.value, "--since", "2026-01-01").stdout
    assert sum(line.startswith(name) for line in said.splitlines()) == 1
    assert "" in [row["key"] for row in spent.json("costs", "report", "--by", by.value)["rows"]], (
        "programs see no words"
    )


def test_titles_cannot_speak_to_a_terminal(spent: Desk) -> None:
    assert "a [31m title" in spent.run("costs", "report", "--by", "item", "--since", "2026-01-01").stdout


def test_a_limit_keeps_the_dearest_and_the_last_days(spent: Desk) -> None:
    words = ("costs", "report", "--since", "2026-01-01", "--limit", "1", "--by")
    assert [row["key"] for row in spent.json(*words, "day")["rows"]] == [today()]
    assert [row["key"] for row in spent.json(*words, "stage")["rows"]] == ["transcribe"]


def test_what_is_asked_for_without_days(spent: Desk) -> None:
    """The last thirty days; for months a year."""
    found = spent.json("costs", "report")
    assert [row["key"] for row in found["rows"]] == [today()]
    spent.store.purse.charge("old", Bearer("2026-01-15"), [gpu(1)])
    found = spent.json("costs", "report", "--until", "2026-02-13")
    assert (found["since"], found["until"]) == ("2026-01-15", "2026-02-13")
    found = spent.json("costs", "report", "--by", "month", "--until", "2026-02-13")
    assert (found["since"], [row["key"] for row in found["rows"]]) == ("2025-02-01", ["2026-01", "2026-02"])


def test_levels_and_where_they_come_from(spent: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODINSIGHT_STOP_GPU_DAY_USD", "5")
    spent.store.purse.reserve(Reservation("r", 1_000_000), {})
    levels = {each["scope"]: each for each in spent.json("costs", "report")["levels"]}
    assert list(levels) == ["day", "gpu_day", "month", "project", "item"]
    day = levels["gpu_day"]
    assert (day["key"], day["spent_micros"], day["reserved_micros"], day["stop_micros"]) == (
        today(), 3_945_000, 1_000_000, 5_000_000,
    )  # fmt: skip
    assert day["settings"]["stop_gpu_day_usd"] == "environment PODINSIGHT_STOP_GPU_DAY_USD"
    assert (levels["day"]["stop_micros"], levels["day"]["alert_micros"]) == (None, [5_000_000, 15_000_000])
    said = spent.run("costs", "report").stdout
    assert "$3.945     $1.00    $5.00" in said
    assert "stop_gpu_day_usd: environment PODINSIGHT_STOP_GPU_DAY_USD" in said


def test_an_empty_ledger_says_so(desk: Desk) -> None:
    result = desk.run("costs", "report", "--since", "2026-01-01", "--until", "2026-01-02")
    assert result.exit_code == 0
    assert result.stdout.startswith("nothing was spent, 2026-01-01 to 2026-01-02 (UTC)")
    assert "$40.00" in result.stdout
    assert desk.json("costs", "report")["total_micros"] == 0
    assert desk.run("costs", "report", "--csv").stdout_bytes.decode() == ",".join(COLUMNS) + "\r\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--since", "2026-02-30"), "2026-11-22"),
        (("--since", "yesterday"), "2026-11-22"),
        (("--until", "2026-1-1"), "2026-11-22"),
        (("--until", "0000-01-01"), "2026-11-22"),
        (("--since", "2026-03-01", "--until", "2026-02-01"), "after"),
        (("--since", "2999-01-01"), "--since 2999-01-01 lies in the future: today is 20"),
        (("--since", "2999-01-02", "--until", "2999-01-01"), "--since 2999-01-02 is after --until 2999-01-01"),
        (("--over", "-1"), "--over '-1'"),
        (("--over", "much"), "3 or 2.50"),
        (("--over", "nan"), "3 or 2.50"),
        (("--limit", "0"), "0"),
        (("--by", "colour"), "colour"),
        (("--csv", "--json"), "one of them"),
    ],
)
def test_wrong_use_says_what_to_do(desk: Desk, words: tuple[str, ...], hint: str) -> None:
    result = desk.run("costs", "report", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert hint in result.stderr


def test_the_first_days_there_are(desk: Desk) -> None:
    for by in ("day", "month"):
        found = desk.json("costs", "report", "--by", by, "--since", "0001-01-01")
        assert (found["since"], found["rows"]) == ("0001-01-01", [])
    for by in ("day", "month"):
        assert desk.run("costs", "report", "--by", by, "--until", "1970-01-05").exit_code == 0


def test_csv_of_the_report(spent: Desk) -> None:
    """RFC 4180: CRLF, a header, and one record for each row; no formula."""
    said = spent.run("costs", "report", "--csv", "--by", "item", "--since", "2026-01-01").stdout_bytes.decode()
    rows = list(csv.DictReader(io.StringIO(said, newline=""), strict=True))
    assert said.count("\r\n") == len(rows) + 1 == 4
    assert [row["usd"] for row in rows] == ["3.419000", "0.526000", "0.187653"]
    assert sum(int(row["micros"]) for row in rows) == ledger(spent)
    assert rows[1]["key"] == rows[1]["label"] == ""


@given(st.text(st.characters(codec="utf-8"), max_size=30), st.text(st.characters(codec="utf-8"), max_size=30))
def test_no_cell_is_a_formula(key: str, label: str) -> None:
    said = to_csv(By.RUN, [Row(Total(key, 1, 0, 1), label)])
    ((header), record) = csv.reader(io.StringIO(said, newline=""), strict=True)
    assert header == list(COLUMNS)
    assert not any(cell[:1] in set("=+-@\t\r\n＝＋－＠") for cell in record if cell)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "＝1"])
def test_a_formula_is_text(text: str) -> None:
    assert f",'{text.strip()}," in to_csv(By.RUN, [Row(Total("k", 1, 0, 1), text)])


@pytest.mark.parametrize("share", [0, 1, 10**6, 10**15])
def test_a_bar_is_never_longer_than_its_room(share: int) -> None:
    bar = costs_report._bar(share, 10**15)
    assert len(bar) <= costs_report._BAR
    assert bool(bar) == bool(share)


def keys(found: Any) -> set[str]:
    if isinstance(found, list):
        return {key for each in found for key in keys(each)}
    return {key for name, each in found.items() for key in ({name} | keys(each))} if isinstance(found, dict) else set()


def test_every_key_is_documented(spent: Desk) -> None:
    text = DOCS.read_text("utf-8")
    found = json.loads(spent.run("costs", "report", "--json").stdout)
    settings = {name for level in found["levels"] for name in level["settings"]}
    assert [key for key in sorted(keys(found) - settings) if f"`{key}`" not in text] == []
    assert [column for column in COLUMNS if f"`{column}`" not in text] == []
