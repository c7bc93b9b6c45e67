"""What commands write: tables and colours on a terminal, plain lines when piped, JSON with --json."""

import json
import os
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Output:
    """Where a command writes its results. as_json: `line` and `table` are silent, `data` speaks; else the reverse."""

    as_json: bool = False

    @property
    def live(self) -> bool:
        """Whether a person watches a terminal that can redraw."""
        return not self.as_json and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

    def line(self, text: str = "") -> None:
        if not self.as_json:
            click.echo(text)

    def title(self, text: str) -> None:
        if not self.as_json:
            click.secho(text, bold=True)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Shows on a terminal that something takes its seconds."""
        if not self.live:
            yield
            return
        with Console(highlight=False, markup=False).status(text):
            yield

    def data(self, document: object, *, indent: int | None = 2) -> None:
        """indent None: one JSON document on one line."""
        if self.as_json:
            click.echo(json.dumps(document, ensure_ascii=False, indent=indent))

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[object]], right: Collection[int] = ()) -> None:
        """right: the columns of numbers."""
        if self.as_json:
            return
        cells = [[plain(str(cell)) for cell in row] for row in rows]
        if self.live:
            _rich_table(headers, cells, right)
        else:
            _plain_table(headers, cells, right)


def _rich_table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(table)


def _plain_table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int]) -> None:
    widths = [max(len(row[number]) for row in [headers, *rows]) for number in range(len(headers))]
    for row in [headers, *rows]:
        pairs = zip(row, widths, strict=True)
        cells = [cell.rjust(w) if number in right else cell.ljust(w) for number, (cell, w) in enumerate(pairs)]
        click.echo("  ".join(cells).rstrip())


def complain(text: str) -> None:
    """An error for a person, on stderr: `podrun: …`, what follows a first line indented."""
    first, *others = text.strip().splitlines() or ["failed, and does not say why"]
    click.echo(f"podrun: {plain(first)}", err=True)
    for other in others:
        click.echo(f"  {plain(other)}", err=True)


def plain(text: str) -> str:
    """On one line and without control characters: titles come from strangers, and terminals obey escape codes."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def size(count: float) -> str:
    """Bytes for a person: `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def clock(seconds: float) -> str:
    """A length of audio: `31:05` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def hours(seconds: float) -> str:
    """Much audio: `12.3 h`, or `31:05 min` when it is less than an hour."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{clock(seconds)} min"


def count(number: int, noun: str) -> str:
    """`1 episode`, `2 episodes`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def moment(at: float | None) -> str:
    """A time for a person, local; `never` for None or 0."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if at else "never"


def silence_stdout() -> None:
    """The reader has gone (`| head`): what is still written goes nowhere, also at the interpreter's end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return
