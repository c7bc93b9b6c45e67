"""Feeds in pieces: the same items as from the whole, in memory that does not grow with the document."""

import random
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import feedparser
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from podinsight.adapters import feedparser_feeds
from podinsight.adapters.feed_repair import MAX_RAW_ITEM, mended, raw_items
from podinsight.adapters.feed_values import plain
from podinsight.adapters.feedparser_feeds import FeedparserParser
from podinsight.domain.feed import Document, ParsedFeed

URL = "https://feeds.example.com/shows/one.xml"
ITUNES = 'xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"'
PODCAST = 'xmlns:podcast="https://podcastindex.org/namespace/1.0"'
DATES = ("Tue, 02 Jan 2024 10:00:00 +0200", "2024-01-02T08:00:00Z", "Mon, 1 Jul 2019 09:00 EST")
LATIN = st.characters(codec="latin-1", exclude_categories=["Cc", "Cs"])
ANY = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"], exclude_characters="\ufeff")


def parse(body: bytes, headers: dict[str, str] | None = None) -> ParsedFeed:
    return FeedparserParser().parse(Document(URL, BytesIO(body), headers=headers or {}))


def item(number: int, title: str, *, cdata: bool = False, extra: str = "") -> str:
    text = f"<![CDATA[{title.replace(']]>', '')}]]>" if cdata else escape(title)
    return (
        f"<item>{extra}<title>{text}</title><description>{escape(title * 3)} &lt;p&gt;</description>"
        f"<guid isPermaLink='false'>g{number}</guid><pubDate>{DATES[number % 3]}</pubDate>"
        f"<enclosure url={quoteattr(f'https://cdn.example.com/{number}.mp3?a=1&b={title[:3].strip()}x')} "
        f"type='audio/mpeg' length='{number}'/><itunes:duration>{number}:0{number % 10}</itunes:duration>"
        f"<podcast:transcript url='{number}.vtt' type='text/vtt'/><itunes:episode>{number}</itunes:episode></item>"
    )


def rss(items: list[str], encoding: str = "utf-8", before: str = "", after: str = "") -> str:
    return (
        f"<?xml version='1.0' encoding='{encoding}'?>\n<rss version='2.0' {ITUNES} {PODCAST}><channel>"
        f"<title>Show</title>{before}{''.join(items)}{after}</channel></rss>\n"
    )


def whole(body: bytes) -> list[tuple[Any, ...]]:
    """What feedparser makes of the document as a whole."""
    read = feedparser.parse(
        BytesIO(body),
        response_headers={"content-type": "application/xml"},
        resolve_relative_uris=False,
        sanitize_html=False,
    )
    assert not read.bozo
    return [
        (
            each.id,
            plain(each.title) or each.enclosures[0].href.rpartition("/")[2].partition(".")[0],
            each.enclosures[0].length,
            each.published,
            each.itunes_duration,
            each.itunes_episode,
        )
        for each in read.entries
    ]


def in_pieces(body: bytes) -> list[tuple[Any, ...]]:
    found = []
    for each in parse(body).items:
        number = each.episode or 0
        assert [link.url.rpartition("/")[2] for link in each.transcripts] == [f"{number}.vtt"]
        assert each.duration == number * 60 + number % 10
        duration = f"{number}:0{number % 10}"
        found.append((each.guid, each.title, str(each.length), DATES[number % 3], duration, str(number)))
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.text(LATIN, max_size=20), st.booleans()), min_size=1, max_size=9),
    st.sampled_from(["utf-8", "iso-8859-1", "windows-1252", "utf-16", "utf-8-sig"]),
    st.sampled_from([1, 2, 200]),
)
@example([("]]&amp;<b>x</b> &lt;", False)], "utf-8", 1)
def test_the_items_are_those_of_the_whole_document(titles: list[tuple[str, bool]], encoding: str, batch: int) -> None:
    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    document = rss([item(n, title, cdata=cdata) for n, (title, cdata) in enumerate(titles, 1)], declared)
    body = document.encode(encoding, "xmlcharrefreplace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feedparser_feeds, "BATCH_ITEMS", batch)
        assert in_pieces(body) == whole(body)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(ANY, max_size=12), min_size=1, max_size=5), st.sampled_from(["utf-8", "utf-16"]))
@example(["Â¡"], "utf-8")
def test_texts_of_every_script(titles: list[str], encoding: str) -> None:
    body = rss([item(n, title) for n, title in enumerate(titles, 1)], encoding).encode(encoding)
    assert in_pieces(body) == whole(body)


