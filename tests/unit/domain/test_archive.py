"""What a meta.json of an archive says (F15)."""

import json

import pytest

from podinsight.domain.archive import read_meta

SIX = 1704088800.0


@pytest.mark.parametrize(
    "said",
    [
        *(1704088800, 1704088800.0, "1704088800", 1704088800000, "2024-01-01T06:00:00Z", "2024-01-01 06:00:00"),
        *("2024-01-01T07:00:00+01:00", " 20240101T060000Z ", "Mon, 01 Jan 2024 06:00:00 GMT"),
    ],
)
def test_dates_are_read_however_they_are_written(said: object) -> None:
    assert read_meta(json.dumps({"published": said}).encode()).published == SIX


def test_a_day_is_a_date() -> None:
    assert read_meta(b'{"published": "2024-01-01"}').published == SIX - 6 * 3600


@pytest.mark.parametrize(
    "said", [None, "", "soon", True, [], {}, 0, -5, 1e17, "1e400", "9" * 5000, "0001-01-01T00:00+14:00"]
)
def test_what_is_no_date_is_none(said: object) -> None:
    assert read_meta(json.dumps({"published": said}).encode()).published is None
