"""Lists of feeds, in every shape that people keep them in (F1)."""

import pytest

from podinsight.adapters.feed_lists import MAX_LIST_BYTES, read_feed_list, write_opml, write_yaml
from podinsight.domain.feed_list import FeedList, ListedFeed
from podinsight.errors import Permanent

A, B, C = "https://a.example/feed", "https://b.example/feed?x=1&y=2", "https://c.example/feed"


def read(text: str | bytes, name: str = "feeds") -> FeedList:
    return read_feed_list(name, text if isinstance(text, bytes) else text.encode())


def tiers(listed: FeedList) -> dict[str, str | None]:
    return {feed.url: feed.tier for feed in listed.feeds}


def opml(body: str, prologue: str = "") -> str:
    return f'<?xml version="1.0"?>{prologue}<opml version="2.0"><head><title>T</title></head><body>{body}</body></opml>'


def test_opml_with_nested_folders() -> None:
    listed = read(
        opml(
            f"""<outline text="Top" type="rss" xmlUrl="{A}"/><outline text="News"><outline text="Daily">
            <outline title="B &amp; Co" type="rss" xmlUrl="{B.replace("&", "&amp;")}"/></outline>
            <outline text="C" xmlUrl="HTTPS://C.example/feed" category="/x/y"/></outline>"""
        )
    )
    assert tiers(listed) == {A: None, B: "News/Daily", C: "News"}
    assert [feed.title for feed in listed.feeds] == ["Top", "B & Co", "C"]
    assert listed.notes == ()


def test_what_an_opml_has_beside_feeds_is_noted() -> None:
    listed = read(
        opml(
            f"""<outline text="feeds"><outline text="A" type="rss" xmlUrl="{A}"/>
            <outline text="Other" type="rss" xmlUrl=""/><outline text="Another" type="rss"/>
            <outline text="A again" type="rss" xmlUrl="{A.replace("https", "http")}"/>
            <outline text="More" type="include" url="https://o.example/more.opml"/>
            <outline text="Page" htmlUrl="https://o.example/"/></outline>"""
        )
    )
    assert tiers(listed) == {A: "feeds"}
    assert listed.notes == (
        "the outline 'Other' has no feed URL and was left out",
        "the outline 'Another' has no feed URL and was left out",
        "the outline 'Page' has no feed URL and was left out",
        "another list is included and was left out, import it as well: https://o.example/more.opml",
        "1 listed more than once",
    )


def test_opml_in_other_encodings_and_not_quite_xml() -> None:
    text = opml(f'<outline text="Café"><outline text="é" xmlUrl="{A}"/></outline>')
    assert tiers(read(text.replace("?>", ' encoding="iso-8859-1"?>', 1).encode("latin-1"))) == {A: "Café"}
    assert tiers(read(text.replace("?>", ' encoding="utf-16"?>', 1).encode("utf-16"))) == {A: "Café"}
    broken = read(opml(f'<outline text="x" xmlUrl="{B}"/><outline text="y" xmlUrl="{A}"/>'))
    assert tiers(broken) == {B: None, A: None}
    assert "not well-formed XML" in broken.notes[0]


@pytest.mark.parametrize(
    "entities",
    [
        '<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;">',
        '<!ENTITY x SYSTEM "file:///etc/passwd">',
    ],
)
def test_xml_bombs_are_refused(entities: str) -> None:
    with pytest.raises(Permanent, match="refused: the OPML declares entities"):
        read(opml('<outline text="&b;&x;"/>', f"<!DOCTYPE opml [{entities}]>"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"- {A}\n- {C}\n", {A: "tier1", C: "tier1"}),
        (f"- url: {A}\n- feed_url: {B}\n  tier: 2\n- rss: {C}\n", {A: "tier1", B: "2", C: "tier1"}),
        (f"- xmlUrl: {A}\n  priority: 3\n  name: Show\n", {A: "tier1"}),
        (f"feeds:\n  - {A}\n  - url: {C}\nversion: 1\n", {A: "tier1", C: "tier1"}),
        (f"tier: gold\nfeeds:\n  - {A}\n", {A: "gold"}),
        (f"gold:\n  - {A}\nsilver:\n  - url: {C}\n    tier: bronze\n", {A: "gold", C: "bronze"}),
        (f"gold:\n  feeds:\n    - {A}\n", {A: "gold"}),
        (f"feeds:\n  gold:\n    - {A}\n  silver: [{C}]\n", {A: "gold", C: "silver"}),
        (f"- name: gold\n  feeds: [{A}]\n- tier: silver\n  feeds: [{C}]\n", {A: "gold", C: "silver"}),
        (f"First Show: {A}\nsecond: {{url: {C}}}\n", {A: "tier1", C: "tier1"}),
        (f'{{"feeds": [{{"url": "{A}"}}]}}', {A: "tier1"}),
    ],
)
def test_yaml_in_its_plausible_shapes(text: str, found: dict[str, str]) -> None:
    assert tiers(read(text, "/lists/tier1_feeds.yaml")) == found


