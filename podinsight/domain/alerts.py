"""What people are told, and how loudly (O7: critical pages, warnings chat, summaries mail)."""

from dataclasses import dataclass
from enum import StrEnum

from podinsight.domain.budget import BURNS, Scope, stop_setting
from podinsight.domain.control import RESUME, Control, Mode


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"
    SUMMARY = "summary"


@dataclass(frozen=True)
class Alert:
    """key: what it is about, said once (`stop:gpu_day:2026-11-22`, at most 200 characters). title: one line. body:
    plain text, which never holds a secret."""

    key: str
    severity: Severity
    title: str
    body: str = ""


def stop_alert(what: str, was: Control, now: Control) -> Alert:
    """What people are told of a stop; whoever stops the same again after a resume is heard again.

    what: the key of what was reached (`stop:gpu_day:2026-11-22`). was: what held before, as `read` gives it.
    """
    key = f"{what}:{was.at:.0f}" if was.at else what
    said = "everything is halted" if now.mode is Mode.HALTED else "GPU work is frozen"
    return Alert(key, Severity.CRITICAL, f"{said}: {now.why}", f"{_first(what)}`{RESUME}` goes on.")


def _first(what: str) -> str:
    """What else must be done before it goes on for good; empty where no stop level of all work was reached."""
    scope = what.removeprefix("stop:").partition(":")[0]
    if scope not in BURNS:
        return ""
    return f"Raise `{stop_setting(Scope(scope))}` and `podrun restart` first, or it is stopped again. "