@pytest.mark.parametrize(
    "faulty", ["Salt & pepper", "a&nbsp;b", "<br>", "\x0bcontrol", "&undefined; thing", "<b>x</i>"]
)
def test_one_broken_item_costs_no_other_anything(faulty: str) -> None:
    items = [item(n, f"Title {n}") for n in range(1, 40)]
    items[9] = items[9].replace("Title 10", faulty)
    feed = parse(rss(items).encode())
    good = [each for each in feed.items if each.guid != "g10"]
    assert [each.guid for each in good] == [f"g{n}" for n in range(1, 40) if n != 10]
    assert all(each.transcripts and each.duration and each.title.startswith("Title") for each in good)
    assert "g10" in {each.guid for each in feed.items}
    assert feed.notes[0].startswith("not well-formed XML, read as far as it goes (line 2: ")


def test_faults_in_texts_that_nobody_reads() -> None:
    feed = parse(rss([item(1, "One").replace("&lt;p&gt;", "<br> & &nbsp; <p>"), item(2, "Two")]).encode())
    assert [(each.title, len(each.transcripts), each.episode) for each in feed.items] == [("One", 1, 1), ("Two", 1, 2)]


def test_a_channel_that_is_broken_before_its_first_item() -> None:
    before = "<link>https://show.example/</link><description>Tom & Jerry<br></description><language>de</language>"
    feed = parse(rss([item(n, f"T{n}") for n in (1, 2, 3)], before=before).encode())
    assert (feed.title, feed.link, feed.language) == ("Show", "https://show.example/", "de")
    assert [each.title for each in feed.items] == ["T1", "T2", "T3"]
    feed = parse(rss([item(1, "T1")], before="<image><url>https://e.com/i.png</image><language>de</language>").encode())
    assert (feed.title, feed.items[0].title) == ("Show", "T1")


def test_an_item_that_is_never_closed_ends_where_the_next_begins() -> None:
    items = [item(1, "One"), item(2, "Two").replace("</item>", ""), item(3, "Three")]
    assert [each.title for each in parse(rss(items).encode()).items] == ["One", "Two", "Three"]
    items = [item(1, "One"), item(2, "Two").replace("</item>", "")]
    assert [each.title for each in parse(rss(items).encode()).items] == ["One", "Two"]


def test_a_document_that_is_cut_off_loses_the_item_that_is_cut() -> None:
    body = rss([item(n, f"Title {n}") for n in range(50)]).encode()
    for at in random.Random(3).sample(range(300, len(body) - 30), 25):
        feed = parse(body[:at])
        complete = body[:at].count(b"</item>")
        assert [each.guid for each in feed.items] == [f"g{n}" for n in range(complete)], at
        assert "read as far as it goes" in feed.notes[0]


def test_white_space_before_the_declaration_is_no_fault() -> None:
    feed = parse(b"\xef\xbb\xbf \n" + rss([item(1, "One")]).encode())
    assert (len(feed.items), feed.notes) == (1, ())


@pytest.mark.parametrize(
    ("body", "title"),
    [
        (rss([item(1, "Café")], "utf-16").encode(), "Café"),
        (rss([item(1, "Café")], "utf-8").encode("latin-1"), "Café"),
        (rss([item(1, "Café")], "no-such-encoding").encode(), "Café"),
        (rss([item(1, "Café")], "zlib").encode(), "Café"),
        (rss([item(1, "中文")], "gb2312").encode("gb18030"), "中文"),
        (rss([item(1, "日本")], "shift_jis").encode("shift_jis"), "日本"),
        (rss([item(1, "Café")]).encode("utf-32"), "Café"),
    ],
)
def test_encodings_that_are_not_what_they_say(body: bytes, title: str) -> None:
    assert [each.title for each in parse(body).items] == [title]


def test_an_encoding_that_is_not_the_declared_one_is_noted() -> None:
    feed = parse(rss([item(1, "Café")], "us-ascii").encode())
    assert feed.notes == ("odd encoding: declared as us-ascii, read as utf-8",)


def test_a_feed_in_latin_1_that_breaks_is_read_on() -> None:
    items = [item(n, f"é & {n}" if n == 2 else f"é {n}") for n in range(1, 5)]
    body = rss(items, "iso-8859-1").replace("é &amp; 2", "é & 2").encode("latin-1")
    assert [each.title for each in parse(body).items] == ["é 1", "é & 2", "é 3", "é 4"]


