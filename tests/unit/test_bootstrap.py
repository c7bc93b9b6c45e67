"""What things cost, by the settings (G5): the list, prices_file over it, the settings of devices over both."""

from pathlib import Path

import pytest

from podinsight import settings as settings_module
from podinsight.bootstrap import build
from podinsight.bootstrap.money import guard_rules, kpi_prices, price_book, terms
from podinsight.bootstrap.polling import poll_ports
from podinsight.domain.levels import Halt
from podinsight.domain.money import micros
from podinsight.domain.pool import Rules
from podinsight.domain.prices import CPU, CUDA, LOCAL, Price, PriceBook, Service
from podinsight.errors import ConfigError


def book(folder: Path, **given: object) -> PriceBook:
    environ = {f"PODINSIGHT_{name.upper()}": str(value) for name, value in given.items()}
    return price_book(settings_module.load({"PODINSIGHT_STATE_DIR": str(folder), **environ}))


def test_a_laptop_pays_for_nothing_but_gpus(tmp_path: Path) -> None:
    found = book(tmp_path)
    assert found.device(CPU) == LOCAL
    assert (found.device(CUDA).micros, found.device(CUDA).source) == (micros("0.526"), "list 2026-11-22")
    assert found.device("g5.xlarge").micros == micros("1.006")
    assert {found.service(each) for each in Service} == {LOCAL}


def test_settings_go_over_the_file_and_the_file_over_the_list(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('[devices]\ncuda = { usd = 0.4 }\ncpu = { usd = 0.1 }\n"g5.xlarge" = { usd = 0.9 }\n')
    found = book(tmp_path, prices_file=path)
    assert [found.device(each).micros for each in (CUDA, CPU, "g5.xlarge")] == [400_000, 100_000, 900_000]
    assert found.device("g6.xlarge").micros == 804_800, "of what it leaves out it says nothing"
    found = book(tmp_path, prices_file=path, gpu_hour_usd="0.3", cpu_hour_usd="3.6")
    assert [found.device(each).micros for each in (CUDA, CPU, "g5.xlarge")] == [300_000, 3_600_000, 900_000]
    assert found.device(CPU).source == "settings"


def test_kpis_are_reckoned_with_the_prices_of_the_ledger(tmp_path: Path) -> None:
    """T5, G1: neither gpu_hour_usd alone nor a CPU that is always free."""
    path = tmp_path / "prices.toml"
    path.write_text("[devices]\ncuda = { usd = 0.4 }\n")
    environ = {"PODINSIGHT_PRICES_FILE": str(path), "PODINSIGHT_CPU_HOUR_USD": "0.1", "PODINSIGHT_GPU_SPEED": "20"}
    settings = settings_module.load({"PODINSIGHT_STATE_DIR": str(tmp_path), **environ})
    found = kpi_prices(settings)
    assert (found.book, found.gpu_speed) == (terms(settings).prices, 20.0)
    assert [found.book.device(each).micros for each in (CUDA, CPU)] == [400_000, 100_000]


@pytest.mark.parametrize(
    ("given", "paid"),
    [
        ({"objects_url": "s3://bucket"}, True),
        ({"raw_url": "s3://bucket/raw"}, True),
        ({"stage_url": "s3://bucket/stage"}, True),
        ({"clips_url": "s3://bucket/clips"}, False),
        ({"objects_url": "s3://bucket", "s3_endpoint": "http://127.0.0.1:9000"}, False),
    ],
)
def test_what_stands_beside_machines_is_paid_for_in_the_cloud_alone(
    tmp_path: Path, given: dict[str, object], paid: bool
) -> None:
    found = book(tmp_path, **given)
    assert found.service(Service.NAT).micros == (45_000 if paid else 0)
    assert found.device(CPU) == LOCAL, "a worker that decodes is a device"


@pytest.mark.parametrize(("objects", "paid"), [("s3://bucket", 45_000), ("file:///somewhere", 0)])
def test_what_feeds_bring_in_is_paid_for_in_the_cloud(tmp_path: Path, objects: str, paid: int) -> None:
    settings = settings_module.load({"PODINSIGHT_STATE_DIR": str(tmp_path), "PODINSIGHT_OBJECTS_URL": objects})
    world = build(settings)
    try:
        assert poll_ports(settings, world).prices.service(Service.NAT).micros == paid
    finally:
        world.close()


def test_in_the_cloud_nothing_is_free_for_want_of_a_price(tmp_path: Path) -> None:
    """G5: unknown price → list price, never zero; of what has no list price somebody must say what it costs."""
    found = book(tmp_path, objects_url="s3://bucket")
    assert min(found.service(each).micros for each in Service if each is not Service.LLM) > 0
    with pytest.raises(ConfigError, match="what llm costs here: name it in prices_file"):
        found.service(Service.LLM)
    path = tmp_path / "prices.toml"
    path.write_text("[services]\nllm = { usd = 2 }\n")
    found = book(tmp_path, objects_url="s3://bucket", prices_file=path)
    assert found.service(Service.LLM).micros == micros(2)


def test_when_items_halt_and_when_they_begin_economy_mode_is_settable(tmp_path: Path) -> None:
    """G3, G8."""

    def rules(**given: str) -> tuple[Halt, int | None]:
        environ = {f"PODINSIGHT_{name.upper()}": value for name, value in given.items()}
        found = guard_rules(settings_module.load({"PODINSIGHT_STATE_DIR": str(tmp_path), **environ}))
        return found.halt, found.economy_item

    assert rules() == (Halt(3, 3600.0, micros(3)), micros("2.50"))
    given = rules(halt_items="5", halt_seconds="60", halt_mean_usd="4", economy_item_usd="2")
    assert given == (Halt(5, 60.0, micros(4)), micros(2))
    assert rules(halt_items="0", halt_mean_usd="none", economy_item_usd="none") == (Halt(0, 3600.0, None), None)


def test_who_writes_down_what_a_service_costs_pays_it_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text("[services]\nnat = { usd = 0.01 }\n")
    found = book(tmp_path, prices_file=path)
    assert (found.service(Service.NAT).micros, found.service(Service.STORAGE)) == (10_000, LOCAL)


def test_a_bad_file_ends_every_command_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"prices_file .*none\.toml"):
        book(tmp_path, prices_file=tmp_path / "none.toml")


