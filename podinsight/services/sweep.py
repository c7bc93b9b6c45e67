"""The cost sweep: what runs and what is spent, against the stop levels (G3, G5, G8)."""

from podinsight.services.guard import GuardPorts, GuardRules


def sweep(ports: GuardPorts, rules: GuardRules) -> str:
    ports.store.control.tick("sweep")
    return "nothing yet"
