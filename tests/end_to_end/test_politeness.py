"""Worker processes fetch from several hosts at once (F5, F6; DESIGN.md, idea 3). Full counts: make bench-fetch."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.crowd import even_crowd, invite, run_disturbed, run_undisturbed
from tests.support.hostile import Hostile, hostile_process
from tests.support.stack import running_stack
from tests.support.webserver import WebServer

LIMITS = {"one.test": 3, "two.test": 4, "three.test": 5, "four.test": 4, "five.test": 3}
CROWD = replace(even_crowd(LIMITS, per_slot=4, seconds=2.0, slow="five.test", workers=3), lease_seconds=6)


@pytest.fixture
def hosts() -> Iterator[Hostile]:
    with hostile_process() as server:
        yield server


@pytest.fixture
def feeds() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


def test_every_slot_is_used_and_one_slow_host_delays_nobody(hosts: Hostile, feeds: WebServer, tmp_path: Path) -> None:
    with running_stack(tmp_path, **CROWD.environ()) as stack:
        ids = invite(CROWD, hosts, stack, feeds)
        outcome = run_undisturbed(CROWD, hosts, stack, ids)
    print(f"slots used {outcome.slot_use:.3f}, {outcome.seconds:.1f} s for {CROWD.best:.1f} s")
    assert outcome.over_limit == 0
    assert outcome.schedule_ratio < 1.5  # a slow host that held up others would double it


def test_no_host_is_over_its_limit_whatever_dies(hosts: Hostile, feeds: WebServer, tmp_path: Path) -> None:
    dice = random.Random(20261122)
    with running_stack(tmp_path, **CROWD.environ()) as stack:
        ids = invite(CROWD, hosts, stack, feeds)
        outcome = run_disturbed(CROWD, hosts, stack, ids, dice, strikes=8)
    print(f"over the limit by {outcome.over_limit}, by frozen holders {outcome.frozen_overlap}")
    assert outcome.over_limit == 0
