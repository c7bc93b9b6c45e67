"""podrun feeds check, import, export and set."""

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Self

import pytest
from click.testing import CliRunner

from podinsight.cli import feeds_check
from podinsight.cli.main import cli
from podinsight.domain.feed import Document
from podinsight.errors import Busy, GateAway, Permanent, PodinsightError, Unavailable
from tests.support.feeds import rss
from tests.unit.cli.desk import Desk

ITEM = """<item><title>One &amp;amp; only</title><guid>g1</guid><pubDate>Tue, 02 Jan 2024 10:00:00 +0200</pubDate>
<itunes:duration>1:02:03</itunes:duration><itunes:season>2</itunes:season><itunes:episode>3</itunes:episode>
<podcast:transcript url="https://e.com/1.vtt" type="text/vtt" language="de"/>
<podcast:person role="guest">Bob</podcast:person><podcast:chapters url="https://e.com/c.json" type="application/json"/>
<enclosure url="https://me:pa55@e.com/1.mp3?token=t" type="audio/mpeg" length="12"/></item>"""
FEED = f"""<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"
xmlns:podcast="https://podcastindex.org/namespace/1.0"><channel><title>The Show</title><link>https://e.com</link>
<language>en</language><itunes:new-feed-url>https://new.example/feed</itunes:new-feed-url>{ITEM}
<item><title>No audio</title></item></channel></rss>"""


@pytest.fixture
def feed(tmp_path: Path) -> str:
    path = tmp_path / "feed.xml"
    path.write_text(FEED)
    return str(path)


# ------------------------------------------------------------------------------------------------------- check


