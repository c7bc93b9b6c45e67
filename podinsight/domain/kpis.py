"""kpis.json: what a transcription took. All that varies between runs lives here alone."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from podinsight.domain.transcript import PUBLISHER, WHISPER, Part, Transcript

KPIS_SCHEMA: Final = "podinsight/kpis/2"
GPU_HOUR_USD: Final = 0.526
GPU_SPEED: Final = 12.0
FREE_DEVICES: Final = frozenset({"cpu", "none"})  # the machine's own processor; and what no device has heard


def gpu_estimate_usd(audio_seconds: float, gpu_hour_usd: float = GPU_HOUR_USD, gpu_speed: float = GPU_SPEED) -> float:
    """What this audio would cost on a rented GPU: an estimate to compare with, never a bill.

    Args:
        audio_seconds: length of the audio.
        gpu_hour_usd: price of an hour. The default is the list price of g4dn.xlarge (one T4) on demand, Linux,
            us-east-1: 0.526 $/h.
        gpu_speed: seconds of audio per second of GPU. The default follows the run-book of the batch that came before
            podinsight: 83 GPU hours for a thousand episodes of an hour, 12 × real time.

    Raises:
        ValueError: a price below zero or a speed that is not above it.
    """
    if gpu_hour_usd < 0 or gpu_speed <= 0:
        raise ValueError(f"no price can be estimated from {gpu_hour_usd} $/h at {gpu_speed} × real time")
    return audio_seconds / gpu_speed / 3600 * gpu_hour_usd


def cost_usd(parts: Sequence[Part], gpu_hour_usd: float = GPU_HOUR_USD) -> float:
    """What the device time cost at the price of the device that it was spent on: nothing on FREE_DEVICES.

    Raises:
        ValueError: a price below zero.
    """
    if gpu_hour_usd < 0:
        raise ValueError(f"no price: {gpu_hour_usd} $/h")
    return sum(part.device_seconds for part in parts if part.device not in FREE_DEVICES) / 3600 * gpu_hour_usd


def kpis(
    transcript: Transcript,
    parts: Sequence[Part],
    gpu_hour_usd: float = GPU_HOUR_USD,
    gpu_speed: float = GPU_SPEED,
) -> dict[str, object]:
    """The document kpis.json of a transcript joined from `parts`: seconds, counts, ratios, dollars.

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
        "cost_usd": round(cost_usd(parts, gpu_hour_usd), 6),
        "gpu_estimate_usd": round(gpu_estimate_usd(to_decode, gpu_hour_usd, gpu_speed), 6),
    }
    return figures | ({"same_as": same_as} if same_as else {})


def _model(part: Part, transcript: Transcript) -> str:
    return PUBLISHER if part.source == PUBLISHER else part.model or transcript.model


def _share(seconds: float, of: float) -> float | None:
    """Rounding may leave a part a little over the whole."""
    return round(min(1.0, seconds / of), 4) if of > 0 else None
