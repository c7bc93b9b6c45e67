"""FeedparserParser on feeds as they come."""

import time

import pytest

from podinsight.adapters.feedparser_feeds import FeedparserParser, parse_duration
from podinsight.domain.feed import Document, FeedItem, ParsedFeed, TranscriptLink
from podinsight.errors import Permanent

URL = "https://feeds.example.com/shows/one.xml"
NAMESPACES = (
    'xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd" '
    'xmlns:podcast="https://podcastindex.org/namespace/1.0" xmlns:media="http://search.yahoo.com/mrss/"'
)
AUDIO = '<enclosure url="https://cdn.example.com/a.mp3?token=1" type="audio/mpeg" length="12"/>'


def parse(body: str | bytes, url: str = URL, headers: dict[str, str] | None = None) -> ParsedFeed:
    data = body if isinstance(body, bytes) else body.encode()
    return FeedparserParser().parse(Document(url, data, headers=headers or {}))


def rss(items: str, channel: str = "<title>Show</title>", prologue: str = "") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{prologue}<rss version="2.0" {NAMESPACES}>'
        f"<channel>{channel}{items}</channel></rss>"
    )


def one(item: str, url: str = URL) -> FeedItem:
    (found,) = parse(rss(f"<item>{item}</item>"), url).items
    return found


def test_a_whole_feed() -> None:
    feed = parse(
        rss(
            f"""<item><title><![CDATA[<b>One</b> &amp; only]]></title><guid isPermaLink="false"> a
            1 </guid>{AUDIO}<pubDate>Tue, 02 Jan 2024 10:00:00 +0200</pubDate>
            <itunes:duration>1:02:03</itunes:duration><itunes:season>2</itunes:season>
            <itunes:episode>3</itunes:episode><itunes:image href="/one.jpg"/></item>""",
            """<title>My &lt;i&gt;show&lt;/i&gt; &amp;amp; me</title><link>/home</link><language>de-DE</language>
            <itunes:image href="https://img.example.com/c.jpg"/>
            <itunes:new-feed-url>https://new.example.com/feed</itunes:new-feed-url>""",
        )
    )
    assert feed == ParsedFeed(
        title="My show & me",
        link="https://feeds.example.com/home",
        language="de-DE",
        image="https://img.example.com/c.jpg",
        new_url="https://new.example.com/feed",
        items=(
            FeedItem(
                guid="a 1",
                title="One & only",
                url="https://cdn.example.com/a.mp3?token=1",
                mime="audio/mpeg",
                length=12,
                published=1704182400.0,
                duration=3723.0,
                season=2,
                episode=3,
                image="https://feeds.example.com/one.jpg",
            ),
        ),
    )


def test_atom() -> None:
    feed = parse(
        """<feed xmlns="http://www.w3.org/2005/Atom"><title>Atom show</title><link href="https://a.example/"/>
        <entry><id>urn:1</id><title>First</title><updated>2024-01-02T08:00:00Z</updated>
        <link rel="enclosure" href="a.ogg" type="audio/ogg" length="5"/></entry></feed>"""
    )
    (item,) = feed.items
    assert (feed.title, feed.link) == ("Atom show", "https://a.example/")
    assert (item.guid, item.url, item.length) == ("urn:1", "https://feeds.example.com/shows/a.ogg", 5)
    assert item.published == 1704182400.0


def test_every_transcript_of_an_item_is_kept_with_its_item() -> None:
    feed = parse(
        rss(
            f"""<item><guid>1</guid>{AUDIO}<podcast:transcript url="a.srt" type="application/srt"/>
            <podcast:transcript url="https://x.example/a.vtt" type="text/VTT" language="de" rel="captions"/></item>
            <item><guid>2</guid>{AUDIO}</item>
            <item><guid>no audio</guid><podcast:transcript url="z.srt" type="application/srt"/></item>
            <item><guid>3</guid>{AUDIO}<podcast:transcript url="ftp://x/c" type="text/plain"/>
            <podcast:transcript url="c.json" type="application/json"/></item>"""
        )
    )
    assert [item.transcripts for item in feed.items] == [
        (
            TranscriptLink("https://feeds.example.com/shows/a.srt", "application/srt"),
            TranscriptLink("https://x.example/a.vtt", "text/vtt", "de"),
        ),
        (),
        (TranscriptLink("https://feeds.example.com/shows/c.json", "application/json"),),
    ]


