"""The languages that Whisper knows, by its codes: ISO 639-1, but for `haw`, `jw` (Javanese) and `yue`."""

from typing import Final

_CODES: Final = """
af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id is it
ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn
so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh
"""
LANGUAGES: Final = frozenset(_CODES.split())


def objection(language: str, model: str) -> str:
    """Why speech cannot be transcribed as this language by this model; empty when it can. `large-v3` alone knows `yue`,
    and who names a folder of weights knows what is in it."""
    if language not in LANGUAGES:
        return (
            f"Whisper knows no language {language!r}: give a code such as en or de, or leave it out to have it detected"
        )
    if model.endswith(".en") and language != "en":
        return f"the model {model} knows English alone: ask for one without .en for {language!r}"
    return ""
