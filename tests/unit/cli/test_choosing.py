"""Which episodes a command is about."""

from podinsight.cli.choosing import preview
from tests.unit.cli.desk import Desk


def test_the_title_of_a_new_url_is_what_adding_it_would_store(desk: Desk) -> None:
    for url, title in (
        ("https://cdn.test/a/One%20two.mp3?Signature=AAAA/topsecret=", "One two.mp3"),
        ("https://cdn.test/?Signature=AAAA/topsecret=", "cdn.test"),
    ):
        assert preview(desk.store, url).title == title
    assert desk.store.catalogue.first_episodes(None) == []
