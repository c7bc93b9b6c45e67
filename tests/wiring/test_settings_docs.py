from pathlib import Path

from podinsight.cli.settings_docs import page
from podinsight.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[2]


def test_the_settings_page_is_what_make_docs_writes() -> None:
    assert (CHECKOUT / "docs" / "settings.md").read_text("utf-8") == page(), "run `make docs`"


def test_the_page_names_every_setting_and_nothing_of_this_machine() -> None:
    text = page()
    assert [name for name in Settings.model_fields if f"`PODINSIGHT_{name.upper()}`" not in text] == []
    assert str(Path.home()) not in text
    assert str(CHECKOUT) not in text
