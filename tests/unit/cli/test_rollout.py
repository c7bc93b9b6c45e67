"""podrun manifest, fetch --manifest, gate, adopt, hosts and retry on a small web (F2, F3, F14, F15)."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from podinsight.domain.hosts import GateState, HostNote, HostRule
from podinsight.domain.identity import direct_guid
from podinsight.domain.work import State
from podinsight.errors import Unavailable
from tests.support.audio import tone
from tests.unit.cli.desk import Desk
from tests.unit.cli.test_work_commands import states, working


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


# ---------------------------------------------------------------------------------------------------- manifest


def test_manifest_make_stores_it_where_it_says(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 3))
    said = desk.json("manifest", "make")
    assert said["episodes"] == 3
    path = Path(said["written"])
    assert path.parent == desk.folder / "objects" / "manifests"
    assert path.suffix == ".csv"
    assert desk.run("manifest", "check", f"manifests/{path.name}").stdout == "3 rows, 0 faults, 0 duplicates\n"
    assert desk.run("manifest", "check", path.as_uri()).exit_code == 0
    assert desk.run("manifest", "make").stdout == f"3 episodes in {path}\n"


def test_manifest_make_to_a_file_and_to_the_standard_output(desk: Desk, tmp_path: Path) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 3), desk.serve_feed("/b", "Other Show", 1))
    target = tmp_path / "out.csv"
    assert desk.run("manifest", "make", "--limit", "2", "--output", str(target)).exit_code == 0
    assert target.read_text().count("\n") == 3
    text = desk.run("manifest", "make", "--feed", "other-show", "--output", "-").stdout
    assert [line.split(",")[1] for line in text.splitlines()] == ["feed_slug", "other-show"]
    assert desk.run("manifest", "make", "--output", "-", "--json").exit_code == 2
    missing = desk.run("manifest", "make", "--output", str(tmp_path / "none" / "out.csv"))
    assert (missing.exit_code, missing.stderr.count("\n")) == (1, 1)
    assert [path.name for path in tmp_path.glob("*.tmp")] == []


def test_manifest_make_polls_first_when_asked(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 1), desk.serve_feed("/b", "Other Show", 1))
    desk.serve_feed("/a", "First Show", 3)
    desk.web.fail("/b.xml", 404)
    result = desk.run("manifest", "make", "--poll")
    assert result.exit_code == 1
    assert "/b.xml" in result.stderr
    assert result.stdout.startswith("4 episodes in ")


def test_manifest_check_tells_lines_and_exit_codes(desk: Desk, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("url,tier\nhttps://a.test/1.mp3,1\nnonsense,2\nhttps://a.test/1.mp3,1\n")
    result = desk.run("manifest", "check", str(bad))
    assert result.exit_code == 1
    assert result.stdout == "3 rows, 1 fault, 1 duplicate\n"
    assert f"podrun: {bad}:3: url: not an http or https URL: nonsense\n" in result.stderr
    assert "tier" in result.stderr
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    for source in (str(empty), str(tmp_path / "none.csv"), "manifests/none.csv", str(tmp_path), "https://a.test/m.csv"):
        result = desk.run("manifest", "check", source)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), source


# ---------------------------------------------------------------------------------------------------- fetch


@pytest.fixture
def listed(desk: Desk, tmp_path: Path) -> str:
    """A manifest of four episodes that nobody knows here, the last of them a bare URL."""
    desk.serve_feed("/a", "First Show", 3)
    single = desk.web.serve("/single.mp3", tone("mp3", 1.0), mime="audio/mpeg")
    feed = desk.web.url("/a.xml")
    rows = [f"{feed},guid-{number},{desk.web.url(f'/a/{number}.mp3')}" for number in (3, 1, 2)]
    path = tmp_path / "list.csv"
    path.write_text("\n".join(["feed_url,guid,url", *rows, f",,{single}"]) + "\n")
    return str(path)


def test_a_dry_run_of_a_manifest_changes_nothing(desk: Desk, listed: str) -> None:
    for word in ("--manifest", "--manifest-s3"):
        said = desk.json("fetch", word, listed, "--limit", "3", "--dry-run")["fetch"]
        assert (said["to_do"], said["done"], said["usd"]) == (3, 0, 0.0)
    assert (desk.episodes(), desk.store.catalogue.feeds(), desk.store.work.counts()) == ([], [], [])


def test_manifests_are_fetched_in_their_order_and_count_what_is_there(desk: Desk, listed: str) -> None:
    """F3: 50, then 200, then 1000 fetches 50, 150 and 800."""
    with working(desk):
        first = lines(desk.run("fetch", "--manifest", listed, "--limit", "1", "--json").stdout)
        second = lines(desk.run("fetch", "--manifest", listed, "--limit", "3", "--json").stdout)
        whole = desk.run("fetch", "--manifest", listed)
    assert [each["title"] for each in first[:-1]] == ["3.mp3"]
    assert [(each[-1]["fetch"]["done"], each[-1]["fetch"]["already"]) for each in (first, second)] == [(1, 0), (2, 1)]  # type: ignore[index]
    assert whole.exit_code == 0, whole.output
    assert whole.stdout.splitlines()[1].startswith("fetched 1 episode, 0 failed, 3 there already")
    assert {episode.guid for episode in desk.episodes()} >= {"guid-1", "guid-2", "guid-3"}
    desk.run("feeds", "add", desk.web.url("/a.xml"))
    assert len(desk.episodes()) == 4


def test_a_manifest_of_our_own_and_a_url_of_it_are_read(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 2))
    where = Path(desk.json("manifest", "make")["written"])
    for source in (f"manifests/{where.name}", where.as_uri(), str(where)):
        assert desk.json("fetch", "--dry-run", "--manifest", source)["fetch"]["to_do"] == 2


@pytest.mark.parametrize("row", ["nonsense", "0123456789abcdef0123"])
def test_a_faulty_manifest_changes_nothing(desk: Desk, tmp_path: Path, row: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(f"url,episode_id\nhttps://a.test/1.mp3,\n{row},\n,{row}\n")
    result = desk.run("fetch", "--manifest", str(path), "--no-wait")
    assert result.exit_code == 2
    assert "line 3" in result.stderr
    assert (desk.episodes(), desk.store.work.counts()) == ([], [])


def test_manifests_go_with_neither_episodes_nor_feeds(desk: Desk, listed: str) -> None:
    for words in (("x",), ("--feed", "x")):
        assert desk.run("fetch", "--manifest", listed, *words).exit_code == 2


def test_without_a_worker_a_manifest_makes_nothing_known(desk: Desk, listed: str) -> None:
    assert desk.run("fetch", "--manifest", listed).exit_code == 3
    assert desk.episodes() == []
    assert desk.json("fetch", "--manifest", listed, "--no-wait")["fetch"] == 4
    assert states(desk) == [State.WAITING] * 4


def test_transcribe_takes_what_of_a_manifest_is_downloaded(desk: Desk, listed: str) -> None:
    with working(desk):
        desk.run("fetch", "--manifest", listed, "--limit", "2")
    result = desk.run("transcribe", "--manifest", listed, "--dry-run", "--model", "tiny.en")
    assert result.exit_code == 0
    assert "2 are not downloaded" in result.stderr
    assert result.stdout.startswith("would transcribe 2 episodes")


def test_the_summary_tells_the_rates_against_the_goals(desk: Desk) -> None:
    """T9: more than 98 % downloaded, less than 1 % answered 429."""
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 3, broken=1))
    with working(desk):
        result = desk.run("fetch")
    assert "downloaded 66.66 % of 3 (goal > 98 %: missed)" in result.stdout
    desk.run("feeds", "add", desk.serve_feed("/b", "Other Show", 1))
    with working(desk):
        summary = lines(desk.run("fetch", "--feed", "other-show", "--json").stdout)[-1]["fetch"]
    assert isinstance(summary, dict)
    assert (summary["success_rate"], summary["success_met"], summary["success_goal"]) == (1.0, True, 0.98)
    assert summary["throttled"] == 0
    assert summary["throttled_goal"] == 0.01


# ---------------------------------------------------------------------------------------------------- gate


def test_the_gate_is_green_when_all_is_there_and_red_when_an_object_is_gone(desk: Desk) -> None:
    assert desk.run("gate", "fetch").exit_code == 2
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 2))
    assert desk.run("gate", "fetch").exit_code == 1
    with working(desk):
        desk.run("fetch")
    desk.store.hosts.observe([HostNote("127.0.0.1", requests=10)])
    result = desk.run("gate", "fetch")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("the gate fetch is green\n")
    key = desk.episodes()[0].audio_key
    assert key is not None
    desk.world.objects.delete([key])
    result = desk.run("gate", "fetch", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert [each["name"] for each in document["criteria"] if not each["green"]] == ["audio objects"]
    assert key in result.stderr
    assert desk.run("gate", "transcribe", "--limit", "1").exit_code == 1


def test_the_gate_is_not_green_while_the_database_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def page(self, *_words: object) -> None:
            raise Unavailable("the database does not answer")

    monkeypatch.setattr(desk.store, "intake", Away())
    result = desk.run("gate", "fetch")
    assert (result.exit_code, result.stderr) == (2, "podrun: nothing is proven: the database does not answer\n")


# ---------------------------------------------------------------------------------------------------- adopt


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """20vc's folder of an old archive: one good episode, one that is no audio."""
    for name, audio in (("good", tone("mp3", 1.0)), ("bad", b"nothing of the kind" * 9)):
        folder = tmp_path / "archive" / "raw" / "20vc" / name
        for part in ("audio", "meta"):
            (folder / part).mkdir(parents=True)
        (folder / "audio" / "20vc-episode.mp3").write_bytes(audio)
        (folder / "meta" / "meta.json").write_text(json.dumps({"guid": f"guid-{name}"}))
    return tmp_path / "archive"


