"""Worker processes fetch from several hosts at once (F5, F6; DESIGN.md, idea 3). Full counts: make bench-fetch."""

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.crowd import even_crowd, invite, run_disturbed, run_undisturbed
from tests.support.hostile import Hostile, hostile_process
from tests.support.stack import Stack, running_stack
from tests.support.webserver import WebServer

LIMITS = {"one.test": 3, "two.test": 4, "three.test": 5, "four.test": 4, "five.test": 3}
CROWD = replace(even_crowd(LIMITS, per_slot=4, seconds=2.0, slow="five.test", workers=3), lease_seconds=6)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("crowd"), **CROWD.environ()) as running:
        yield running


@pytest.fixture
def hosts() -> Iterator[Hostile]:
    with hostile_process() as server:
        yield server


@pytest.fixture
def feeds() -> Iterator[WebServer]:
    """On a port of its own, so that each test has a feed of its own."""
    with WebServer() as server:
        yield server


def test_every_slot_is_used_and_one_slow_host_delays_nobody(stack: Stack, hosts: Hostile, feeds: WebServer) -> None:
    ids = invite(CROWD, hosts, stack, feeds)
    outcome = run_undisturbed(CROWD, hosts, stack, ids)
    print(f"slots used {outcome.slot_use:.3f}, {outcome.seconds:.1f} s for {CROWD.best:.1f} s")
    assert outcome.over_limit == 0
    assert outcome.schedule_ratio < 1.5  # a slow host that held up others would double it


def test_no_host_is_over_its_limit_whatever_dies(stack: Stack, hosts: Hostile, feeds: WebServer) -> None:
    dice = random.Random(20261122)
    ids = invite(CROWD, hosts, stack, feeds)
    outcome = run_disturbed(CROWD, hosts, stack, ids, dice, strikes=8)
    print(f"over the limit by {outcome.over_limit}, by frozen holders {outcome.frozen_overlap}")
    assert outcome.over_limit == 0
