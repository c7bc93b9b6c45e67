"""What two URLs of one enclosure have in common (F10)."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from podinsight.domain.enclosure import fingerprint
from podinsight.domain.identity import InvalidUrl, host_of, normalise_url

PLAIN = "cdn.example.com/a/1.mp3"
TOKEN = "c0Ffee12Kd92QxLm7Zt4Rb8Wc"
HEX = "d41d8cd98f00b204e9800998ecf8427e"
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
URLS = st.builds(
    lambda scheme, user, host, port, rest: f"{scheme}://{user}{host}{port}/{rest}",
    st.sampled_from(["http", "HTTP", "https", "Https"]),
    st.sampled_from(["", "me@", "me:pa55@"]),
    st.sampled_from(["Example.COM", "bücher.de", "127.0.0.1", "[::1]", "a.b.c.", "ＦＵＬＬ.example"]),
    st.sampled_from(["", ":80", ":443", ":8080"]),
    st.text() | st.text(st.sampled_from("?&;=/.aA1-%token"), max_size=60),
)


@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.example.com/a/1.mp3",
        "HTTPS://CDN.example.com:443/a/1.mp3#t=10",
        "https://me:pa55@cdn.example.com/a/1.mp3",
        "http://cdn.example.com:443/a/1.mp3",
        "https://cdn.example.com:80/a/1.mp3",
        f"https://cdn.example.com/a/1.mp3?token={TOKEN}&session={HEX}&auth={JWT}",
        "https://cdn.example.com/a/1.mp3?nonce=b1946ac9-2492-4d23-87c6-235b4d2611184&cb=1700000000&updated=1700000000000",
        "https://cdn.example.com/a/1.mp3?sig=oZ3%2BfK9%2Fq1Wb7Yx2Rt8Lm5Vc%3D&policy=p&token=short",
        "https://cdn.example.com/a/1.mp3?token=short&expires=1700000000",
        "https://cdn.example.com/a/1.mp3?Expires=1&Signature=b&Key-Pair-Id=c&Policy=d",
        "https://cdn.example.com/a/1.mp3?X-Amz-Date=1&X-Amz-Signature=2&x-amz-security-token=3",
        "https://cdn.example.com/a/1.mp3?AWSAccessKeyId=1&Expires=2&Signature=3",
        "https://cdn.example.com/a/1.mp3?X-Goog-Signature=1",
        "https://cdn.example.com/a/1.mp3?sv=2022&sr=b&st=1&se=2&sp=r&sig=x",
        "https://cdn.example.com/a/1.mp3?hdnts=exp=1~acl=/*~hmac=2",
        "https://cdn.example.com/a/1.mp3?token=exp=1~acl=/*~hmac=2",
        "https://cdn.example.com/a/1.mp3?utm_source=rss;utm_medium=feed&fbclid=1",
        "https://cdn.example.com/a/1.mp3?dest-id=12345&updated=1700000000&&",
        "https://cdn.example.com/a/token=exp=1~hmac=2/1.mp3",
        f"https://cdn.example.com/a/expires=1700000000/sig={HEX}/1.mp3",
    ],
)
def test_urls_of_one_enclosure_have_one_fingerprint(url: str) -> None:
    assert fingerprint(url) == PLAIN


@pytest.mark.parametrize(
    "query",
    [
        *("id=1", "episode=1", "e=1", "file=1.mp3", "key=1.mp3", "hash=ab", "code=7", "t=1", "ts=1", "src=1.mp3"),
        *("source=1.mp3", "ref=1", "author=ann", "se=2", "sv=1", "sid=4", "1", f"id={HEX}"),
        *("token=ep1", "token=", "token", "session=1", "policy=2", "updated=3", "nonce=4", "auth=ann", "exp=9", "cb=1"),
        *("token=Ep12-Interview-With-Bob-2024", "session=20240101", "token=the-one-with-the-long-name", "sig=monday"),
    ],
)
def test_what_may_tell_two_episodes_apart_counts(query: str) -> None:
    for url in (f"https://cdn.example.com/a/1.mp3?{query}", f"https://cdn.example.com/a/1.mp3?token={TOKEN}&{query}"):
        assert fingerprint(url) == f"{PLAIN}?{query}"


def test_a_path_counts_but_for_the_tokens_in_it() -> None:
    assert fingerprint("https://a.test/token=ep1/x.mp3") != fingerprint("https://a.test/token=ep2/x.mp3")
    assert fingerprint(f"https://a.test/token={HEX}/x.mp3") == "a.test/x.mp3"


def test_two_servers_of_one_host_are_two() -> None:
    one, two, plain = (fingerprint(f"http://a.test{port}/x.mp3") for port in (":8001", ":8002", ""))
    assert len({one, two, plain}) == 3
    assert fingerprint("https://me@a.test:8001/x.mp3") == one


def test_the_order_of_parameters_does_not_count_and_the_case_of_a_path_does() -> None:
    assert fingerprint("https://a.test/x?b=2&a=1") == fingerprint(f"http://a.test/x?a=1&token={TOKEN}&b=2")
    assert fingerprint("https://a.test/X") != fingerprint("https://a.test/x")


def test_a_long_fingerprint_fits_an_index_and_still_tells_apart() -> None:
    one, two = (fingerprint(f"https://a.test/{'x' * 5000}{end}") for end in "ab")
    assert one != two
    assert len(one) == len(two) == 565


@given(URLS)
def test_a_fingerprint_is_that_of_the_normalised_url(url: str) -> None:
    try:
        normal = normalise_url(url)
    except InvalidUrl:
        assume(False)
    assert fingerprint(url) == fingerprint(normal)
    assert "pa55" not in fingerprint(url)
    assert fingerprint(url).startswith(host_of(url))


def test_what_is_no_url_has_no_fingerprint() -> None:
    with pytest.raises(InvalidUrl):
        fingerprint("ftp://a.test/1.mp3")
