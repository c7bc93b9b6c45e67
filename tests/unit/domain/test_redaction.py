"""No credential of a URL is shown in the texts of others."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podinsight.domain.redaction import redact_text, unexpected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no URL at all: 12:30 // a", "no URL at all: 12:30 // a"),
        ("see https://h.test/a?token=s3cret&n=1.", "see https://h.test/a?token=***&n=1."),
        ("(https://u:s3cret@h.test/a)", "(https://h.test/a)"),
        ("('HTTPS://u:s3cret@h.test/a?sig=s3cret',)", "('https://h.test/a?sig=***',)"),
        ("['http://u:s3cret@a.test/','http://v:s3cret@b.test/x']", "['http://a.test/','http://b.test/x']"),
        ("https://track.test/r/https://u:s3cret@b.test/?key=s3cret", "https://track.test/r/https://b.test/?key=***"),
        ("redis://:s3cret@h.test:6379/0 and postgresql+psycopg://u:s3cret@db/x", "redis://h.test:6379/0 and "
         "postgresql+psycopg://db/x"),
        ("https://u:s3cr'et-s3cret@h.test/a", "https://h.test/a"),
        ("https://u:s3cret...", "(an unreadable URL)..."),
        ("https://", "(an unreadable URL)"),
    ],
)  # fmt: skip
def test_every_url_in_a_text_is_redacted(text: str, shown: str) -> None:
    found = redact_text(text)
    assert "s3cret" not in found
    if text != "https://":
        assert found == shown


@given(st.text(), st.text(alphabet=st.characters(exclude_characters='"<>', exclude_categories=("Z", "C"))))
def test_no_text_makes_it_raise_or_show_userinfo(before: str, behind: str) -> None:
    assert "pa55word" not in redact_text(f"{before} https://user:pa55word@h.test/{behind}")


def test_a_long_text_is_no_burden() -> None:
    """Time that grew with the square of the length would be several times that."""
    started = time.process_time()
    for text in ("a" * 200_000, "https://" + "a" * 200_000, "https://a/" * 20_000, "://" * 60_000):
        redact_text(text)
    assert time.process_time() - started < 4


def test_of_an_unexpected_error_the_first_line_is_said() -> None:
    error = KeyError("x")
    assert unexpected(error) == "KeyError: 'x'"
    wrong = RuntimeError(
        "\n(db) failed at https://u:s3cret@h.test/\n[SQL: …]\n[parameters: ('https://h/?token=s3cret')]"
    )
    assert unexpected(wrong) == "RuntimeError: (db) failed at https://h.test/"
    assert unexpected(RuntimeError()) == "RuntimeError: "
