"""How settings are shown to people: in the form in which they can be written, secrets masked."""

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal

from pydantic import BeforeValidator, ByteSize, SecretStr

from podinsight.settings_values import NONE, alert_levels, stop_level

_PASSWORD = re.compile(r"(://[^:@/?#]*):.*@")
_PASSWORD_ARGUMENT = re.compile(r"([?&](?:password|passwd|pwd)=)[^&#]*", re.IGNORECASE)


def masked(url: str) -> str:
    """A URL whose password is not shown."""
    return _PASSWORD_ARGUMENT.sub(r"\1****", _PASSWORD.sub(r"\1:****@", url))


def is_level(metadata: Iterable[object]) -> bool:
    """Whether a field with these annotations is a level, which may be `none`."""
    return any(isinstance(each, BeforeValidator) and each.func in (stop_level, alert_levels) for each in metadata)


def shown(value: object, metadata: Iterable[object] = ()) -> str:
    """A setting's value for a person, in the form in which it can be written; secrets and passwords masked.

    metadata: the annotations of its field.
    """
    if value in (None, ()) and is_level(metadata):
        return NONE
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return "****"
    if isinstance(value, ByteSize):
        return value.human_readable(separator=" ").replace(".0 ", " ")
    if isinstance(value, Mapping):
        if any("," in str(each) for each in value.values()):
            return json.dumps(value, ensure_ascii=False)
        return ",".join(f"{name}={limit}" for name, limit in value.items())
    if isinstance(value, tuple):
        return ",".join("****" if isinstance(item, SecretStr) else shown(item) for item in value)
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return f"{value:g}" if isinstance(value, float) else masked(str(value))
