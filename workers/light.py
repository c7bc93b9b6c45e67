"""The light queue: what beat asks for. Every task here may run twice at once and does no harm."""

from podinsight.bootstrap.money import guard_ports, guard_rules
from podinsight.services import clean as cleaning
from podinsight.services import dispatch as dispatching
from podinsight.services import reconcile as reconciling
from podinsight.services import register as registering
from podinsight.services.daily import check_daily
from workers.app import settings, task
from workers.process import container


@task("dispatch")
def dispatch() -> str:
    """Fills free slots."""
    world = container()
    sent = dispatching.dispatch(world.store, world.queue)
    world.store.control.tick("dispatch")
    return f"{sent} units sent"


@task("reconcile")
def reconcile() -> str:
    """Returns what got lost, then fills free slots."""
    world = container()
    report = reconciling.reconcile(world.store, world.objects, settings.dispatch_expiry_seconds)
    sent = dispatching.dispatch(world.store, world.queue)
    return "; ".join([f"{report.rows}, {report.projected} projected, {sent} units sent", *report.faults])


@task("clean")
def clean() -> str:
    """Sweeps what lost attempts left in the object store, an hour later: a frozen worker may still wake and write."""
    world = container()
    report = cleaning.clean(world.store, world.objects, world.clock, older_seconds=3600)
    return "; ".join([f"{report.prefixes} lost attempts, {report.objects} objects swept", *report.faults])


@task("register_segments")
def register_segments() -> str:
    """Makes the segments that have landed partitions of the table, where there is one."""
    world = container()
    report = registering.register(world.store, world.objects, world.table, world.clock)
    return "; ".join([f"{report.registered} registered", *report.faults[:5]])


@task("check_daily_cost")
def check_daily_cost() -> str:
    """Yesterday's report, red flags and the bill, once a UTC day."""
    return check_daily(guard_ports(settings, container()), guard_rules(settings))
