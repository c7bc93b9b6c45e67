"""How following looks: bars on a terminal, a line an episode when piped, JSON lines with --json."""

from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from podinsight.cli.console import Output, clock, plain, size
from podinsight.cli.follow import Ending, Look
from podinsight.domain.transcript import PUBLISHER
from podinsight.domain.work import State

_DID = {"fetch": "fetched", "transcribe": "transcribed"}
_SHORT = ((State.RUNNING, "running"), (State.DELAYED, "delayed"))


class Watcher(Protocol):
    """Shows one look after the other, within a `with` block."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def show(self, look: Look) -> None: ...


def watcher(out: Output, totals: Mapping[str, int]) -> Watcher:
    """totals: stage → episodes that are followed."""
    if out.live:
        return Bars(totals)
    return Lines(out)


def ending_line(ending: Ending) -> str:
    """`fetched slug/folder: 12.3 MB, 31:05`, or `failed slug/folder: reason`, or why an older transcript was kept."""
    episode = ending.episode
    name = f"{episode.feed_slug}/{episode.folder}"
    if ending.state is not State.DONE:
        return f"{ending.state.value} {name}: {plain(ending.reason)}"
    if ending.stage == "fetch":
        return f"fetched {name}: {size(episode.audio_bytes or 0)}, {clock(episode.audio_seconds or 0)}"
    if ending.reason:
        return f"kept {name}: {plain(ending.reason)}"
    how = "from the publisher" if episode.model == PUBLISHER else f"model {episode.model}"
    return f"transcribed {name}: {clock(episode.audio_seconds or 0)}, {how}"


def ending_document(ending: Ending) -> dict[str, object]:
    return {
        "event": "episode",
        "stage": ending.stage,
        "state": ending.state.value,
        "reason": ending.reason,
        "episode_id": ending.episode.id,
        "feed_slug": ending.episode.feed_slug,
        "title": ending.episode.title,
        "audio_bytes": ending.episode.audio_bytes,
        "audio_seconds": ending.episode.audio_seconds,
    }


class Lines:
    """Plain lines, or JSON lines."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._notice = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def show(self, look: Look) -> None:
        for ending in look.endings:
            self._out.line(ending_line(ending))
            self._out.data(ending_document(ending), indent=None)
        if look.notice and look.notice != self._notice:
            click.echo(f"podrun: waiting: {look.notice}", err=True)
        self._notice = look.notice


class Bars:
    """One bar a stage; what failed is printed above them."""

    def __init__(self, totals: Mapping[str, int]) -> None:
        self._console = Console(highlight=False, markup=False)
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=self._console,
            refresh_per_second=4,
        )
        self._bars: dict[str, TaskID] = {
            stage: self._progress.add_task(stage, total=total, detail="") for stage, total in totals.items()
        }

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, look: Look) -> None:
        for ending in look.endings:
            if ending.state is not State.DONE or ending.reason:
                self._console.print(ending_line(ending), style="yellow" if ending.state is State.DONE else "red")
        for stage, bar in self._bars.items():
            counts = look.counts[stage]
            total = counts[State.DONE] + counts[State.FAILED] + counts[State.REFUSED]
            self._progress.update(bar, completed=total, detail=_detail(counts, look.notice))
            if self._progress.tasks[self._progress.task_ids.index(bar)].finished:
                self._progress.stop_task(bar)


def _detail(counts: Counter[State], notice: str) -> str:
    waiting = counts[State.WAITING] + counts[State.DISPATCHED] + counts[State.HELD]
    failed = counts[State.FAILED] + counts[State.REFUSED]
    words = [f"{counts[state]} {word}" for state, word in _SHORT if counts[state]]
    words += [f"{waiting} waiting"] if waiting else []
    words += [f"{failed} failed"] if failed else []
    words += [plain(notice)] if notice and waiting else []
    return ", ".join(words)