def test_adopt_registers_an_archive_and_tells_what_is_broken(desk: Desk, archive: Path) -> None:
    url = archive.as_uri()
    dry = desk.run("adopt", url, "--dry-run")
    assert "2 would be adopted" in dry.stdout
    assert desk.episodes() == []
    result = desk.run("adopt", url)
    assert result.exit_code == 1
    assert result.stderr.startswith("podrun: 20vc/bad: ")
    assert result.stdout.splitlines()[-1].startswith("all: 1 adopted (1 audio, 0 transcripts, ")
    again = lines(desk.run("adopt", url, "--json").stdout)
    assert (again[-1]["known"], again[-1]["broken"], again[-1]["adopted"]) == (1, 1, 0)
    assert desk.json("fetch", "--dry-run")["fetch"] | {"declared_bytes": 0} == {
        "to_do": 0, "queued": 0, "done": 1, "failed": 0, "declared_bytes": 0, "declared_bytes_of": 0,
        "audio_seconds": 0, "audio_seconds_unknown": 0, "usd": 0.0,
    }  # fmt: skip
    assert desk.run("gate", "fetch").exit_code == 0


def test_adopt_leaves_what_lies_in_our_own_store_where_it_is(desk: Desk, archive: Path) -> None:
    objects = desk.folder / "objects"
    objects.mkdir(parents=True, exist_ok=True)
    (objects / "raw").rmdir() if (objects / "raw").exists() else None
    (archive / "raw").rename(objects / "raw")
    assert desk.run("adopt", objects.as_uri()).exit_code == 1
    (episode,) = desk.episodes()
    assert episode.audio_key == "raw/20vc/good/audio/20vc-episode.mp3"
    assert desk.run("adopt", (objects / "raw").as_uri()).stdout.startswith("20vc: 0 adopted")


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_adopt_says_where_nothing_was_found(desk: Desk, tmp_path: Path, words: tuple[str, ...]) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        place.mkdir()
    result = desk.run("adopt", *(place.as_uri() for place in places), *words)
    assert result.exit_code == 1
    assert all(place.as_uri() in result.stderr for place in places)


