"""FeedparserParser on feeds as they come."""

import time
from datetime import UTC, datetime
from io import BytesIO

import pytest

from podinsight.adapters.feed_values import parse_duration
from podinsight.adapters.feedparser_feeds import FeedparserParser
from podinsight.domain.feed import ChaptersLink, Document, FeedItem, ParsedFeed, Person, TranscriptLink
from podinsight.errors import Permanent

URL = "https://feeds.example.com/shows/one.xml"
NAMESPACES = (
    'xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd" '
    'xmlns:podcast="https://podcastindex.org/namespace/1.0" xmlns:media="http://search.yahoo.com/mrss/"'
)
AUDIO = '<enclosure url="https://cdn.example.com/a.mp3?token=1" type="audio/mpeg" length="12"/>'


def parse(body: str | bytes, url: str = URL, headers: dict[str, str] | None = None) -> ParsedFeed:
    data = body if isinstance(body, bytes) else body.encode()
    return FeedparserParser().parse(Document(url, BytesIO(data), headers=headers or {}))


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


# ----------------------------------------------------------------------------------------------- Podcasting 2.0


def test_what_podcasting_2_0_says_of_an_item() -> None:
    item = one(
        f"""<guid>1</guid><title>One</title>{AUDIO}
        <podcast:season name="Second">2</podcast:season><podcast:episode display="Ch. 3">3</podcast:episode>
        <podcast:chapters url="c.json" type="application/json+chapters"/><podcast:chapters url="second.json" type="x"/>
        <podcast:person>Ann  Host</podcast:person>
        <podcast:person role="guest" group="cast" href="https://me:pw@bob.example/">Bob &amp; Co</podcast:person>
        <podcast:person> </podcast:person>
        <podcast:guid>not of an item</podcast:guid><podcast:image href="x"/>
        <podcast:alternateEnclosure type="audio/opus"><podcast:source uri="https://x.example/a.opus"/>
        <title>alternate</title><enclosure url="https://x.example/b.mp3"/></podcast:alternateEnclosure>"""
    )
    assert (item.title, item.season, item.episode) == ("One", 2, 3)
    assert item.chapters == ChaptersLink("https://feeds.example.com/shows/c.json", "application/json+chapters")
    assert item.persons == (Person("Ann Host"), Person("Bob & Co", "guest", "https://bob.example/"))
    assert item.url == "https://cdn.example.com/a.mp3?token=1"


@pytest.mark.parametrize(
    ("season", "number"), [("<itunes:season>4</itunes:season>", 4), ("", 2), ("<itunes:season>x</itunes:season>", 2)]
)
def test_itunes_goes_before_the_podcast_namespace(season: str, number: int | None) -> None:
    assert one(f"<guid>1</guid>{AUDIO}<podcast:season>2</podcast:season>{season}").season == number


@pytest.mark.parametrize("text", ["3.5", "-1", "three", ""])
def test_a_number_that_is_none(text: str) -> None:
    assert one(f"<guid>1</guid>{AUDIO}<podcast:episode>{text}</podcast:episode>").episode is None


def test_what_podcasting_2_0_says_of_the_channel() -> None:
    feed = parse(
        rss(
            f"<item><guid>1</guid>{AUDIO}</item>",
            """<podcast:guid> 9b02 </podcast:guid><title>Show</title><podcast:person>Ann</podcast:person>
            <podcast:liveItem status="live"><title>Live now</title><guid>live</guid><link>https://live.example/</link>
            <enclosure url="https://live.example/stream.mp3" type="audio/mpeg"/></podcast:liveItem>""",
        )
    )
    assert (feed.podcast_guid, feed.title, feed.link) == ("9b02", "Show", None)
    assert [(item.guid, item.persons) for item in feed.items] == [("1", ())]


def test_the_podcast_namespace_goes_by_any_prefix() -> None:
    feed = parse(
        rss(f'<item><guid>1</guid>{AUDIO}<p:chapters url="c.json" type="t"/></item>').replace(
            "xmlns:podcast", "xmlns:p"
        )
    )
    assert feed.items[0].chapters == ChaptersLink("https://feeds.example.com/shows/c.json", "t")


def test_prefixes_that_nobody_declared() -> None:
    body = f"""<rss version="2.0"><channel><title>Show</title><itunes:image href="i.png"/><item><guid>1</guid>{AUDIO}
    <itunes:duration>60</itunes:duration><podcast:transcript url="t.vtt" type="text/vtt"/></item></channel></rss>"""
    feed = parse(body)
    assert (feed.title, feed.image) == ("Show", "https://feeds.example.com/shows/i.png")
    assert (feed.items[0].duration, len(feed.items[0].transcripts)) == (60.0, 1)


# ---------------------------------------------------------------------------------------------- URLs and dialects