def test_transcripts_behind_a_break_in_the_xml() -> None:
    feed = parse(
        rss(
            f"""<item><guid>1</guid>{AUDIO}<podcast:transcript url="a.srt" type="application/srt"/></item>
            <item><guid>2</guid><title>Salt & pepper</title>{AUDIO}
            <podcast:transcript url="b.srt" type="application/srt"/></item>
            <item><guid>3</guid>{AUDIO}<podcast:transcript url="c.srt" type="application/srt"/></item>"""
        )
    )
    assert [(item.guid, [link.url[-5:] for link in item.transcripts]) for item in feed.items] == [
        ("1", ["a.srt"]),
        ("2", ["b.srt"]),
        ("3", ["c.srt"]),
    ]


@pytest.mark.parametrize(
    ("enclosures", "url"),
    [
        ('<enclosure url="v.mp4" type="video/mp4"/><enclosure url="a.mp3" type="audio/mpeg"/>', "a.mp3"),
        ('<enclosure url="a.mp3" type="audio/mpeg"/><enclosure url="b.mp3" type="audio/mpeg"/>', "a.mp3"),
        ('<enclosure url="a.OPUS?x=1"/>', "a.OPUS?x=1"),
        ('<enclosure url="a.m4a" type="application/octet-stream"/>', "a.m4a"),
        ('<enclosure url="stream" type="Audio/MPEG; q=1"/>', "stream"),
        ('<enclosure url="ftp://x/a.mp3" type="audio/mpeg"/><enclosure url="b.mp3"/>', "b.mp3"),
        ('<media:content url="a.m4a" type="audio/mp4"/>', "a.m4a"),
    ],
)
def test_the_first_audio_enclosure(enclosures: str, url: str) -> None:
    assert one(f"<guid>1</guid>{enclosures}").url == f"https://feeds.example.com/shows/{url}"


def test_items_without_audio_are_left_out_and_noted_once() -> None:
    items = "".join(
        f'<item><title>T{n}</title><enclosure url="{n}.pdf" type="application/pdf"/></item>' for n in range(9)
    )
    feed = parse(rss(items))
    assert feed.items == ()
    assert feed.notes == (
        "an enclosure that is no audio (application/pdf) was left out (9 times), first: T0",
        "an item without audio was left out (9 times), first: T0",
    )


def test_a_guid_that_is_missing_is_the_enclosure_without_its_query() -> None:
    feed = parse(rss(f"<item><title>x</title>{AUDIO}</item>"))
    assert feed.items[0].guid == "https://cdn.example.com/a.mp3"
    assert "without GUID" in feed.notes[0]
    assert "token" not in feed.items[0].guid


def test_a_guid_is_kept_once() -> None:
    feed = parse(
        rss(
            f"""<item><guid>http://x.example/1/</guid><title>first</title>{AUDIO}</item>
            <item><guid>https://x.example/1</guid><title>again</title>{AUDIO}</item>
            <item><guid>other</guid><title>other</title>{AUDIO}</item>"""
        )
    )
    assert [item.title for item in feed.items] == ["first", "other"]
    assert feed.notes == ("a GUID that occurs before was left out, first: https://x.example/1",)


def test_a_guid_is_no_relative_url() -> None:
    feed = parse(rss(f"<item><guid>abc</guid>{AUDIO}</item>").replace("<rss ", '<rss xml:base="https://b.example/" '))
    assert feed.items[0].guid == "abc"


def test_odd_values_are_none() -> None:
    item = one(
        """<guid>1</guid><enclosure url="a.mp3" type="" length="big"/><pubDate>yesterday</pubDate>
        <itunes:season>two</itunes:season><itunes:episode>-1</itunes:episode><itunes:image/>"""
    )
    assert (item.mime, item.length, item.published, item.season, item.episode, item.image) == (None,) * 6
    assert item.title == "a"


def test_broken_links_do_no_harm() -> None:
    feed = parse(rss(f"<item><guid>1</guid><link>http://[bad</link>{AUDIO}</item>", "<link>http://[bad</link>"))
    assert len(feed.items) == 1
    assert feed.link is None
    assert feed.title == "feeds.example.com"


