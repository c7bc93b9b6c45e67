"""What things cost, by the settings (G5): the list, prices_file over it, the settings of devices over both."""

from pathlib import Path

import pytest

from podinsight import settings as settings_module
from podinsight.bootstrap.money import price_book, terms
from podinsight.domain.money import micros
from podinsight.domain.prices import CPU, CUDA, LOCAL, Price, PriceBook, Service
from podinsight.errors import ConfigError


def book(folder: Path, **given: object) -> PriceBook:
    environ = {f"PODINSIGHT_{name.upper()}": str(value) for name, value in given.items()}
    return price_book(settings_module.load({"PODINSIGHT_STATE_DIR": str(folder), **environ}))


def test_a_laptop_pays_for_nothing_but_gpus(tmp_path: Path) -> None:
    found = book(tmp_path)
    assert found.device(CPU) == LOCAL
    assert found.device(CUDA) == Price(micros("0.526"), "list")
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
