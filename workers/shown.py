"""What task events, Flower and `celery inspect` show of a task's arguments: no credentials of URLs."""

from collections.abc import Mapping
from typing import Any

from celery.utils.saferepr import saferepr
from celery.worker.request import Request

from podinsight.domain.identity import redact_url
from podinsight.domain.redaction import redact_text


def shown(value: object) -> object:
    """An argument of JSON, or all of them, as they may be shown."""
    match value:
        case str():
            return redact_url(value) if value.lower().startswith(("http:", "https:")) else redact_text(value)
        case Mapping():
            return {redact_text(str(name)): shown(each) for name, each in value.items()}
        case list() | tuple():
            return [shown(each) for each in value]
    return value


def representation(value: object) -> str:
    """The text of arguments in task events, as long as Celery's own."""
    return str(saferepr(shown(value), 1024))


class ShownRequest(Request):  # type: ignore[misc]
    """Celery's request, which says `argsrepr` as its sender made it, and the arguments themselves to `inspect`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._argsrepr, self._kwargsrepr = representation(self._args), representation(self._kwargs)
        self._request_dict |= {"argsrepr": self._argsrepr, "kwargsrepr": self._kwargsrepr}

    def info(self, safe: bool = False) -> dict[str, object]:
        said: dict[str, object] = super().info(safe)
        return said | {"args": shown(self._args), "kwargs": shown(self._kwargs)}
