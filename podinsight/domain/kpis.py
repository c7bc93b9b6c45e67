"""kpis.json: what a transcription took. All that varies between runs lives here alone."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from podinsight.domain.money import DOLLAR, Micros, cost
from podinsight.domain.prices import CUDA, PriceBook
from podinsight.domain.transcript import PUBLISHER, WHISPER, Part, Transcript

KPIS_SCHEMA: Final = "podinsight/kpis/2"
_UNHEARD: Final = "none"  # the device of what no device has heard


def gpu_estimate(audio_seconds: float, hour: Micros, gpu_speed: float) -> Micros:
    """What this audio would cost on a rented GPU: an estimate to compare with, never a bill.

    Args:
        audio_seconds: length of the audio.
        hour: price of an hour of it.
        gpu_speed: seconds of audio per second of GPU.

    Raises:
        ValueError: a price below zero or a speed that is not above it.
    """
    if hour < 0 or gpu_speed <= 0:
        raise ValueError(f"no price can be estimated from {hour} micro-dollars/h at {gpu_speed} × real time")
    return cost(audio_seconds / gpu_speed, hour)


def device_cost(parts: Sequence[Part], book: PriceBook) -> Micros:
    """What the device time cost, each part at the price of the device that it was spent on, rounded up as the ledger
    does it; nothing for what no device has heard.

    Raises:
        ValueError: device time below zero.
    """
    heard = [part for part in parts if part.device != _UNHEARD]
    return sum(cost(part.device_seconds, book.device(part.device).micros) for part in heard)


def kpis(transcript: Transcript, parts: Sequence[Part], book: PriceBook, gpu_speed: float) -> dict[str, object]:
    """The document kpis.json of a transcript joined from `parts`: seconds, counts, ratios, dollars.

    book: what devices cost, as the ledger has it. gpu_speed: assumed of a rented GPU, in times real time.

    `wall_seconds` and `device_seconds` are sums over the parts, which may have run side by side.
    `real_time_factor` is wall time over audio (smaller is faster), `speed` is audio over device time (larger is
    faster). `coverage`, `redecoded_share` and `doubtful_share` are shares of the speech that was decoded. Each is None
    when it cannot be said. Several devices or compute types are joined by a comma; `models` counts parts by model.
    Of devices and models silent parts have none, unless all are silent.
    `cost_usd` is for the device time that was spent, `gpu_estimate_usd` for the same audio on a rented GPU; what comes
    from the publisher, or from a transcript of the same audio, took no device and is estimated at $0. `same_as`, the
    id of the episode that was transcribed, is there in the latter case alone.
    """
    wall = sum(part.wall_seconds for part in parts)
    device = sum(part.device_seconds for part in parts)
    audio = transcript.duration
    same_as = next((part.same_as for part in parts if part.same_as), "")
    to_decode = 0.0 if transcript.source == PUBLISHER or same_as else audio
    # Parts without a model are of a release that did not measure coverage.
    heard = [part for part in parts if not part.silent] or parts
    decoded = [part for part in parts if part.source == WHISPER and part.model]
    speech = sum(part.speech_seconds for part in decoded)
    figures = {
        "schema": KPIS_SCHEMA,
        "source": transcript.source,
        "audio_seconds": round(audio, 3),
        "speech_seconds": round(sum(part.speech_seconds for part in parts), 3),
        "wall_seconds": round(wall, 3),
        "device_seconds": round(device, 3),
        "real_time_factor": round(wall / audio, 4) if audio > 0 else None,
        "speed": round(audio / device, 2) if device > 0 else None,
        "words": transcript.words,
        "segments": len(transcript.segments),
        "coverage": _share(sum(part.covered_seconds for part in decoded), speech),
        "redecoded_share": _share(sum(part.redecoded_seconds for part in decoded), speech),
        "doubtful_share": _share(sum(part.doubtful_seconds for part in decoded), speech),
        "parts": len(parts),
        "language": transcript.language,
        "model": transcript.model,
        "models": dict(sorted(Counter(_model(part, transcript) for part in heard).items())),
        "device": ",".join(sorted({part.device for part in heard})),
        "compute_type": ",".join(sorted({part.compute_type for part in heard})),
        "cost_usd": device_cost(parts, book) / DOLLAR,
        "gpu_estimate_usd": gpu_estimate(to_decode, book.device(CUDA).micros, gpu_speed) / DOLLAR,
    }
    return figures | ({"same_as": same_as} if same_as else {})


def _model(part: Part, transcript: Transcript) -> str:
    return PUBLISHER if part.source == PUBLISHER else part.model or transcript.model


def _share(seconds: float, of: float) -> float | None:
    """Rounding may leave a part a little over the whole."""
    return round(min(1.0, seconds / of), 4) if of > 0 else None
