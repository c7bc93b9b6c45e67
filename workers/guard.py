"""The guard queue: the sweeps of the cost guard. Every task here may run twice at once and does no harm."""

from podinsight.bootstrap.money import guard_ports, guard_rules
from podinsight.services.scale import scale
from podinsight.services.sweep import sweep
from workers.app import settings, task
from workers.process import container


@task("scale_fleet")
def scale_fleet() -> str:
    """As many gpu workers as work and budget ask for."""
    return scale(guard_ports(settings, container()), guard_rules(settings))


@task("sweep_costs")
def sweep_costs() -> str:
    """What is spent and what runs, against the stop levels; tells people what is new."""
    return sweep(guard_ports(settings, container()), guard_rules(settings))
