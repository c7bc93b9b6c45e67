"""The ceiling on the embedded stack, with real workers and a price that is made up (G2, G3; COST-GUARD 12, 14, 16)."""

from pathlib import Path

from podinsight.bootstrap.money import resume_ports
from podinsight.domain.budget import PROJECT_KEY, Scope
from podinsight.domain.days import day_of
from podinsight.domain.money import micros
from podinsight.domain.work import State
from podinsight.ports import By
from podinsight.services.resume import resume
from tests.support.audio import unlike
from tests.support.feeds import rss
from tests.support.spending import recount_money
from tests.support.stack import QUICK_FLEET, ROOT, Stack, running_stack, wait_for
from tests.support.webserver import WebServer

MP3 = (ROOT / "samples" / "episode-1.mp3").read_bytes()
CEILING = micros("0.02")
PAID = QUICK_FLEET | {"PODINSIGHT_CPU_HOUR_USD": "2.8"}


def feed(web: WebServer, stack: Stack, name: str, episodes: int) -> list[str]:
    items = []
    for n in range(episodes):
        web.serve(f"/{name}-{n}.mp3", unlike(MP3, f"{name}-{n}"), mime="audio/mpeg")
        items.append((f"{name}-{n}", web.url(f"/{name}-{n}.mp3")))
    web.serve(f"/{name}.xml", rss(name, items), mime="application/rss+xml")
    return stack.add_feed(web.url(f"/{name}.xml"))


def adds_up(stack: Stack) -> None:
    """To the micro-dollar: budgets and ledger at one moment, and every report between two sweeps, which write to it."""
    recount_money(stack.store)
    today = day_of(stack.world.clock.now())

    def same() -> bool:
        sums = [sum(each.micros for each in stack.store.purse.totals(by, "2000-01-01", today)) for by in By]
        lines = stack.store.purse.entries("2000-01-01", today, limit=100_000)
        return {*sums, sum(line.entry.micros for line in lines)} == {
            stack.store.purse.spent(Scope.PROJECT, PROJECT_KEY)
        }

    wait_for(same, 10, "all reports have the sum of the ledger")


def test_scenario_12_a_stop_level_freezes_in_time_while_downloads_go_on(tmp_path: Path) -> None:
    """G2, G3: GPU work of a day never costs more than its stop level, downloads go on under the freeze, and what was
    stopped is done once a person has raised the level and lifted the freeze."""
    with WebServer() as web:
        with running_stack(tmp_path, **PAID, PODINSIGHT_STOP_GPU_DAY_USD="0.02") as stack:
            today = day_of(stack.world.clock.now())
            ids = feed(web, stack, "many", 30)
            stack.start(ids)
            spent = []

            def frozen() -> bool:
                budget = stack.store.purse.budget(Scope.GPU_DAY, today)
                spent.append(budget.spent + budget.reserved)
                return stack.store.control.read().gpu_frozen

            wait_for(frozen, 120, "GPU work is frozen")
            later = feed(web, stack, "later", 2)
            stack.start(later)
            stack.wait_ended("fetch", [*ids, *later], 60)
            wait_for(lambda: not stack.running("transcribe"), 30, "who was at it has handed back or is done")
            assert stack.store.purse.open(Scope.GPU_DAY, today) == 0
            assert 0 < stack.store.purse.spent(Scope.GPU_DAY, today) <= CEILING
            assert max(spent) <= CEILING
            states = stack.states("transcribe", ids)
            assert 0 < states.count(State.DONE) < len(ids), "the ceiling came between"
            adds_up(stack)
        with running_stack(tmp_path, **PAID, PODINSIGHT_STOP_GPU_DAY_USD="10") as stack:
            assert stack.store.control.read().gpu_frozen, "a restart lifts nothing"
            before = stack.store.control.read()
            assert before.by == "cost guard"
            lifted = resume(resume_ports(stack.settings, stack.store), stack.settings.limits(), "ada", "it is raised")
            assert lifted.reached == ()
            stack.wait_ended("transcribe", [*ids, *later], 180)
            assert set(stack.states("transcribe", [*ids, *later])) == {State.DONE}
            assert set(stack.commits().values()) == {1}, "nothing is paid for twice"
            adds_up(stack)
