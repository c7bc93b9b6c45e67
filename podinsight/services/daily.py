"""The daily check: yesterday's report, red flags, and the bill (G5, G7)."""

from podinsight.services.guard import GuardPorts, GuardRules


def check_daily(ports: GuardPorts, rules: GuardRules) -> str:
    ports.store.control.tick("check_daily_cost")
    return "nothing yet"
