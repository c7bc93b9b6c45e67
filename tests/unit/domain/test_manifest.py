"""The manifest's format (F2)."""

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podinsight.domain.archive import unknown_url
from podinsight.domain.episode import DIRECT_SLUG, Episode
from podinsight.domain.identity import direct_guid, episode_id, feed_id
from podinsight.domain.manifest import COLUMNS, Fault, ManifestRow, cells, guarded, to_csv, unguarded
from podinsight.domain.manifest_reader import LONGEST_LINE, ManifestReader, NotAManifest

FEED = "https://feeds.test/a.xml"
AUDIO = "https://cdn.test/1.mp3"
EPISODE = Episode(
    id=episode_id(feed_id(FEED), "guid-1"),
    seq=1,
    feed_id=feed_id(FEED),
    feed_slug="a-show",
    guid="guid-1",
    folder="guid-1",
    title='One, "two"\nand three',
    url=AUDIO,
    host="cdn.test",
    mime="audio/mpeg",
    length=1234,
    published=1_700_000_000.0,
    duration=61.5,
    season=2,
    number=7,
)


def read(text: str | bytes) -> list[ManifestRow | Fault]:
    return list(ManifestReader(io.BytesIO(text if isinstance(text, bytes) else text.encode())))


def written(*rows: list[str]) -> str:
    return to_csv([COLUMNS, *rows]).decode()


def faults(text: str) -> list[tuple[int, str]]:
    return [(row.line, row.text) for row in read(text) if isinstance(row, Fault)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_what_is_written_is_read_again(end: str, mark: bytes) -> None:
    text = written(cells(replace(EPISODE, title='One, "two"'), FEED)).replace("\n", end)
    (row,) = read(mark + text.encode())
    assert row == ManifestRow(
        line=2,
        episode_id=EPISODE.id,
        feed_url=FEED,
        feed_slug="a-show",
        guid="guid-1",
        title='One, "two"',
        published=EPISODE.published,
        url=AUDIO,
        mime="audio/mpeg",
        length=1234,
        duration=61.5,
        season=2,
        episode=7,
    )
    assert row.key == EPISODE.id
    assert row.places_itself
    assert row.item().guid == "guid-1"


@given(st.text())
def test_the_guard_against_formulas_loses_nothing(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_every_title_comes_back(title: str) -> None:
    (row,) = read(written(cells(replace(EPISODE, title=title), FEED)))
    assert isinstance(row, ManifestRow)
    assert row.title == title


def test_passwords_are_not_written() -> None:
    line = cells(replace(EPISODE, url="https://ada:secret@cdn.test/1.mp3"), "https://ada:secret@feeds.test/a.xml")
    assert "secret" not in ",".join(line)
    assert line[COLUMNS.index("url")] == AUDIO
    assert line[COLUMNS.index("feed_url")] == FEED


def test_an_enclosure_that_is_not_known_is_left_empty() -> None:
    line = cells(replace(EPISODE, url=unknown_url("a-show", "guid-1")), "adopted:a-show")
    assert (line[COLUMNS.index("url")], line[COLUMNS.index("feed_url")]) == ("", "")
    (row,) = read(written(line))
    assert isinstance(row, ManifestRow)
    assert (row.key, row.places_itself) == (EPISODE.id, False)


def test_a_bare_url_and_a_direct_episode_are_the_same() -> None:
    guid = direct_guid(AUDIO)
    direct = replace(EPISODE, id=episode_id(DIRECT_SLUG, guid), guid=guid, feed_slug=DIRECT_SLUG)
    rows = read(written(cells(direct, None))) + read(f"url\n{AUDIO}\n")
    assert [row.key for row in rows if isinstance(row, ManifestRow)] == [direct.id] * 2
    assert all(isinstance(row, ManifestRow) and row.places_itself for row in rows)


def test_lines_are_counted_over_quoted_newlines_and_blank_lines() -> None:
    text = f'url,title\n\n{AUDIO},"a\nb\nc"\nnonsense,x\n{AUDIO},"never closed\n{AUDIO},y\n'
    assert faults(text) == [
        (6, "url: not an http or https URL: nonsense"),
        (7, "a quote is opened here and never closed"),
    ]


@pytest.mark.parametrize(
    ("columns", "row", "said"),
    [
        ("url,title", AUDIO, "1 cells where the header has 2"),
        ("url,title", f"{AUDIO},a,b", "3 cells where the header has 2"),
        ("url,title", ",a", "no episode_id and no url"),
        ("url", "ftp://cdn.test/a.mp3", "url: not an http or https URL: ftp://cdn.test/a.mp3"),
        ("url", "https://ada:secret@/a", "url: a URL without a readable host name"),
        ("url,feed_url", f"{AUDIO},{FEED}", "a feed_url needs a guid beside it"),
        ("url,guid", f"{AUDIO},x", "a guid needs the feed_url in which it was issued"),
        ("episode_id", "XYZ", "episode_id 'XYZ' is no id (20 hex characters)"),
        (
            "url,published",
            f"{AUDIO},yesterday",
            "published 'yesterday' is no ISO 8601 time such as 2026-11-22T08:00:00Z",
        ),
        ("url,length", f"{AUDIO},-1", "length '-1' is no whole number"),
        ("url,length", f"{AUDIO},{2**63}", f"length '{2**63}' is no whole number"),
        ("url,duration", f"{AUDIO},nan", "duration 'nan' is no number of seconds"),
        ("url,season", f"{AUDIO},²", "season '²' is no whole number"),
    ],
)
def test_faults_say_what_is_wrong(columns: str, row: str, said: str) -> None:
    assert faults(f"{columns}\n{row}\n") == [(2, said)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        ("url\n".encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04rest", "spreadsheet"),
        (b"\x1f\x8brest", "compressed"),
        (b"url;title\nhttps://a.test/b;c\n", "separated by commas"),
        (b"title,mime\na,b\n", "neither a column episode_id nor url"),
        (b"url,URL\na,b\n", "twice"),
        (b"url,title\nhttps://a.test/b,caf\xe9\n", "line 2 is not UTF-8"),
        (b"url\n" + b"x" * (LONGEST_LINE + 5), "line 2 is longer"),
        (b"url\rhttps://a.test/b\r", "not in CR alone"),
    ],
)
def test_what_is_no_manifest_at_all(content: bytes, said: str) -> None:
    with pytest.raises(NotAManifest, match=said):
        read(content)


def test_unknown_columns_are_named_and_times_without_a_zone_are_utc() -> None:
    reader = ManifestReader(io.BytesIO(f"URL, Tier ,published\n{AUDIO},1,2023-11-14T22:13:20\n".encode()))
    assert reader.unknown == ("tier",)
    (row,) = reader
    assert isinstance(row, ManifestRow)
    assert row.published == 1_700_000_000.0


def test_nothing_of_a_query_becomes_the_title_of_a_bare_url() -> None:
    (row,) = read("url\nhttps://cdn.test/One%20two.mp3;sid=x?Signature=AAAA/topsecret=\n")
    assert isinstance(row, ManifestRow)
    assert row.item().title == "One two.mp3"