def test_check_says_in_json_what_is_read(desk: Desk, feed: str) -> None:
    """Issue 3, item 4: one JSON line a feed."""
    result = desk.run("feeds", "check", feed, feed, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert json.loads(lines[0]) == {
        "source": feed,
        "feed": {
            "title": "The Show",
            "link": "https://e.com/",
            "language": "en",
            "image": None,
            "new_url": "https://new.example/feed",
            "podcast_guid": None,
        },
        "episodes": [
            {
                "guid": "g1",
                "title": "One & only",
                "published": "2024-01-02T08:00:00+00:00",
                "url": "https://***@e.com/1.mp3?token=t",
                "mime": "audio/mpeg",
                "length": 12,
                "duration": 3723,
                "season": 2,
                "episode": 3,
                "image": None,
                "transcripts": [{"url": "https://e.com/1.vtt", "type": "text/vtt", "language": "de"}],
                "chapters": {"url": "https://e.com/c.json", "type": "application/json"},
                "persons": [{"name": "Bob", "role": "guest", "href": None}],
            }
        ],
        "notes": ["an item without audio was left out, first: No audio"],
    }
    assert desk.store.catalogue.feeds() == [], "nothing is written"


def test_check_tells_a_person(desk: Desk, feed: str) -> None:
    lines = desk.run("feeds", "check", feed).stdout.splitlines()
    assert lines[0] == "The Show"
    assert "  episodes:      1, 1.0 h as declared" in lines
    assert "  first:         2024-01-02" in lines
    assert "  moves to:      https://new.example/feed" in lines
    assert "  odd:           an item without audio was left out, first: No audio" in lines


def test_what_is_no_feed_is_said_and_the_others_are_checked(desk: Desk, feed: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><html><title>Hi</title></html>")
    result = desk.run("feeds", "check", str(page), str(tmp_path / "none"), feed, "--json")
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert documents[0] == {"source": str(page), "error": 'not a feed: an HTML page (title "Hi")'}
    assert documents[1]["error"] == "cannot be opened: No such file or directory"
    assert len(documents[2]["episodes"]) == 1
    assert result.stderr.count("podrun: ") == 2


def test_check_reads_standard_input(desk: Desk) -> None:
    result = CliRunner().invoke(cli, ["feeds", "check", "-", "--json"], input=FEED, prog_name="podrun")
    assert json.loads(result.stdout)["feed"]["title"] == "The Show"


def test_relative_links_of_a_file_need_its_base(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    path.write_bytes(rss("Show", [("1", "a.mp3")]))
    assert desk.json("feeds", "check", str(path))["episodes"] == []
    (episode,) = desk.json("feeds", "check", str(path), "--base", "https://e.com/x/feed")["episodes"]
    assert episode["url"] == "https://e.com/x/a.mp3"


def test_a_file_is_checked_without_any_stack(feed: str, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODINSIGHT_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    result = CliRunner().invoke(cli, ["feeds", "check", feed, "--json"], prog_name="podrun")
    assert result.exit_code == 0
    assert not state.exists()


class Web:
    """A fetcher that has one document for each URL."""

    def __init__(self, documents: dict[str, str]) -> None:
        self._documents = documents

    def metered(self, _received: object) -> Self:
        return self

    def document(self, url: str, *_more: object, **_named: object) -> Document:
        if url not in self._documents:
            raise Permanent("404")
        return Document(url, BytesIO(self._documents[url].encode()))


class NoGate:
    """A fetcher whose host gate is away."""

    def metered(self, _received: object) -> Self:
        return self

    def document(self, url: str, *_more: object, **_named: object) -> Document:
        raise Unavailable("the host gate does not answer")


def test_a_url_needs_the_host_gate_and_a_file_does_not(desk: Desk, feed: str) -> None:
    desk.world = replace(desk.world, fetcher=NoGate())  # type: ignore[arg-type]
    result = desk.run("feeds", "check", "https://me:pa55@e.com/feed", feed, "--json")
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert result.exit_code == 3
    assert first == {
        "source": "https://e.com/feed",
        "error": "the host gate does not answer; a URL needs the stack (`podrun up`), a file does not",
    }
    assert second["feed"]["title"] == "The Show"


def test_a_url_is_fetched_and_passwords_are_not_shown(desk: Desk) -> None:
    desk.world = replace(desk.world, fetcher=Web({"https://me:pa55@e.com/feed": FEED}))  # type: ignore[arg-type]
    result = desk.run("feeds", "check", "https://me:pa55@e.com/feed", "--json")
    assert json.loads(result.stdout)["source"] == "https://e.com/feed"
    assert "pa55" not in result.output


def test_check_of_a_wrong_url_is_wrong_use(desk: Desk) -> None:
    assert desk.run("feeds", "check", "gopher://e.com/feed").exit_code == 2


def test_odd_moments_are_none() -> None:
    assert feeds_check._iso(1e20) is None
    assert feeds_check._iso(-1.0) == "1969-12-31T23:59:59+00:00"


# -------------------------------------------------------------------------------------------- import and export

OPML = """<opml version="2.0"><body><outline text="News"><outline text="A" xmlUrl="https://a.example/feed"/>
<outline text="B" xmlUrl="https://u:pa55@b.example/feed?auth=s3cret&amp;x=1"/></outline>
<outline text="C" xmlUrl="https://c.example/feed"/></body></opml>"""


@pytest.fixture
def listed(tmp_path: Path) -> str:
    path = tmp_path / "list.opml"
    path.write_text(OPML)
    return str(path)


def test_import_is_idempotent(desk: Desk, listed: str) -> None:
    result = desk.run("feeds", "import", listed)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "3 new feeds")
    assert {feed.url: feed.tier for feed in desk.store.catalogue.feeds()} == {
        "https://a.example/feed": "News",
        "https://u:pa55@b.example/feed?auth=s3cret&x=1": "News",
        "https://c.example/feed": None,
    }
    assert desk.run("feeds", "import", listed).stdout == "0 new feeds, 3 known already\n"
    again = desk.json("feeds", "import", listed)
    assert (again["new"], again["known"], len(again["feeds"])) == (0, 3, 3)
    assert "pa55" not in json.dumps(again)
    assert "s3cret" not in json.dumps(again)


def test_a_list_with_a_fault_adds_nothing(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "tier1_feeds.yaml"
    path.write_text("- https://a.example/feed\n- name: Oops\n")
    result = desk.run("feeds", "import", str(path))
    assert result.exit_code == 1
    assert "entry 2 (Oops): no URL" in result.stderr
    assert desk.store.catalogue.feeds() == []


def test_import_of_tiers_with_user_agents(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "tier1_feeds.yaml"
    path.write_text("- url: https://a.example/feed\n  user_agent: Special/1\n")
    desk.run("feeds", "import", str(path))
    (feed,) = desk.json("feeds", "list")["feeds"]
    assert (feed["tier"], feed["user_agent"]) == ("tier1", "Special/1")


def test_import_of_what_is_not_there(desk: Desk) -> None:
    result = desk.run("feeds", "import", "/no/such/file")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "cannot be opened" in result.stderr


def test_import_from_a_url_and_poll_at_once(desk: Desk) -> None:
    answers = {"https://lists.example/x.opml": OPML, "https://a.example/feed": FEED, "https://c.example/feed": "none"}
    desk.world = replace(desk.world, fetcher=Web(answers))  # type: ignore[arg-type]
    result = desk.run("feeds", "import", "https://lists.example/x.opml", "--poll")
    assert result.exit_code == 1
    assert result.stderr.count("404") == 1
    assert result.stderr.count("not a feed: plain text") == 1
    assert [feed.title for feed in desk.store.catalogue.feeds() if feed.slug] == ["The Show"]


class Shut:
    """A fetcher that is not let in."""

    def __init__(self, error: PodinsightError) -> None:
        self._error = error

    def metered(self, _received: object) -> Self:
        return self

    def document(self, url: str, *_more: object, **_named: object) -> Document:
        raise self._error


def test_import_and_poll_without_the_host_gate(desk: Desk, listed: str) -> None:
    error = GateAway("nothing is requested from a.example: the host gate does not answer", 3.0)
    desk.world = replace(desk.world, fetcher=Shut(error))  # type: ignore[arg-type]
    result = desk.run("feeds", "import", listed, "--poll", "--json")
    assert result.exit_code == 3
    assert result.stderr == f"podrun: not all feeds were read: {error}\n"
    assert json.loads(result.stdout)["new"] == 3, "they are followed all the same"
    assert desk.run("feeds", "add", "https://d.example/feed").exit_code == 3


def test_import_and_poll_tells_what_was_postponed(desk: Desk, listed: str) -> None:
    error = Busy("the host wants to be left alone for another 40 s", 40.0)
    desk.world = replace(desk.world, fetcher=Shut(error))  # type: ignore[arg-type]
    result = desk.run("feeds", "import", listed, "--poll", "--json")
    assert result.exit_code == 1
    assert f"podrun: https://c.example/feed: not read yet: {error}\n" in result.stderr
    assert "pa55" not in result.output
    assert "s3cret" not in result.output
    postponed = json.loads(result.stdout)["postponed"]
    assert len(postponed) == 3
    assert {"url": "https://a.example/feed", "reason": str(error)} in postponed


@pytest.mark.parametrize("name", ["out.opml", "out.yaml"])
def test_export_and_import_again(desk: Desk, listed: str, tmp_path: Path, name: str) -> None:
    desk.run("feeds", "import", listed)
    before = {feed.url: feed.tier for feed in desk.store.catalogue.feeds()}
    target = tmp_path / name
    assert desk.run("feeds", "export", "--with-credentials", str(target)).exit_code == 0
    assert target.stat().st_mode & 0o077 == 0, "passwords are for nobody else"
    for feed in desk.store.catalogue.feeds():
        desk.store.catalogue.remove_feed(feed.id)
    assert desk.json("feeds", "import", str(target))["new"] == 3
    assert {feed.url: feed.tier for feed in desk.store.catalogue.feeds()} == before


def test_export_without_credentials(desk: Desk, listed: str) -> None:
    desk.run("feeds", "import", listed)
    result = desk.run("feeds", "export")
    assert "pa55" not in result.output
    assert "s3cret" not in result.output
    assert 'xmlUrl="https://b.example/feed?x=1"' in result.stdout
    assert "1 URL written without the credentials in it" in result.stderr
    assert result.stdout.startswith("<?xml")
    assert desk.run("feeds", "export", "--format", "yaml").stdout.startswith("feeds:\n- url: https://a.example/feed\n")


@pytest.mark.parametrize("form", ["opml", "yaml"])
def test_feeds_of_nothing_but_an_archive_are_in_no_list(desk: Desk, listed: str, tmp_path: Path, form: str) -> None:
    """They have no address that could be imported (F15)."""
    desk.run("feeds", "import", listed)
    desk.store.intake.archive_feed("old-show", None)
    target = tmp_path / f"out.{form}"
    result = desk.run("feeds", "export", "--with-credentials", str(target))
    assert "old-show: left out, known from an archive alone" in result.stderr
    assert result.stdout == f"3 feeds in {target}\n"
    assert desk.json("feeds", "import", str(target))["known"] == 3
    assert {row["slug"]: row["url"] for row in desk.json("feeds", "list")["feeds"]}["old-show"] == "(from an archive)"
    assert "(from an archive)" in desk.run("feeds", "list").stdout


# --------------------------------------------------------------------------------------------------------- set


def test_set_the_user_agent_of_a_feed(desk: Desk) -> None:
    """F7: a per-feed override."""
    feed, _ = desk.store.catalogue.add_feed("https://a.example/feed")
    assert desk.run("feeds", "set", feed.id, "--user-agent", "Special/1", "--tier", "gold").exit_code == 0
    (row,) = desk.json("feeds", "list")["feeds"]
    assert (row["user_agent"], row["tier"]) == ("Special/1", "gold")
    assert desk.run("feeds", "set", feed.id, "--user-agent", "", "--tier", "").exit_code == 0
    (row,) = desk.json("feeds", "list")["feeds"]
    assert (row["user_agent"], row["tier"]) == (None, None)


@pytest.mark.parametrize("words", [("nobody", "--user-agent", "x"), ("direct", "--user-agent", "x"), ("direct",)])
def test_set_what_cannot_be_set(desk: Desk, words: tuple[str, ...]) -> None:
    assert desk.run("feeds", "set", *words).exit_code == 2
