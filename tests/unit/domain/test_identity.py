"""Identity: hosts, URLs, GUIDs, folder names."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from podinsight.domain.hosts import HostLimits
from podinsight.domain.identity import (
    InvalidUrl,
    direct_guid,
    episode_id,
    feed_id,
    file_title,
    host_of,
    normalise_guid,
    normalise_url,
    redact_url,
    safe_name,
    slug,
    unique_slug,
)
from podinsight.errors import Permanent

LIMITS = HostLimits({"megaphone.fm": 5, "Traffic.Megaphone.FM": 2, "libsyn.com": 3, "bücher.example": 1}, 10)
HOSTILE = st.text() | st.text(st.sampled_from("./\\:-_ aA%\0\n~$"), max_size=120) | st.text("ab", max_size=200)
URLS = st.builds(
    lambda scheme, user, host, port, rest: f"{scheme}://{user}{host}{port}/{rest}",
    st.sampled_from(["http", "HTTP", "https", "Https"]),
    st.sampled_from(["", "me@", "me:pa55@"]),
    st.sampled_from(["Example.COM", "bücher.de", "127.0.0.1", "[::1]", "a.b.c.", "ＦＵＬＬ.example"]),
    st.sampled_from(["", ":80", ":443", ":8080"]),
    st.text(),
)


# ------------------------------------------------------------------------------------------------- hosts


@pytest.mark.parametrize(
    ("host", "key", "limit"),
    [
        ("megaphone.fm", "megaphone.fm", 5),
        ("dts.Megaphone.fm", "megaphone.fm", 5),
        ("dts.megaphone.fm:8443", "megaphone.fm", 5),
        ("megaphone.fm.", "megaphone.fm", 5),
        ("traffic.megaphone.fm", "traffic.megaphone.fm", 2),
        ("x.traffic.megaphone.fm", "traffic.megaphone.fm", 2),
        ("notmegaphone.fm", "notmegaphone.fm", 10),
        ("megaphone.fm.evil.example", "megaphone.fm.evil.example", 10),
        ("fm", "fm", 10),
        ("127.0.0.1:8000", "127.0.0.1", 10),
        ("[::1]:8000", "::1", 10),
        ("::1", "::1", 10),
        ("www.xn--bcher-kva.example", "xn--bcher-kva.example", 1),
    ],
)
def test_host_limits(host: str, key: str, limit: int) -> None:
    assert LIMITS.key(host) == key
    assert LIMITS.limit(key) == limit
    assert LIMITS.limit(host) == limit
    assert LIMITS.key(key) == key


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://CDN.Example.com:8443/a", "cdn.example.com"),
        ("https://me:pw@example.com./a", "example.com"),
        ("http://bücher.de/", "xn--bcher-kva.de"),
        ("http://straße.de/", "xn--strae-oqa.de"),
        ("http://[::FFFF:1.2.3.4]:80/", "::ffff:102:304"),
    ],
)
def test_host_of(url: str, host: str) -> None:
    assert host_of(url) == host


# ------------------------------------------------------------------------------------------------- URLs


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTPS://Example.COM:443/A?b=C#d", "https://example.com/A?b=C"),
        (" http://example.com:80 ", "http://example.com/"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("http://example.com:/", "http://example.com/"),
        ("https://Me:Pw@Bücher.de/é", "https://Me:Pw@xn--bcher-kva.de/é"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://ｅｘａｍｐｌｅ。com/", "http://example.com/"),
    ],
)
def test_normalise_url(url: str, normal: str) -> None:
    assert normalise_url(url) == normal


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/feed",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://a b/",
        "http://a:port/",
        "http://a:99999/",
        "http://[bad/",
        "http://℀.example/",
        "http://good.example\\@evil.example/",
        "http://a\0b/",
        "http://me:pa/55@example.com/",
    ],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        normalise_url(url)
    assert isinstance(caught.value, Permanent)
    assert "pa/55" not in str(caught.value)


@settings(deadline=None)
@given(URLS)
def test_normalise_url_is_idempotent(url: str) -> None:
    try:
        normal = normalise_url(url)
    except InvalidUrl:
        assume(False)
    assert normalise_url(normal) == normal
    assert host_of(normal) == host_of(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pw@example.com/a", "https://example.com/a"),
        ("https://example.com:8443/a?x=1&token=abc&y=2#frag", "https://example.com:8443/a?x=1&token=***&y=2"),
        ("https://e.com/?X-Amz-Signature=a&X-Amz-Date=b&Expires=3", "https://e.com/?X-Amz-Signature=***&X-Amz-Date=***&Expires=***"),
        ("https://e.com/?access_token=a;api-key=b;sig=c;auth=d", "https://e.com/?access_token=***;api-key=***;sig=***;auth=***"),
        ("https://e.com/?Password=a&key=b&Signature=c&Key-Pair-Id=d&Policy=e", "https://e.com/?Password=***&key=***&Signature=***&Key-Pair-Id=***&Policy=***"),
        ("https://e.com/?keyword=a&design=b&n=1", "https://e.com/?keyword=a&design=b&n=1"),
        ("https://me:pa/ss@example.com/", "(an unreadable URL)"),
        ("http://[bad", "(an unreadable URL)"),
    ],
)  # fmt: skip
def test_redact_url(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://e.com/hdnts=exp=1~hmac=SECRET/e.mp3", "https://e.com/hdnts=***/e.mp3"),
        ("https://e.com/exp=1~acl=/*~hmac=SECRET/e.mp3", "https://e.com/exp=***/*~hmac=***/e.mp3"),
        ("https://e.com/a;jsessionid=SECRET;v=1/e.mp3", "https://e.com/a;jsessionid=***;v=1/e.mp3"),
        ("https://e.com/a%3Bjsessionid%3DSECRET/e.mp3", "https://e.com/a%3Bjsessionid%3D***/e.mp3"),
        ("https://e.com/t%6Fken=SECRET/e.mp3", "https://e.com/t%6Fken=***/e.mp3"),
        ("https://e.com/season=2/e.mp3", "https://e.com/season=2/e.mp3"),
        ("https://e.com/?sid=SECRET&pw=SECRET&access=SECRET&accessKey=SECRET", "https://e.com/?sid=***&pw=***&access=***&accessKey=***"),
        ("https://e.com/?k=SECRET7890abcdef&id=1", "https://e.com/?k=***&id=1"),
        ("https://e.com/?k=pop&side=b&inside=1&power=2", "https://e.com/?k=pop&side=b&inside=1&power=2"),
        ("https://e.com/?%74oken=SECRET&%2574oken=SECRET", "https://e.com/?%74oken=***&%2574oken=***"),
        ("https://e.com/?token%3DSECRET&n=1", "https://e.com/?token%3D***&n=1"),
        ("https://e.com/?nonce=SECRET&AWSAccessKeyId=SECRET&utm_id=SECRET&id=1", "https://e.com/?nonce=***&AWSAccessKeyId=***&utm_id=***&id=1"),
        ("https://e.com/?sv=1&sr=b&se=2&sig=SECRET&id=1", "https://e.com/?sv=***&sr=***&se=***&sig=***&id=1"),
        ("https://e.com/?redirect=https://user:SECRET@x/&n=1", "https://e.com/?redirect=https://***@x/&n=1"),
        ("https://e.com/?to=https%3A%2F%2Fuser%3ASECRET%40x%2Fa&n=1", "https://e.com/?to=https%3A%2F%2F***%40x%2Fa&n=1"),
        ("https://e.com/?to=https://x/?token=SECRET/SECRET=", "https://e.com/?to=https://x/?token=***"),
        ("https://e.com/?to=https%3A%2F%2Fx%2F%3Fid%3D1%26token%3DSECRET", "https://e.com/?to=https%3A%2F%2Fx%2F%3Fid%3D1%26token%3D***"),
        ("https://e.com/r/https://user:SECRET@x/e.mp3", "https://e.com/r/https://***@x/e.mp3"),
        ("https://e.com/@ann/e.mp3?mail=ann@x", "https://e.com/@ann/e.mp3?mail=ann@x"),
    ],
)  # fmt: skip
def test_redact_url_looks_into_paths_and_values(url: str, shown: str) -> None:
    assert redact_url(url) == shown
    assert redact_url(shown) == shown


@settings(deadline=None)
@given(st.text())
def test_redact_url_never_raises(url: str) -> None:
    redact_url(url)


@settings(deadline=None)
@given(st.text(st.sampled_from("/?&;=%25374Dd:@~ktoen#[]."), max_size=60).map(lambda rest: f"https://e.com/{rest}"))
def test_redacting_twice_shows_no_less(url: str) -> None:
    assert redact_url(redact_url(url)) == redact_url(url)


@settings(deadline=None)
@given(st.text().map(lambda rest: f"https://e.com/{rest}"))
def test_file_title_is_one_readable_line(url: str) -> None:
    try:
        host_of(url)
    except InvalidUrl:
        assume(False)
    assert file_title(url).isprintable()
    assert file_title(url).strip()


@pytest.mark.parametrize(
    ("url", "title"),
    [
        ("https://e.com/a/One%20%26%20only.mp3?Signature=AAAA/topsecret=", "One & only.mp3"),
        ("https://e.com/a/caf%C3%A9.mp3#t=1", "café.mp3"),
        ("https://e.com/a/%FF.mp3", "%FF.mp3"),
        ("https://e.com/a/b%0Ac.mp3", "b c.mp3"),
        ("https://e.com/a/1.mp3;jsessionid=topsecret", "1.mp3"),
        ("https://e.com/a/b%2F1.mp3", "1.mp3"),
        ("https://e.com/a/season=2.mp3", "season=2.mp3"),
        ("https://e.com/?x=1.mp3", "e.com"),
        ("https://e.com", "e.com"),
        ("https://e.com/a/token=topsecret", "e.com"),
        ("https://e.com/a/x%3Ftoken%3Dtopsecret", "e.com"),
        ("https://e.com/to/https://me:topsecret@x.example", "e.com"),
        ("https://e.com/a/eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFt.topsecret", "e.com"),
        ("https://e.com/a/0123456789abcdef0123456789abcdef.mp3", "0123456789abcdef0123456789abcdef.mp3"),
        ("https://e.com/a/the-one-with-a-long-name-and-no-extension", "the-one-with-a-long-name-and-no-extension"),
    ],
)  # fmt: skip
def test_file_title(url: str, title: str) -> None:
    assert file_title(url) == title


@settings(deadline=None)
@given(URLS)
def test_redacting_shows_no_password(url: str) -> None:
    assert "pa55" not in redact_url(url) or "pa55" in url.partition("@")[2]


# ------------------------------------------------------------------------------------------------- GUIDs and ids


@pytest.mark.parametrize(
    ("guid", "normal"),
    [
        ("  a \n b ", "a b"),
        ("http://x.example/1/", "https://x.example/1"),
        ("HTTPS://x.example/1", "https://x.example/1"),
        ("Case", "Case"),
        ("ends/", "ends/"),
    ],
)
def test_normalise_guid(guid: str, normal: str) -> None:
    assert normalise_guid(guid) == normal


@settings(deadline=None)
@given(st.text() | st.text(st.sampled_from("htps:/ x"), max_size=20).map(lambda rest: f"http://{rest}"))
def test_normalise_guid_is_idempotent(guid: str) -> None:
    assert normalise_guid(normalise_guid(guid)) == normalise_guid(guid)


def test_ids() -> None:
    feed = feed_id("https://example.com/feed")
    assert re.fullmatch("[0-9a-f]{16}", feed)
    assert feed == feed_id("HTTPS://me:pw@EXAMPLE.com:443/feed#x")
    assert feed != feed_id("http://example.com/feed")
    episode = episode_id(feed, "http://x.example/1/")
    assert re.fullmatch("[0-9a-f]{20}", episode)
    assert episode == episode_id(feed, " https://x.example/1 ")
    assert episode != episode_id(feed_id("https://example.com/other"), "http://x.example/1/")
    assert (
        direct_guid("http://X.example:80/a") == direct_guid("http://x.example/a") != direct_guid("http://x.example/b")
    )


# ------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["a", "podlove-2019-04-02", "Buzzsprout-123", "A.b_c-1", "x" * 80])
def test_safe_names_are_kept(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("http://x.example/?p=12", r"http-x-example-p-12-[0-9a-f]{8}"),
        ("../../etc/passwd", r"etc-passwd-[0-9a-f]{8}"),
        ("a..b", r"a-b-[0-9a-f]{8}"),
        ("a.", r"a-[0-9a-f]{8}"),
        ("CON", r"con-[0-9a-f]{8}"),
        ("nul.txt", r"nul-txt-[0-9a-f]{8}"),
        ("Café Größe", r"cafe-grosse-[0-9a-f]{8}"),
        ("Эпизод", r"feed-[0-9a-f]{16}"),
        ("", r"feed-[0-9a-f]{16}"),
        ("x" * 81, r"x{63}-[0-9a-f]{16}"),
    ],
)
def test_other_names_become_safe(text: str, pattern: str) -> None:
    assert re.fullmatch(pattern, safe_name(text))


@settings(deadline=None)
@given(HOSTILE, st.integers(24, 100))
def test_a_name_never_leaves_its_folder(text: str, limit: int) -> None:
    name = safe_name(text, limit)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name)
    assert 1 <= len(name) <= limit
    assert not name.endswith(".")
    folder = Path("/base/folder")
    assert Path(os.path.normpath(folder / name)).parent == folder


@settings(deadline=None)
@given(HOSTILE)
def test_safe_name_is_idempotent(text: str) -> None:
    assert safe_name(safe_name(text)) == safe_name(text)


@settings(deadline=None)
@given(st.lists(HOSTILE, unique=True, max_size=30))
def test_different_texts_have_different_names(texts: list[str]) -> None:
    assert len({safe_name(text) for text in texts}) == len(texts)


def test_a_limit_without_room_is_an_error() -> None:
    with pytest.raises(ValueError, match="no room"):
        safe_name("a", 23)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Daily", "the-daily"),
        ("99% Invisible", "99-invisible"),
        ("Søren's Café — Łódź", "sorens-cafe-lodz"),
        ("Der Lautsprecher", "der-lautsprecher"),
        ("1619", "1619"),
        ("播客", "feed"),
        ("", "feed"),
    ],
)
def test_slug(text: str, expected: str) -> None:
    assert slug(text) == expected


@settings(deadline=None)
@given(st.text())
def test_slug_is_idempotent_and_plain(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug(text))
    assert slug(slug(text)) == slug(text)


def test_unique_slug() -> None:
    feed = "0123456789abcdef"
    assert unique_slug("show", set(), feed) == "show"
    assert unique_slug("show", {"show"}, feed) == "show-012345"
    assert unique_slug("show", lambda name: name == "show", feed) == "show-012345"
    assert unique_slug("show", ["show", "show-012345"], feed) == "show-0123456789abcdef"
    with pytest.raises(ValueError, match="taken"):
        unique_slug("show", lambda name: True, feed)


def test_a_host_that_dns_could_not_hold_is_no_host() -> None:
    label = "a" * 60
    longest = ".".join([label] * 4 + ["b" * 9])
    assert host_of(f"http://{longest}/") == longest
    for read in (host_of, normalise_url):
        with pytest.raises(InvalidUrl, match="253"):
            read(f"http://{longest}b/a.mp3")
    assert redact_url(f"http://{longest}b/a.mp3") == "(an unreadable URL)"
