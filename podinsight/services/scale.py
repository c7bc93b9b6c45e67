"""How many gpu workers there are: the brain decides, the fleet carries it out (G5, G6)."""

from podinsight.services.guard import GuardPorts, GuardRules


def scale(ports: GuardPorts, rules: GuardRules) -> str:
    ports.store.control.tick("scale")
    return "nothing yet"