@pytest.mark.parametrize(
    ("name", "tier"),
    [("tier2_feeds.yml", "tier2"), ("https://x.example/tier-a.yaml", "tier-a"), ("podcasts.yaml", None), ("-", None)],
)
def test_the_tier_in_a_file_name(name: str, tier: str | None) -> None:
    assert tiers(read(f"[{A}]", name)) == {A: tier}


def test_user_agents_and_names() -> None:
    (feed,) = read(f"- url: {A}\n  title: The Show\n  slug: the-show\n  user_agent: Special/1.0\n").feeds
    assert (feed.title, feed.user_agent, feed.where) == ("The Show", "Special/1.0", "entry 1 (The Show)")


def test_every_wrong_entry_is_named_and_nothing_is_shown_of_passwords() -> None:
    text = f"""
feeds:
  - {A}
  - url: gopher://me:s3cret@x.example/feed
    name: Old
  - name: No URL
  - url: [1]
  - 17
  - url:
  - url: {C}
    user_agent: "a\\nb"
  - url: not a url
"""
    with pytest.raises(Permanent) as caught:
        read(text)
    lines = str(caught.value).splitlines()
    assert lines[0] == "nothing was added, 7 entries are wrong:"
    assert lines[1] == "feeds, entry 2 (Old): not an http or https URL: gopher://x.example/feed"
    assert lines[2] == "feeds, entry 3 (No URL): no URL; give it a key `url`"
    assert lines[4:7] == [
        "feeds, entry 5: '17' is no URL of a feed",
        "feeds, entry 6: nothing is no URL of a feed",
        "feeds, entry 7: a user agent is printable ASCII",
    ]
    assert "s3cret" not in str(caught.value)


def test_a_wrong_url_in_an_opml() -> None:
    with pytest.raises(Permanent, match=r"1 entry is wrong:\noutline 2 \(Bad\): not an http or https URL"):
        read(opml(f'<outline text="A" xmlUrl="{A}"/><outline text="Bad" xmlUrl="itpc://x.example/feed"/>'))


def test_hundreds_of_faults_are_not_all_told() -> None:
    with pytest.raises(Permanent) as caught:
        read("\n".join(["- 1"] * 300))
    assert len(str(caught.value).splitlines()) == 22
    assert str(caught.value).endswith("… and 280 more")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"", "an empty document"),
        (b"just words", "no YAML list or mapping"),
        (b"a: [", "neither OPML nor YAML"),
        (b"<rss version='2.0'><channel/></rss>", "followed with `podrun feeds add`"),
        (b"<!doctype html><html><title>Hi</title></html>", "an HTML page"),
        (b"x: &a [1]\ny: *a\n", "aliases"),
        (b"!!python/object/apply:os.system ['true']", "neither OPML nor YAML"),
        (b"[" * 5000, "not a list of feeds"),
        (b"[[[[[[[[https://a.example/]]]]]]]]", "nested too deep"),
        (b" " * (MAX_LIST_BYTES + 1), "larger than"),
    ],
)
def test_what_is_no_list(text: bytes, what: str) -> None:
    with pytest.raises(Permanent, match=what):
        read(text)


LISTED = [
    ListedFeed(C, "c", "C", "News"),
    ListedFeed(A, "a", 'A "quoted" & <odd> \x07', None),
    ListedFeed(B, "b", None, "News/Daily"),
    ListedFeed("https://d.example/", "d", "D: yes", "Arts", "Special/1.0"),
]


def test_opml_there_and_back() -> None:
    text = write_opml(LISTED)
    assert text.startswith("<?xml version='1.0' encoding='UTF-8'?>\n<opml version=\"2.0\">")
    back = read(text)
    assert tiers(back) == {feed.url: feed.tier for feed in LISTED}
    assert {feed.url: feed.title for feed in back.feeds} == {
        A: 'A "quoted" & <odd>', B: B, C: "C", "https://d.example/": "D: yes"
    }  # fmt: skip
    assert back.notes == ()


def test_yaml_there_and_back() -> None:
    back = read(write_yaml(LISTED))
    assert [(feed.url, feed.tier, feed.user_agent) for feed in back.feeds] == [
        (feed.url, feed.tier, feed.user_agent) for feed in LISTED
    ]
