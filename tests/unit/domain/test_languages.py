"""What may be asked for as the language of speech."""

import pytest
from faster_whisper.tokenizer import _LANGUAGE_CODES

from podinsight.domain.languages import LANGUAGES, objection


def test_the_languages_are_whispers_own() -> None:
    assert frozenset(_LANGUAGE_CODES) == LANGUAGES


@pytest.mark.parametrize(
    ("language", "model"), [("en", "tiny.en"), ("en", "base"), ("haw", "base"), ("de", "large-v3")]
)
def test_a_language_that_the_model_knows(language: str, model: str) -> None:
    assert objection(language, model) == ""


@pytest.mark.parametrize(
    ("language", "model", "said"),
    [("xx", "base", "no language 'xx'"), ("de", "tiny.en", "tiny.en knows English alone")],
)
def test_a_language_that_it_does_not_know(language: str, model: str, said: str) -> None:
    assert said in objection(language, model)
