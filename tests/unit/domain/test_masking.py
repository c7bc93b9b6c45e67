"""What of paths and queries is hidden (see test_identity for whole URLs)."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from podinsight.domain.masking import looks_random, masked_path, masked_query

PIECES = ("/", "%2F", "//", "@", "=", "%3D", "%25", "%", "k=", "a", ";", "&", "?", "~", "token")


@pytest.mark.parametrize(
    "name",
    [
        *("token", "feed_token", "urltoken", "__token__", "auth", "authorization", "jwt", "hmac", "sig", "signature"),
        *("policy", "nonce", "expires", "expire", "expiry", "expiration", "exp", "session-id", "jsessionid", "sid"),
        *("key-pair-id", "hdnea", "hdnts", "hdntl", "awsaccesskeyid", "GoogleAccessId", "x-oss-date", "pw"),
        *("utm_source", "fbclid", "gclid", "mc_cid", "mc_eid", "dest-id", "updated", "cb", "nocache", "cachebuster"),
    ],
)
def test_names_whose_values_are_hidden(name: str) -> None:
    assert masked_query(f"a=1&{name}=s3cret;b=2") == f"a=1&{name}=***;b=2"
    assert masked_path(f"/a/{name}=s3cret/b;{name}=s3cret") == f"/a/{name}=***/b;{name}=***"


@pytest.mark.parametrize("query", ["id=1&episode=2&t=30&e=3", "sv=1&sr=2", "cbs=1&exponent=2&k=short", "n", ""])
def test_what_is_shown(query: str) -> None:
    assert masked_query(query) == query


@example("K=00000/TOKEN0=")
@example("//token%3D%25?a;@")
@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_nothing_raises(text: str) -> None:
    assert masked_path(masked_path(text)) == masked_path(text)
    assert masked_query(masked_query(text)) == masked_query(text)
    looks_random(text)


@pytest.mark.parametrize("piece", PIECES)
def test_a_long_text_is_no_burden(piece: str) -> None:
    """Time that grew with the square of the length would be several times that."""
    text = "//" + piece * (200_000 // len(piece))
    began = time.process_time()
    masked_path(text), masked_query(text), looks_random(text)
    assert time.process_time() - began < 4
