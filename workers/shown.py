"""What task events, Flower and `celery inspect` show of a task's arguments: no credentials of URLs (N7)."""

from collections.abc import Iterable, Mapping
from typing import Any

from celery.worker.request import Request

from podinsight.domain.identity import redact_url
from podinsight.domain.redaction import redact_text


def shown(value: object) -> object:
    """An argument, or the arguments, as they may be shown. What is no text, list or mapping becomes its `repr`."""
    match value:
        case str():
            return redact_url(value) if value.lower().startswith(("http:", "https:")) else redact_text(value)
        case Mapping():
            return {redact_text(str(name)): shown(each) for name, each in value.items()}
        case Iterable():
            return [shown(each) for each in value]
    return redact_text(repr(value))


class ShownRequest(Request):  # type: ignore[misc]
    """Celery's request, which says `argsrepr` as its sender made it, and the arguments themselves to `inspect`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._argsrepr, self._kwargsrepr = repr(shown(self._args)), repr(shown(self._kwargs))
        self._request_dict |= {"argsrepr": self._argsrepr, "kwargsrepr": self._kwargsrepr}

    def info(self, safe: bool = False) -> dict[str, object]:
        return super().info(safe) | {"args": shown(self._args), "kwargs": shown(self._kwargs)}
