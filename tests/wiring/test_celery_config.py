"""Celery is configured from topology alone, and what CELERY.md's measurements forbid is refused at start."""

import math
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.concurrency.solo import TaskPool as SoloPool
from celery.concurrency.thread import TaskPool as ThreadPool
from pydantic import SecretStr

from beat_schedule import beat_schedule
from podinsight.errors import ConfigError
from podinsight.settings import Settings
from podinsight.topology import GUARD, LIGHT, PERIODIC, QUEUES, STAGES, TASKS
from workers import app, lifecycle, spot
from workers.app import task


def test_every_task_of_topology_is_registered_and_routed_and_no_other() -> None:
    app.loader.import_default_modules()
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    assert ours == set(TASKS)
    assert {queue.name for queue in app.conf.task_queues} == set(QUEUES)
    assert app.conf.task_routes == {each.name: {"queue": each.queue} for each in TASKS.values()}
    assert {each.queue for each in TASKS.values()} <= set(QUEUES)


def test_the_schedule_names_tasks_of_topology_with_their_queue_and_expiry(tmp_path: Path) -> None:
    schedule: Any = beat_schedule(Settings(state_dir=tmp_path, objects_url="s3://bucket", glue_table="shows.segments"))
    assert {entry["task"] for entry in schedule.values()} == {periodic.task for periodic in PERIODIC}
    for entry in schedule.values():
        assert entry["options"]["queue"] == TASKS[entry["task"]].queue
        assert entry["options"]["expires"] >= min(entry["schedule"], 1.0)


def test_what_no_setting_asks_for_is_not_sent() -> None:
    asked = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert {periodic.task for periodic in PERIODIC} - asked == {"register_segments"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_acks_late", False),
        ("task_reject_on_worker_lost", False),
        ("task_ignore_result", True),
        ("task_create_missing_queues", False),
        ("worker_prefetch_multiplier", 1),
        ("worker_disable_prefetch", True),
        ("worker_cancel_long_running_tasks_on_connection_loss", False),
        ("worker_pool_start_method", "spawn"),
        ("worker_proc_alive_timeout", 60.0),
        ("broker_connection_max_retries", None),
        ("accept_content", ["json"]),
    ],
)
def test_the_settings_that_keep_work_are_in_force(name: str, value: object) -> None:
    assert app.conf[name] == value


def test_stages_agree_with_tasks() -> None:
    for stage in STAGES.values():
        assert TASKS[stage.task].queue == stage.queue
        assert stage.next is None or stage.next in STAGES


def test_nothing_but_the_sweeps_is_on_the_guards_queue_and_none_of_them_for_long() -> None:
    """G5: housekeeping, which may take ten minutes, does not blind the guard; nor do its own sweeps each other."""
    queues = {each.name: each.queue for each in TASKS.values()}
    guarding = {name for name, queue in queues.items() if queue == GUARD.name}
    assert guarding == {"scale_fleet", "sweep_costs"}
    assert all((TASKS[name].time_limit or math.inf) <= 300 for name in guarding)
    assert [each.slots for each in (GUARD, LIGHT)] == [1, 1]
    assert {name for name, queue in queues.items() if queue == LIGHT.name} == {
        "dispatch",
        "reconcile",
        "clean",
        "register_segments",
        "check_daily_cost",
    }
    sent: Any = app.conf.beat_schedule
    assert {sent[name]["options"]["queue"] for name in guarding} == {"guard"}


@pytest.mark.parametrize(
    ("queues", "pool", "slots", "said"),
    [
        ([], ThreadPool, 10, "exactly one"),
        (["fetch", "gpu"], ThreadPool, 10, "exactly one"),
        (["celery"], PreforkPool, 1, "exactly one"),
        (["gpu"], SoloPool, 1, "-P prefork"),
        (["gpu"], ThreadPool, 1, "-P prefork"),
        (["gpu"], PreforkPool, 2, "-c 1"),
        (["plan"], ThreadPool, 1, "-P prefork"),
        (["light", "guard"], PreforkPool, 1, "exactly one"),
        (["guard"], ThreadPool, 1, "-P prefork"),
        (["guard"], PreforkPool, 2, "-c 1"),
        (["fetch"], PreforkPool, 10, "-P threads"),
    ],
)
def test_a_worker_that_would_lose_work_does_not_start(queues: list[str], pool: type, slots: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        lifecycle.check_start(queues, pool, slots)


def test_right_starts_are_let_through() -> None:
    assert lifecycle.check_start(["fetch"], ThreadPool, 25).name == "fetch"
    assert lifecycle.check_start(["gpu"], PreforkPool, 1).name == "gpu"
    assert lifecycle.check_start(["plan"], PreforkPool, 1).name == "plan"
    assert lifecycle.check_start(["guard"], PreforkPool, 1) is GUARD


@pytest.mark.parametrize(("queue", "refuses"), [("guard", True), ("light", False)])
def test_who_tells_people_refuses_to_start_with_an_address_that_tells_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue: str, refuses: bool
) -> None:
    """G3: an alert that nobody can hear is found out at the start, by the worker that would send it."""
    monkeypatch.setattr(
        lifecycle, "settings", Settings(state_dir=tmp_path, notify_warning=(SecretStr("nobody://knows/this"),))
    )
    monkeypatch.setattr(lifecycle, "_workers", [])
    monkeypatch.setenv("PODWORKER_ID", "by-test")
    consumer = SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from={queue: None})))
    with pytest.raises(SystemExit, match="Apprise") if refuses else nullcontext():
        lifecycle._refuse_wrong_start(SimpleNamespace(app=consumer, pool_cls=PreforkPool, concurrency=1))


def test_children_that_work_under_leases_are_watched() -> None:
    assert {"plan", "gpu"} == lifecycle._LEASED_POOLS


def test_only_who_holds_units_heeds_notices_of_a_spot_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G3, G5: the levels are held until the machine is gone."""
    assert not any(spot.concerns(queue) for queue in QUEUES), "off by default"
    monkeypatch.setattr(spot, "settings", Settings(state_dir=tmp_path, spot_watch=True))
    assert {queue for queue in QUEUES if spot.concerns(queue)} == {"fetch", "plan", "gpu"}


def test_a_misspelt_task_or_option_fails_at_import() -> None:
    with pytest.raises(ConfigError, match="no task 'fetch_epsiode'"):
        task("fetch_epsiode")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        task("fetch_episode", qeue="fetch")  # type: ignore[call-arg]
