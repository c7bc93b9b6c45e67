from podinsight.supervisor.pools import Backoff, Member, Plan, plan


def test_missing_workers_are_started() -> None:
    assert plan({"fetch": 2, "gpu": 1}, [Member("f1", "fetch", 1.0)]) == Plan({"fetch": 1, "gpu": 1}, {})


def test_a_crowded_pool_names_all_its_members_the_newest_first() -> None:
    alive = [Member("old", "gpu", 1.0), Member("newest", "gpu", 3.0), Member("new", "gpu", 2.0)]
    assert plan({"gpu": 1}, alive) == Plan({}, {"gpu": ("newest", "new", "old")})


def test_a_pool_that_nobody_wants_is_emptied() -> None:
    assert plan({}, [Member("g", "gpu", 1.0)]) == Plan({}, {"gpu": ("g",)})


def test_nothing_to_do_and_a_negative_count_is_none() -> None:
    assert plan({"gpu": 1, "fetch": -1}, [Member("g", "gpu", 1.0)]) == Plan({}, {})


def test_first_deaths_are_free_then_waits_double_up_to_half_a_minute() -> None:
    backoff = Backoff()
    assert [backoff.died(0.1, 0.0) for _ in range(9)] == [0, 0, 1, 2, 4, 8, 16, 30, 30]
    assert not backoff.may_start(29.9)
    assert backoff.may_start(30.0)


def test_a_long_life_forgives_what_was_before() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.died(0.1, 0.0)
    assert backoff.trouble(None) == "died 5 times in a row within 5 s of its start"
    assert backoff.trouble(1.0)
    assert backoff.trouble(6.0) == ""
    assert backoff.died(60.0, 100.0) == 0
    assert backoff.may_start(100.0)
    assert backoff.trouble(None) == ""