def test_xml_base() -> None:
    feed = parse(
        rss(
            """<item xml:base="one/"><guid>1</guid><enclosure url="a.mp3" type="audio/mpeg"/>
            <podcast:transcript url="t.vtt" type="text/vtt"/></item>
            <item><guid>2</guid><enclosure xml:base="https://other.example/x/" url="a.mp3" type="audio/mpeg"/></item>
            <item><guid>3</guid><enclosure url="a.mp3" type="audio/mpeg"/></item>""",
            "<title>T</title><link>home</link><itunes:image href='i.png'/>",
        ).replace("<channel>", '<channel xml:base="https://b.example/">'),
    )
    assert (feed.link, feed.image) == ("https://b.example/home", "https://b.example/i.png")
    assert [item.url for item in feed.items] == [
        "https://b.example/one/a.mp3",
        "https://other.example/x/a.mp3",
        "https://b.example/a.mp3",
    ]
    assert feed.items[0].transcripts[0].url == "https://b.example/one/t.vtt"


@pytest.mark.parametrize("escaped", ["&amp;", "&amp;amp;", "&amp;amp;amp;", "&amp;#38;"])
def test_ampersands_that_were_escaped_more_than_once(escaped: str) -> None:
    url = f"https://e.com/a.mp3?x=1{escaped}y=2"
    assert one(f'<guid>1</guid><enclosure url="{url}" type="audio/mpeg"/>').url == "https://e.com/a.mp3?x=1&y=2"


def test_rss_1_0_has_its_items_beside_the_channel() -> None:
    feed = parse(
        f"""<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"
        xmlns:enc="http://purl.oclc.org/net/rss_2.0/enc#" xmlns:dc="http://purl.org/dc/elements/1.1/">
        <channel rdf:about="c"><title>RDF</title><link>https://r.example/</link><items><rdf:Seq><rdf:li
        rdf:resource="x"/></rdf:Seq></items></channel>
        <item rdf:about="https://r.example/1"><title>One</title><dc:date>2024-01-02T08:00:00Z</dc:date>{AUDIO}</item>
        <item rdf:about="https://r.example/2"><title>Two</title><enclosure url="/2.mp3"/></item></rdf:RDF>"""
    )
    assert (feed.title, feed.link) == ("RDF", "https://r.example/")
    assert [(item.title, item.published) for item in feed.items] == [("One", 1704182400.0), ("Two", None)]


def test_atom_with_prefixes_html_and_a_source() -> None:
    feed = parse(
        """<a:feed xmlns:a="http://www.w3.org/2005/Atom"><a:title type="html">A &amp;lt;b&amp;gt; show</a:title>
        <a:logo>logo.png</a:logo><a:entry><a:id>urn:1</a:id><a:source><a:id>s</a:id><a:title>Source</a:title></a:source>
        <a:title type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">Some <b>bold</b> words</div></a:title>
        <a:published>2024-01-02T08:00:00Z</a:published><a:updated>2025-01-01T00:00:00Z</a:updated>
        <a:content type="html">long</a:content><a:link rel="alternate" href="page"/>
        <a:link rel="enclosure" type="audio/mpeg" href="a.mp3"/></a:entry></a:feed>"""
    )
    assert feed.image == "https://feeds.example.com/shows/logo.png"
    assert [(item.guid, item.title, item.published) for item in feed.items] == [
        ("urn:1", "Some bold words", 1704182400.0)
    ]


# ------------------------------------------------------------------------------------------------------- dates


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("Tue, 02 Jan 2024 10:00:00 +0200", "2024-01-02T08:00:00"),
        ("Tue, 2 Jan 2024 10:00:00 CET", "2024-01-02T09:00:00"),
        ("Tue, 02 Jul 2024 10:00 CEST", "2024-07-02T08:00:00"),
        ("2 Jan 24 10:00:00 AEDT", "2024-01-01T23:00:00"),
        ("Tue, 02 Jan 2024 10:00:00 PST", "2024-01-02T18:00:00"),
        ("Tue, 02 Jan 2024 10:00:00 GMT+01:00", "2024-01-02T09:00:00"),
        ("Tue, 02 Jan 2024", "2024-01-02T00:00:00"),
        ("2024-01-02T10:00:00+02:00", "2024-01-02T08:00:00"),
        ("2024-01-02 10:00:00", "2024-01-02T10:00:00"),
        ("2024-01-02", "2024-01-02T00:00:00"),
        ("Tuesday, January 02, 2024 10:00:00 GMT", "2024-01-02T10:00:00"),
    ],
)
def test_dates(text: str, when: str) -> None:
    published = one(f"<guid>1</guid>{AUDIO}<pubDate>{text}</pubDate>").published
    assert published is not None
    assert datetime.fromtimestamp(published, UTC).isoformat() == f"{when}+00:00"


def test_a_date_that_cannot_be_read_is_noted() -> None:
    items = [f"<item><guid>{n}</guid>{AUDIO}<pubDate>soon {n}</pubDate></item>" for n in range(3)]
    feed = parse(rss("".join(items)))
    assert [item.published for item in feed.items] == [None] * 3
    assert feed.notes == ("a date that cannot be read was left out (3 times), first: soon 0",)


def test_a_document_without_a_url() -> None:
    feed = parse(rss(f'<item><guid>1</guid>{AUDIO}</item><item><enclosure url="a.mp3"/></item>', ""), url="")
    assert (feed.title, len(feed.items)) == ("", 1)
