"""What people are told, and how loudly (O7: critical pages, warnings chat, summaries mail)."""

import hashlib
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
    halts = now.mode is Mode.HALTED is not was.mode  # under somebody's halt a freeze is all that is new
    said = "everything is halted" if halts else "GPU work is frozen"
    return Alert(key, Severity.CRITICAL, f"{said}: {now.why}", f"{_first(what)}`{RESUME}` goes on.")


def person_stop_alert(mode: Mode, was: Control, by: str, why: str) -> Alert:
    """What a team is told when one of them pauses or halts. was: as in `stop_alert`.

    Who pauses and why is part of the key: what is put below a halt leaves that as it was, with its time.
    """
    ends = " What runs is finished." if mode is Mode.PAUSED else ""
    body = f"Nothing new starts.{ends} `{RESUME}` goes on."
    said = f"{by}: {why}"
    key = f"control:{mode.value}:{was.at:.3f}:{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    return Alert(key, Severity.WARNING, f"{mode.value} by {said}", body)


def resume_alert(last: Control, was: Control, now: Control, by: str, why: str) -> Alert:
    """What a team is told when one of them goes on. last: the stop that is lifted, with what it had added; now: what
    holds afterwards."""
    still = f"Still {now.what} by {now.by}: {now.why}" if now.stops else "Work goes on."
    body = f"Lifted: {last.what} by {last.by}: {last.why}\n{still}"
    return Alert(f"control:resumed:{was.at:.3f}", Severity.WARNING, f"resumed by {by}: {why}", body)


def _first(what: str) -> str:
    """What else must be done before it goes on for good; empty where no stop level of all work was reached."""
    scope = what.removeprefix("stop:").partition(":")[0]
    if scope not in BURNS:
        return ""
    return f"Raise `{stop_setting(Scope(scope))}` and `podrun restart` first, or it is stopped again. "
