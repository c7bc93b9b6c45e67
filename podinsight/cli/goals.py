"""A run against the goals: more than 98 % downloaded, less than 1 % answered 429 or 503 (T9)."""

import time
from typing import Final

from podinsight.domain.metrics import SUCCESS_GOAL, THROTTLED_GOAL
from podinsight.ports import StatusStore
from podinsight.services.gates import Traffic, goal, percent, traffic, utc_day

NOTED_SECONDS: Final = 3.0


class Meter:
    """Requests since it was set up. They are counted for all workers together, those of other runs included."""

    def __init__(self, store: StatusStore) -> None:
        self._store, self._day = store, utc_day(time.time())
        self._before = traffic(store.hosts.rows(self._day))

    def settled(self, downloads: int) -> Traffic:
        """Since then, once the workers have noted as many requests as there were downloads at least: they write what
        they saw every couple of seconds."""
        until = time.monotonic() + NOTED_SECONDS
        while (found := self.since()).requests < downloads and time.monotonic() < until:
            time.sleep(0.1)
        return found

    def since(self) -> Traffic:
        today = utc_day(time.time())
        found = traffic(self._store.hosts.rows(self._day)).since(self._before)
        if today == self._day:
            return found
        later = traffic(self._store.hosts.rows(today))  # midnight (UTC) has passed
        return Traffic(found.requests + later.requests, found.throttled + later.throttled)


def goals_document(done: int, ended: int, asked: Traffic) -> dict[str, object]:
    """done of ended: this run's downloads. None where there is nothing to judge."""
    success, throttled = (done / ended if ended else None), asked.share
    return {
        "success_rate": success,
        "success_goal": SUCCESS_GOAL,
        "success_met": None if success is None else success > SUCCESS_GOAL,
        "requests": asked.requests,
        "throttled": asked.throttled,
        "throttled_rate": throttled,
        "throttled_goal": THROTTLED_GOAL,
        "throttled_met": None if throttled is None else throttled < THROTTLED_GOAL,
    }


def goals_words(done: int, ended: int, asked: Traffic) -> list[str]:
    """A line each of what there is to judge."""
    lines = []
    if ended:
        verdict = "met" if done / ended > SUCCESS_GOAL else "missed"
        lines.append(f"downloaded {percent(done / ended)} of {ended:,} (goal {goal(SUCCESS_GOAL, '>')}: {verdict})")
    if asked.share is not None:
        verdict = "met" if asked.share < THROTTLED_GOAL else "missed"
        words = f"{percent(asked.share)} of {asked.requests:,} requests"
        lines.append(f"answered 429 or 503: {words} (goal {goal(THROTTLED_GOAL, '<')}: {verdict})")
    return lines
