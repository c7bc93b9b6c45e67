"""Findings: money that runs for nothing, or what is about to make it run (G5)."""

from dataclasses import dataclass

from podinsight.domain.money import Micros


@dataclass(frozen=True)
class Finding:
    """what: one line (`has been idle for 700 s`). subject: the machine, group or level it is about. day_micros: what a
    day of it costs. fix: what was done about it, or what a person should do; empty when nothing needs doing."""

    what: str
    subject: str
    day_micros: Micros
    fix: str = ""