def test_credentials_of_a_private_feed_serve_its_audio_and_nothing_that_is_shown() -> None:
    item = one(
        '<enclosure url="a.mp3"/><itunes:image href="i.jpg"/><podcast:transcript url="t.vtt" type="text/vtt"/>',
        "https://me:pa55@private.example/feed",
    )
    assert item.url == "https://me:pa55@private.example/a.mp3"
    assert item.image == "https://private.example/i.jpg"
    assert item.guid == "https://private.example/a.mp3"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1:02:03", 3723.0),
        ("01:02:03.5", 3723.5),
        ("62:03", 3723.0),
        ("3723", 3723.0),
        (" 59.5 ", 59.5),
        ("0", None),
        ("00:00:00", None),
        ("", None),
        (None, None),
        ("1h 2m", None),
        ("-5", None),
        ("1:2:3:4", None),
        ("999999999", None),
        ("٣", None),
    ],
)
def test_durations(text: str | None, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "an empty document"),
        (b" \n ", "an empty document"),
        (b"just text", "plain text"),
        (b'{"version": "https://jsonfeed.org"}', "a JSON document"),
        (
            b"<!DOCTYPE html><html><head><title>Not\n found &amp; gone</title>",
            r'an HTML page \(title "Not found & gone"\)',
        ),
        (b'<?xml version="1.0"?><!-- x --><html xmlns="a"><body/></html>', "an HTML page"),
        (b'<opml version="2.0"><body/></opml>', "an OPML list of feeds"),
        (b"<catalogue><book/></catalogue>", "an XML document <catalogue>"),
        (bytes(range(256)), "binary data"),
        (b"ID3\x03" + bytes(100), "an audio file"),
        (b"\x1f\x8b\x08" + bytes(100), "gzip-compressed data"),
    ],
)
def test_what_is_no_feed(body: bytes, what: str) -> None:
    with pytest.raises(Permanent, match=f"not a feed: {what}"):
        parse(body)


def test_a_document_that_was_not_modified_is_no_feed() -> None:
    with pytest.raises(Permanent):
        FeedparserParser().parse(Document(URL, None))


def test_a_feed_without_items_is_a_feed() -> None:
    assert parse(rss("")).items == ()


@pytest.mark.parametrize("cut", [0.5, 0.7, 0.9])
def test_a_cut_feed_is_read_as_far_as_it_goes(cut: float) -> None:
    whole = rss("".join(f"<item><guid>{n}</guid>{AUDIO}</item>" for n in range(20)))
    feed = parse(whole[: int(len(whole) * cut)])
    assert 5 < len(feed.items) < 20
    assert "read as far as it goes" in feed.notes[0]


def test_encodings() -> None:
    feed = "<rss version='2.0'><channel><title>Café</title></channel></rss>"
    declared = f"<?xml version='1.0' encoding='{{}}'?>{feed}"
    latin = {"content-type": "text/xml; charset=iso-8859-1"}
    assert parse(feed.encode("latin-1"), headers=latin).title == "Café"
    assert parse(feed.encode(), headers=latin).title == "Café"
    assert parse(declared.format("utf-8").encode(), headers=latin).title == "Café"
    assert parse(declared.format("windows-1252").encode("cp1252")).title == "Café"
    assert parse(declared.format("utf-16").encode("utf-16")).title == "Café"


@pytest.mark.parametrize(
    "entities",
    [
        '<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;">',
        '<!ENTITY % p "x"><!ENTITY b "%p;">',
        f'<!ENTITY big "{"x" * 10_000}">',
    ],
)
def test_xml_bombs_are_refused(entities: str) -> None:
    with pytest.raises(Permanent, match="XML bomb"):
        parse(rss("", "<title>&b;&big;</title>", f"<!DOCTYPE rss [{entities}]>"))


def test_external_entities_are_never_resolved(tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("host") / "secret"
    secret.write_text("s3cret")
    doctype = (
        f'<!DOCTYPE rss SYSTEM "{secret.as_uri()}" [<!ENTITY x SYSTEM "{secret.as_uri()}"><!ENTITY nbsp "&#160;">]>'
    )
    feed = parse(rss(f"<item><title>A&nbsp;B &x;</title><guid>1</guid>{AUDIO}</item>", prologue=doctype))
    assert feed.items[0].title.startswith("A B")
    assert "s3cret" not in repr(feed)


def test_a_body_that_is_a_file_name_opens_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("host") / "feed.xml"
    file.write_text(rss(""))
    with pytest.raises(Permanent, match="plain text"):
        parse(str(file))


def test_five_thousand_items_in_seconds() -> None:
    item = f"<guid>{{0}}</guid><title>Episode {{0}}</title><description>{'words ' * 100}</description>{AUDIO}"
    body = rss("".join(f"<item>{item.format(n)}</item>" for n in range(5000)))
    began = time.monotonic()
    assert len(parse(body).items) == 5000
    assert time.monotonic() - began < 20
