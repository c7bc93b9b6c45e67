"""What people are told, and how loudly (O7: critical pages, warnings chat, summaries mail)."""

from dataclasses import dataclass
from enum import StrEnum

from podinsight.domain.control import Control


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


def stop_key(what: str, was: Control) -> str:
    """The key of the alert about a stop: whoever stops the same again after a resume is heard again.

    was: what held before, as `read` gives it."""
    return f"{what}:{was.at:.0f}" if was.at else what