def test_adopt_gives_a_folder_to_its_feed(desk: Desk, archive: Path) -> None:
    url = desk.serve_feed("/a", "Twenty Minutes", 2)
    desk.run("adopt", archive.as_uri())
    result = desk.run("adopt", "--feed", f"20vc={url}")
    assert (result.exit_code, result.stdout) == (0, "20vc: the feed 20vc with 1 episode, polled from now on\n")
    desk.run("feeds", "add", url)
    assert [(feed.slug, feed.episodes) for feed in desk.store.catalogue.feeds()] == [("20vc", 3)]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 2),
        (("https://a.test/x",), 2),
        (("file:///no/such/folder",), 2),
        (("s3://ada:secret@bucket/x",), 2),
        (("--feed", "20vc"), 2),
        (("--feed", "../x=https://a.test/"), 2),
        (("--feed", "20vc=nonsense"), 2),
    ],
)
def test_adopt_of_what_is_no_archive(desk: Desk, words: tuple[str, ...], code: int) -> None:
    result = desk.run("adopt", *words)
    assert (result.exit_code, result.stderr.count("\n")) == (code, 1)
    assert "secret" not in result.output


def test_adopt_of_an_empty_folder_says_so(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert desk.run("adopt", (tmp_path / "empty").as_uri()).exit_code == 1
    assert desk.store.catalogue.feeds() == []


# ---------------------------------------------------------------------------------------------------- hosts, retry


class Gate:
    """A gate that holds a host down, or is away."""

    def __init__(self, away: bool) -> None:
        self.away = away

    def state(self, host: str, rule: HostRule) -> GateState:
        if self.away:
            raise Unavailable("Redis does not answer")
        return GateState(max(1, rule.limit // 2), 1, 4e9)


@pytest.fixture(params=["there", "away"])
def watched(desk: Desk, request: pytest.FixtureRequest) -> Desk:
    desk.store.hosts.observe([HostNote("megaphone.fm", requests=100, throttled=3, failed=2, limit_now=2)])
    world = replace(desk.world, gate=Gate(request.param == "away"))  # type: ignore[arg-type]
    return replace(desk, world=world)


def test_hosts_shows_limits_and_what_is_in_flight(watched: Desk) -> None:
    assert isinstance(watched.world.gate, Gate)
    away = watched.world.gate.away
    result = watched.run("hosts")
    assert result.exit_code == 0
    assert ("Redis does not answer" in result.stderr) is away
    row = result.stdout.splitlines()[1]
    assert row.startswith("megaphone.fm  2 of 5")
    assert row.split()[-3:] == ["100", "3", "2"]
    document = json.loads(watched.run("hosts", "--json").stdout)
    assert document["gate_answers"] is not away
    (host,) = document["hosts"]
    assert (host["limit"], host["full_limit"], host["in_flight"]) == (2, 5, None if away else 1)
    assert (host["cooling_until"] is None) is away


def test_hosts_set_lays_down_a_rule_and_takes_it_back(desk: Desk) -> None:
    assert desk.run("hosts").stdout == "no host was asked for anything today, and none has a rule\n"
    assert desk.run("hosts", "set", "Libsyn.com.", "--limit", "2").stdout.startswith("libsyn.com: 2 at a time")
    assert desk.json("hosts", "set", "libsyn.com", "--rate", "0.5") == {
        "host": "libsyn.com", "limit": 2, "rate": 0.5, "reset": False, "pause_seconds": 0.0,
    }  # fmt: skip
    assert desk.json("hosts", "set", "libsyn.com", "--reset")["limit"] == 3


def test_hosts_set_pauses_hosts_that_fall_under_another_key(desk: Desk) -> None:
    result = desk.run("hosts", "set", "show.example", "--limit", "2")
    assert result.stdout.splitlines()[1:] == ["nothing is requested there for 20 s, so that requests of before can end"]
    cooling = desk.store.hosts.row("show.example", "2026-11-22").cooling_until
    assert cooling == pytest.approx(time.time() + 20, abs=5)
    assert len(desk.run("hosts", "set", "show.example", "--limit", "3").stdout.splitlines()) == 1
    assert desk.json("hosts", "set", "show.example", "--reset")["pause_seconds"] == 20.0


@pytest.mark.parametrize(
    "words",
    [
        ("https://libsyn.com", "--limit", "2"),
        ("libsyn.com:443", "--limit", "2"),
        ("libsyn.com/x", "--limit", "2"),
        ("ada@libsyn.com", "--limit", "2"),
        ("", "--limit", "2"),
        ("libsyn.com",),
        ("libsyn.com", "--limit", "0"),
        ("libsyn.com", "--rate", "0"),
        ("libsyn.com", "--rate", "nan"),
        ("libsyn.com", "--limit", "2", "--reset"),
    ],
)
def test_hosts_set_of_what_is_no_rule(desk: Desk, words: tuple[str, ...]) -> None:
    assert desk.run("hosts", "set", *words).exit_code == 2
    assert desk.store.hosts.rows("2026-11-22") == []


def test_retry_says_what_it_starts_over(desk: Desk) -> None:
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 2, broken=1))
    with working(desk):
        desk.run("fetch")
    failed = desk.episodes()[1]
    assert desk.json("retry", "--failed", "--host", "elsewhere.test") == {"retried": 0, "rows": []}
    result = desk.run("retry", "--failed", "--host", "127.0.0.1:8080")
    assert result.stdout.splitlines() == [
        "1 row starts over",
        f"  fetch {failed.id} first-show: guid-2 (127.0.0.1)",
    ]
    assert direct_guid(failed.url) not in result.stdout
