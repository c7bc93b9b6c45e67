"""COST-GUARD 11, 16 and 17 and economy mode with real processes: one embedded stack with a made-up price (G2, G3, G8).

Others of that list are in test_spending.py (12) and test_interruptions.py (18, 19).
"""

import json
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from podinsight.adapters.database.models import stage_runs
from podinsight.adapters.database.money_tables import alerts
from podinsight.adapters.whisper_models import WhisperOptions, find
from podinsight.bootstrap import build
from podinsight.domain.budget import Scope
from podinsight.domain.control import GUARD, Control
from podinsight.domain.days import day_of
from podinsight.domain.economy import HELD_FOR_ECONOMY
from podinsight.domain.money import Unit, micros
from podinsight.domain.work import State
from podinsight.ports import Bearer, Entry
from podinsight.services.stop_mark import KEY
from podinsight.supervisor import stack as supervised
from tests.support.audio import unlike
from tests.support.feeds import rss
from tests.support.long_audio import RATE, flac, strung
from tests.support.spending import recount_money
from tests.support.stack import QUICK_FLEET, ROOT, Stack, running_stack, wait_for
from tests.support.webserver import WebServer

MP3 = (ROOT / "samples" / "episode-1.mp3").read_bytes()
BIG, SMALL = "base.en", "tiny.en"
CEILING = micros("0.15")  # of an episode: fifteen seconds of a worker
PAID = QUICK_FLEET | {
    "PODINSIGHT_CHUNK_SECONDS": "30",
    "PODINSIGHT_CPU_HOUR_USD": "36",
    "PODINSIGHT_STOP_ITEM_USD": "0.15",
    "PODINSIGHT_ECONOMY_ITEM_USD": "0.06",
    "PODINSIGHT_ECONOMY_HOLD_SECONDS": "40",  # more than a sample
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two models are on its machine. (Behind the name of the big one are the weights of the small one: no others come
    with podinsight.)"""
    models = tmp_path_factory.mktemp("models")
    (models / BIG).symlink_to(find(SMALL, WhisperOptions(), download=False))
    more = PAID | {"PODINSIGHT_MODEL_DIR": str(models)}
    with running_stack(tmp_path_factory.mktemp("scenarios"), **more) as running:
        yield running


def offer(stack: Stack, web: WebServer, name: str, sound: bytes, mime: str = "audio/mpeg") -> list[str]:
    """A feed of one episode."""
    web.serve(f"/{name}", sound, mime=mime)
    web.serve(f"/{name}.xml", rss(name, [(name, web.url(f"/{name}"))]), mime="application/rss+xml")
    return stack.add_feed(web.url(f"/{name}.xml"))


def later(stack: Stack, tick: str, seconds: float) -> Callable[[], bool]:
    """Whether beat's `tick` has come again since, `seconds` of it."""
    before = stack.store.control.ticks().get(tick, 0.0)
    return lambda: stack.store.control.ticks().get(tick, 0.0) > before + seconds


def tries(stack: Stack, episode_id: str) -> int:
    """How many leases on chunks of an episode have come to an end."""
    query = select(func.count()).where(stage_runs.c.episode_id == episode_id, stage_runs.c.stage == "transcribe")
    with stack.store.db.read() as connection:
        return int(connection.execute(query).scalar_one())


def models_used(stack: Stack, episode_id: str) -> set[str]:
    """By which models the chunks of a transcript were decoded."""
    (episode,) = stack.store.catalogue.episodes([episode_id])
    return set(json.loads(stack.world.objects.get(f"{episode.stage}/kpis/kpis.json"))["models"])


def alert_keys(stack: Stack) -> set[str]:
    """Of everything that people were to be told."""
    with stack.store.db.read() as connection:
        return set(connection.execute(select(alerts.c.key)).scalars())


@contextmanager
def silent(pid: int) -> Iterator[None]:
    """A process that is there and does not answer."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_economy_mode_begins_with_a_dear_episode_and_ends_with_it(stack: Stack, web: WebServer) -> None:
    """G8, all by itself: while an episode that is near its level is not done, long ones are held and the others are
    begun with the smaller model. No worker comes until that is so. (Half as many of them: unit/domain/test_brain.py.)
    """
    stack.podrun("fleet", "stop", "--by", "ada", "--why", "until everything waits")
    dear, short = (offer(stack, web, f"{name}.mp3", unlike(MP3, name)) for name in ("dear", "short"))
    long = offer(stack, web, "lengthy", flac(strung(42, seed=0)[0][: 42 * RATE]), "audio/flac")
    today = day_of(stack.world.clock.now())
    spent = Entry("transcribe", "gpu", micros("0.06"), Unit.EACH, 1, "cuda")
    assert stack.store.purse.charge("what it has cost", Bearer(today, episode_id=dear[0]), [spent])
    stack.start(short, model=BIG, priority="high")
    stack.start([*dear, *long], model=BIG)

    held = {long[0]: (State.HELD, HELD_FOR_ECONOMY)}
    wait_for(lambda: stack.store.work.states("transcribe", long) == held, 30, "the long one is held")
    control = stack.store.control.read()
    assert (control.economy, control.by, control.stops) == (True, GUARD, False)
    assert f"economy:{today}" in alert_keys(stack)
    stack.podrun("fleet", "start", "--by", "ada", "--why", "everything waits")
    stack.wait_ended("transcribe", [*short, *dear], 60)
    assert models_used(stack, short[0]) == models_used(stack, dear[0]) == {SMALL}

    wait_for(lambda: not stack.store.control.read().economy, 15, "it is over")
    over, began = stack.store.control.since(0.0)[:2]
    assert (over.economy, over.by, began) == (False, GUARD, control)
    stack.wait_ended("transcribe", long, 60)
    assert models_used(stack, long[0]) == {BIG}, "what waited has lost nothing"
    recount_money(stack.store)


def test_scenario_16_an_episode_that_reaches_its_level_is_held_and_others_go_on(stack: Stack, web: WebServer) -> None:
    """G2, G3: never above its level, with what was reserved; its parts are kept, nobody tries it again, and the next
    episode is transcribed as if nothing had been."""
    long = offer(stack, web, "long", flac(strung(1200, seed=0)[0]), "audio/flac")
    stack.start(long)
    seen: list[int] = []

    def held() -> bool:
        budget = stack.store.purse.budget(Scope.ITEM, long[0])
        seen.append(budget.spent + budget.reserved)
        ((state, reason),) = stack.store.work.states("transcribe", long).values()
        return state is State.HELD and str(reason).startswith("budget: ")

    wait_for(held, 90, "the episode is held")
    wait_for(lambda: not stack.running("transcribe"), 15, "who was at it has handed back or is done")
    assert 0 < stack.store.purse.spent(Scope.ITEM, long[0]) <= CEILING
    assert max(seen) <= CEILING
    ((_, reason),) = stack.store.work.states("transcribe", long).values()
    assert f"the $0.15 of episode {long[0]}" in str(reason)
    kept, tried = stack.store.work.parts(long[0]), tries(stack, long[0])
    assert kept, "its parts are kept"

    other = offer(stack, web, "other.mp3", unlike(MP3, "other"))
    stack.start(other)
    stack.wait_ended("transcribe", other, 60)
    assert stack.states("transcribe", other) == [State.DONE]
    assert (stack.store.work.parts(long[0]), tries(stack, long[0])) == (kept, tried), "no further try"
    assert stack.states("transcribe", long) == [State.HELD]
    assert not stack.store.control.read().stops
    recount_money(stack.store)


def test_scenario_11_an_emergency_shutdown_works_while_the_broker_does_not_answer(stack: Stack, web: WebServer) -> None:
    """G5, G6: nothing comes without a broker, and what is there goes, is proven to be gone, and comes back. (That idle
    workers go by themselves when nobody decides any more takes minutes: tests/wiring/test_supervisor.py.)"""
    before = offer(stack, web, "before.mp3", unlike(MP3, "before"))
    stack.start(before)
    wait_for(lambda: stack.store.workers.live_slots("gpu"), 60, "a gpu worker is ready")
    (broker,) = stack.pids("broker")
    with silent(broker):
        parts = {check.name: check.ok for check in supervised.health(stack.settings)}
        assert (parts["broker"], parts["database"]) == (False, True)
        done = stack.podrun("emergency-shutdown", "--local", "--by", "ada", "--why", "no broker")
        assert (done["proven"], stack.pids("gpu")) == (True, [])
        assert [each["state"] for each in done["instances"]] == ["ready"], "there was one to end"
        assert stack.pids("broker") == [broker]
        assert json.loads(Path(done["evidence"]).read_text())["proven"]
        assert stack.store.control.read().gpu_frozen
    wait_for(later(stack, "scale", 2), 60, "the scaler comes again")
    assert stack.pids("gpu") == []
    resumed = stack.podrun("resume", "--by", "ada", "--why", "the broker is back")
    assert (resumed["gpu_frozen"], resumed["fleet_opened"]) == (False, True)
    stack.wait_ended("transcribe", before, 60)
    assert stack.states("transcribe", before) == [State.DONE]
    assert set(stack.commits().values()) == {1}, "nothing was lost or made twice"


def test_scenario_17_a_freeze_outlives_a_database_that_is_restored_from_before_it(stack: Stack, web: WebServer) -> None:
    """G2, G8: the guard freezes GPU work; the database is put back to where it neither knows of that nor of what was
    spent; the stack comes up and is frozen still, with work that waits, until a named person resumes."""
    waiting = offer(stack, web, "waiting.mp3", unlike(MP3, "waiting"))
    path = Path(str(make_url(stack.settings.database_url).database))
    backup = path.with_name("backup.db")
    with closing(sqlite3.connect(path)) as now, closing(sqlite3.connect(backup)) as copy:
        now.backup(copy)
    spent = Entry("transcribe", "gpu", micros("40"), Unit.EACH, 1, "cuda")
    assert stack.store.purse.charge("a dear day", Bearer(day_of(stack.world.clock.now())), [spent])
    wait_for(lambda: stack.store.control.read().gpu_frozen, 30, "the guard has frozen GPU work")
    assert stack.store.control.read().by == GUARD
    wait_for(lambda: KEY in {info.key for info in stack.world.objects.list("backups")}, 30, "so the mark says")

    stack.world.store.close()
    supervised.down(stack.settings, stack.environ)
    for each in path.parent.glob(f"{path.name}-*"):  # what SQLite has beside it belongs to the other one
        each.unlink()
    backup.replace(path)
    again = Stack(stack.settings, stack.environ, build(stack.settings))
    with closing(again.store):
        assert not again.store.control.read().stops, "it is from before the freeze"
        again.store.work.enqueue_fetch(waiting, 5, {"model": again.settings.model}, "test")
        supervised.up(again.settings, again.environ)
        again.wait_ended("fetch", waiting, 60)
        wait_for(lambda: again.store.work.demand("transcribe").waiting, 30, "there is something to transcribe")
        both = [later(again, tick, 2) for tick in ("scale", "sweep")]
        wait_for(lambda: all(each() for each in both), 60, "scaler and sweep come again and again")
        frozen = again.store.control.read()
        assert (frozen.gpu_frozen, frozen.by) == (True, GUARD)
        assert frozen.why.startswith("restored from a backup: stopped by cost guard before: ")
        assert (again.pids("gpu"), tries(again, waiting[0])) == ([], 0), "nothing was claimed"

        resumed = again.podrun("resume", "--by", "ada", "--why", "it was another day")
        assert (resumed["gpu_frozen"], resumed["mode"], resumed["held"]) == (False, "running", [])
        now_holds = again.store.control.read()
        assert (now_holds.by, now_holds.why) == ("ada", "it was another day")
        assert Control(by=now_holds.by, at=now_holds.at, why=now_holds.why) == now_holds, "just as it was before"
        again.wait_ended("transcribe", waiting, 60)
        assert again.states("transcribe", waiting) == [State.DONE]
        assert not again.store.control.read().stops, "and it stays so"
        recount_money(again.store)