def test_what_work_is_reserved_by_has_the_same_prices(tmp_path: Path) -> None:
    settings = settings_module.load({"PODINSIGHT_STATE_DIR": str(tmp_path), "PODINSIGHT_CPU_HOUR_USD": "3.6"})
    assert terms(settings).prices.device(CPU) == Price(micros("3.6"), "settings")


def test_the_rules_of_the_brain_are_settings(tmp_path: Path) -> None:
    """G6: those that `make bench-fleet` is run with, too; where a start costs nothing, work waits for none."""
    environ = {"PODINSIGHT_STATE_DIR": str(tmp_path), "PODINSIGHT_GPU_WORKERS": "8"}
    assert guard_rules(settings_module.load(environ)).fleet.patience == 0
    given = {"drain": 7200, "patience": 1800, "grace": 300, "settle": 60, "start": 180}
    environ |= {f"PODINSIGHT_FLEET_{name.upper()}_SECONDS": str(seconds) for name, seconds in given.items()}
    rules, of_the_domain = guard_rules(settings_module.load(environ)).fleet, Rules(most=8)
    assert rules.most == 8
    assert (rules.lease, of_the_domain.lease) == (90.0, 0.0), "what a claim reserves, of which the bench knows nothing"
    assert [getattr(rules, name) for name in given] == list(given.values())
    assert [getattr(of_the_domain, name) for name in given] == list(given.values())
