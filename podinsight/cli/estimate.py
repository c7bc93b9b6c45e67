"""What a command would do: numbers, bytes, hours and dollars, without doing it."""

from dataclasses import replace

from podinsight.cli.approval import Gate, dollars, prices
from podinsight.cli.ceiling import Ceiling
from podinsight.cli.choosing import Standing, audio_seconds, unknown_lengths
from podinsight.cli.console import Output, count, hours, size
from podinsight.domain.kpis import gpu_estimate
from podinsight.domain.money import DOLLAR, Micros, usd
from podinsight.domain.prices import CUDA, PriceBook
from podinsight.domain.quote_lines import NOTHING, amount, service_lines
from podinsight.services.approve import freight_of
from podinsight.settings import Settings


def gpu_words(settings: Settings, seconds: float) -> str:
    hour, speed = gpu_hour(settings), settings.gpu_speed
    estimate = gpu_estimate(seconds, hour, speed) / DOLLAR
    return f"${estimate:.4f} on a rented GPU (an estimate: {usd(hour)} an hour, {speed:g} × real time)"


def gpu_document(settings: Settings, seconds: float) -> dict[str, object]:
    hour, speed = gpu_hour(settings), settings.gpu_speed
    return {
        "gpu_estimate_usd": gpu_estimate(seconds, hour, speed) / DOLLAR,
        "gpu_hour_usd": hour / DOLLAR,
        "gpu_speed": speed,
    }


def gpu_hour(settings: Settings) -> Micros:
    """What an hour of a rented GPU costs, by the price book."""
    return prices(settings).book.device(CUDA).micros


def tell_dry_run(
    out: Output,
    fetch: Standing | None,
    transcribe: Standing | None,
    gate: Gate | None,
    ceiling: Ceiling,
    book: PriceBook,
) -> None:
    """Says what would be fetched and transcribed; None for a stage that was not asked for. gate: its quote; ceiling:
    what it may cost."""
    document: dict[str, object] = {"dry_run": True}
    if fetch is not None:
        document["fetch"] = _tell_fetch(out, fetch, book)
    if transcribe is not None and gate is not None:
        lost = {episode.id for episode, _state, _reason in fetch.failed} if fetch is not None else set()
        document["transcribe"] = _tell_transcribe(out, transcribe, lost, gate)
        ceiling.compare(gate, transcribe, dry_run=True)
    out.data(document)
    out.line("dry run: nothing was changed")


def _tell_fetch(out: Output, fetch: Standing, book: PriceBook) -> dict[str, object]:
    declared = [episode.length for episode in fetch.to_do if episode.length]
    seconds, unknown = audio_seconds(fetch.to_do), unknown_lengths(fetch.to_do)
    cost = amount(service_lines(replace(freight_of(fetch.to_do), planned=NOTHING), NOTHING, book)).usd
    paid = f"{dollars(cost)} for CPU, NAT and a month's storage" if cost.high else "$0.00: nothing is paid for it"
    known = f", {size(sum(declared))} as far as the feeds say ({len(declared)} of them)" if fetch.to_do else ""
    out.line(f"would fetch {count(len(fetch.to_do), 'episode')}{known}; {len(fetch.done):,} there already")
    if fetch.to_do:
        out.line(f"  audio: {hours(seconds)}{_without(unknown)}; {paid}")
    _tell_failed(out, fetch)
    return _numbers(fetch) | {
        "declared_bytes": sum(declared),
        "declared_bytes_of": len(declared),
        "audio_seconds": seconds,
        "audio_seconds_unknown": unknown,
        "usd": cost.likely,
    }


def _tell_transcribe(out: Output, transcribe: Standing, lost: set[str], gate: Gate) -> dict[str, object]:
    to_do = [episode for episode in transcribe.to_do if episode.id not in lost]
    queued = sum(1 for episode in transcribe.open if episode.id not in lost)
    words = [f"would transcribe {count(len(to_do) - queued, 'episode')}"]
    words += [f"{queued:,} {'is' if queued == 1 else 'are'} queued already"] if queued else []
    out.line("; ".join([*words, f"{len(transcribe.done):,} transcribed already"]))
    gate.tell(out)
    if gate.asked.episodes:
        out.line(f"  approved by {gate.rule}" if gate.rule else "  needs approval: a person at the terminal, or --yes")
    _tell_failed(out, transcribe)
    numbers = _numbers(transcribe) | {"to_do": len(to_do), "again": len(transcribe.over)}
    seconds, unknown = audio_seconds(to_do), unknown_lengths(to_do)
    return numbers | {"audio_seconds": seconds, "audio_seconds_unknown": unknown, "quote": gate.document()}


def _numbers(standing: Standing) -> dict[str, object]:
    return {
        "to_do": len(standing.to_do),
        "queued": len(standing.open),
        "done": len(standing.done),
        "failed": len(standing.failed),
    }


def _without(unknown: int) -> str:
    return f" (of {count(unknown, 'episode')} no length is known)" if unknown else ""


def _tell_failed(out: Output, standing: Standing) -> None:
    if standing.failed:
        out.line(f"  {count(len(standing.failed), 'episode')} failed before: `podrun retry --failed` starts over")
