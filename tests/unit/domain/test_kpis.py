from dataclasses import replace

import pytest

from podinsight.domain.kpis import device_cost, gpu_estimate
from podinsight.domain.kpis import kpis as kpis_of
from podinsight.domain.money import DOLLAR, Micros, Unit, micros, milliseconds
from podinsight.domain.prices import CPU, CUDA, GPU_HOUR, GPU_SPEED, LOCAL, Price, PriceBook
from podinsight.domain.transcript import Part, Segment, Transcript, join
from podinsight.ports import Entry

BOOK = PriceBook({CPU: LOCAL, CUDA: Price(GPU_HOUR, "test")})


def book(cpu: Micros, cuda: Micros) -> PriceBook:
    return PriceBook({CPU: Price(cpu, "settings"), CUDA: Price(cuda, "settings")})


def kpis(
    transcript: Transcript, parts: list[Part], prices: PriceBook = BOOK, speed: float = GPU_SPEED
) -> dict[str, object]:
    return kpis_of(transcript, parts, prices, speed)


def part(n: int, seconds: float, device: str = "cpu", compute_type: str = "int8") -> Part:
    segments = (Segment(n * 100.0, n * 100.0 + 1, "two words"),)
    return Part(
        n, n * 100.0, n * 100.0 + 100, "en", 0.9, segments, 80.0, seconds, seconds / 2, device, compute_type,
        model="tiny.en", covered_seconds=76.0, redecoded_seconds=8.0, doubtful_seconds=2.0,
    )  # fmt: skip


def test_the_figures_of_a_transcript() -> None:
    parts = [part(0, 10), part(1, 30)]
    assert kpis(join(parts, "tiny.en", ()), parts) == {
        "schema": "podinsight/kpis/2",
        "source": "whisper",
        "audio_seconds": 200.0,
        "speech_seconds": 160.0,
        "wall_seconds": 40,
        "device_seconds": 20.0,
        "real_time_factor": 0.2,
        "speed": 10.0,
        "words": 4,
        "segments": 2,
        "coverage": 0.95,
        "redecoded_share": 0.1,
        "doubtful_share": 0.025,
        "parts": 2,
        "language": "en",
        "model": "tiny.en",
        "models": {"tiny.en": 2},
        "device": "cpu",
        "compute_type": "int8",
        "cost_usd": 0.0,
        "gpu_estimate_usd": 0.002436,
    }


def test_several_devices_and_a_price_of_ones_own() -> None:
    parts = [part(0, 10, "cuda", "float16"), part(1, 30)]
    document = kpis(join(parts, "tiny.en", ()), parts, book(0, DOLLAR), 1.0)
    assert (document["device"], document["compute_type"]) == ("cpu,cuda", "float16,int8")
    assert document["gpu_estimate_usd"] == 0.055556
    assert document["cost_usd"] == 0.001389, "the device time of the GPU alone"


def test_a_smaller_model_that_helped_out_is_counted() -> None:
    parts = [part(0, 10), replace(part(1, 10), model="base"), part(2, 10)]
    assert kpis(join(parts, "tiny.en, base", ()), parts)["models"] == {"base": 1, "tiny.en": 2}


def test_parts_that_measured_no_coverage_do_not_count_as_uncovered() -> None:
    older = replace(part(1, 10), model="", covered_seconds=0.0, redecoded_seconds=0.0, doubtful_seconds=0.0)
    document = kpis(join([part(0, 10), older], "tiny.en", ()), [part(0, 10), older])
    assert (document["coverage"], document["models"]) == (0.95, {"tiny.en": 2})
    alone = replace(older, n=0)
    assert kpis(join([alone], "tiny.en", ()), [alone])["coverage"] is None


def test_what_the_publisher_wrote_costs_no_gpu() -> None:
    parts = [replace(part(0, 2.0), device_seconds=0.0, device="none", compute_type="none", source="publisher")]
    document = kpis(join(parts, "publisher", ()), parts)
    assert (document["source"], document["device"], document["speed"]) == ("publisher", "none", None)
    assert (document["device_seconds"], document["gpu_estimate_usd"], document["cost_usd"]) == (0.0, 0.0, 0.0)
    assert (document["coverage"], document["models"]) == (None, {"publisher": 1})


def test_no_audio_and_no_time_divide_by_nothing() -> None:
    empty = Part(0, 0.0, 0.0, "en", 0.0, (), 0.0, 0.0, 0.0, "cpu", "int8")
    document = kpis(join([empty], "tiny.en", ()), [empty])
    assert (document["real_time_factor"], document["speed"], document["gpu_estimate_usd"]) == (None, None, 0.0)
    assert (document["coverage"], document["redecoded_share"], document["doubtful_share"]) == (None, None, None)


def test_the_cost_is_that_of_the_device_that_was_used() -> None:
    """T5, G1: by the price book, whatever the device; what nobody has named is reckoned at the dearest GPU."""
    parts = [part(0, 3600, "cuda"), part(1, 7200, "cpu"), part(2, 7200, "mps"), part(3, 7200, "none")]
    assert device_cost(parts, book(0, 2 * DOLLAR)) == 3 * DOLLAR
    assert device_cost(parts, book(DOLLAR // 10, 2 * DOLLAR)) == micros("3.1")
    assert device_cost([], BOOK) == 0
    document = kpis(join(parts, "tiny.en", ()), parts, book(DOLLAR // 10, 2 * DOLLAR))
    assert document["cost_usd"] == 3.1


def test_the_cost_is_rounded_as_the_ledger_rounds_it() -> None:
    """G1: each part up to the micro-dollar, in whole numbers, as an entry of it would be."""
    parts = [part(n, 0.0137 + n, device) for n, device in enumerate(("cuda", "cpu", "cuda"))]
    prices = book(123_457, 526_001)

    def entry(each: Part) -> Entry:
        ms, hour = milliseconds(each.device_seconds), prices.device(each.device).micros
        return Entry("transcribe", "gpu", ms, Unit.MILLISECONDS, hour)

    assert device_cost(parts, prices) == sum(entry(each).micros for each in parts)
    assert device_cost([part(0, 0.002, "cuda")] * 3, book(0, 1)) == 3


def test_an_hour_by_the_run_book() -> None:
    assert gpu_estimate(3600, GPU_HOUR, GPU_SPEED) == 43_834, "0.526 / 12, rounded up"
    assert gpu_estimate(1000 * 3600, GPU_HOUR, GPU_SPEED) == pytest.approx(83 * GPU_HOUR, rel=0.01)


@pytest.mark.parametrize(("price", "speed"), [(-1, 1.0), (1, 0.0), (1, -2.0)])
def test_senseless_prices_are_refused(price: Micros, speed: float) -> None:
    with pytest.raises(ValueError, match="price"):
        gpu_estimate(1, price, speed)