def test_an_item_of_megabytes_is_cut_and_not_read_whole() -> None:
    big = "".join(f"<enclosure url='https://e.com/{n}.mp3' type='audio/mpeg'/>" for n in range(60_000))
    feed = parse(rss([item(1, "One", extra=big), item(2, "Two")]).encode())
    assert [each.guid for each in feed.items] == ["https://e.com/0.mp3", "g2"]
    assert any("too large" in note for note in feed.notes)
    feed = parse(rss([item(1, "x" * 3_000_000), item(2, "Two")]).encode())
    assert [each.title[:3] for each in feed.items] == ["xxx", "Two"]
    assert len(feed.items[0].title) == 1000


def test_an_item_in_broken_xml_that_is_too_large_is_left_out() -> None:
    body = rss([item(1, "One"), item(2, "<br>" + "x" * (MAX_RAW_ITEM + 10)), item(3, "Three")]).encode()
    body = body.replace(b"&lt;br&gt;", b"<br>")
    feed = parse(body)
    assert [each.title for each in feed.items] == ["One", "Three"]
    assert any("too large" in note for note in feed.notes)


def test_raw_items_are_the_same_wherever_the_blocks_end(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"xx</item> <item a='1'>1</item><items/><ENTRY>2</ENTRY ><item>3<item>4</item> tail <atom:entry>5"
    expected = [b"<item a='1'>1</item>", b"<ENTRY>2</ENTRY>", b"<item>3", b"<item>4</item>", b"<atom:entry>5"]
    for size in (1, 2, 7, 1000):
        monkeypatch.setattr("podinsight.adapters.feed_encoding.BLOCK_BYTES", size)
        found = list(raw_items(BytesIO(data), 2))
        assert [piece.data for piece in found] == expected, size
        assert [data[piece.at :].startswith(piece.data or b"") for piece in found] == [True, False, True, True, True]
        assert [piece.whole for piece in found] == [True, True, True, True, False]


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("a & b &amp; c &#38; d", "a &amp; b &amp; c &#38; d"),
        ("&nbsp;&eacute;&bogus;&", "\xa0é&amp;bogus;&amp;"),
        ("<![CDATA[a & b]]> &", "<![CDATA[a & b]]> &amp;"),
        ("x<description>a & <p>b</description>y<content:encoded>z</content:encoded>", "xy"),
        ('<media:content url="a"/><itunes:summary/>&apos;', '<media:content url="a"/><itunes:summary/>&apos;'),
        ("\x00a\x0b", "a"),
    ],
)
def test_what_can_be_mended(text: str, better: str) -> None:
    assert mended(text) == better


@pytest.mark.parametrize(
    "body",
    [
        "<description>" * 80_000,
        "<title><![CDATA[" * 60_000,
        "<title>" + "<!--" * 200_000,
        "<title>" + "&" * 500_000,
        "<description " * 80_000,
        "<item>" * 20_000,
        "<title>" + "&lt;!--" * 100_000 + "</title>",
    ],
    ids=lambda body: body[:24],
)
def test_no_feed_takes_quadratic_time(body: str) -> None:
    began = time.monotonic()
    parse(rss([item(1, "One"), f"<item>&broken;{body}</item>"]).encode())
    assert time.monotonic() - began < 30


_MEASURE = """
import sys
from podinsight.adapters.feedparser_feeds import FeedparserParser
from podinsight.domain.feed import Document

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

def read(path):
    with open(path, "rb") as body:
        return FeedparserParser().parse(Document("https://feeds.example.com/big.xml", body))

read(sys.argv[1])
before = peak()
feed = read(sys.argv[2])
print(len(feed.items), len(feed.items[-1].transcripts), peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("fault", "items", "mib"), [("", 20_000, 60), ("Salt & pepper", 6_000, 40)], ids=["well-formed", "broken"]
)
def test_a_huge_feed_in_flat_memory(tmp_path: Path, fault: str, items: int, mib: int) -> None:
    """Issue 3: 60 MB, 20,000 items. They take about 20 MiB as FeedItems; what is above that is what parsing takes."""
    small, big = tmp_path / "small.xml", tmp_path / "big.xml"
    small.write_text(rss([item(1, "One")]))
    notes = f"<content:encoded><![CDATA[{'<p>words and more wörds</p> ' * 100}]]></content:encoded>"
    with big.open("w", encoding="utf-8") as file:
        head, _, tail = rss(["SPLIT"]).partition("SPLIT")
        file.write(head + (f"<item><title>{fault}</title></item>" if fault else ""))
        for number in range(items):
            file.write(item(number, "Title", extra=notes))
        file.write(tail)
    assert big.stat().st_size > 3000 * items
    command = [sys.executable, "-c", _MEASURE, str(small), str(big)]
    count, transcripts, grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert (int(count), int(transcripts)) == (items, 1)
    assert float(grown) < mib
