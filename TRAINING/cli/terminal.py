"""What people see: tables on standard output, bars on standard error while it is a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def console(stderr: bool = False) -> Console:
    """A console that colours only on a terminal and does not cut lines off one."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else 120, soft_wrap=not stream.isatty(), highlight=False)


def make_table(columns: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = ()) -> Table:
    """A table of texts; the columns named in ``right`` are aligned to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table


class Bars:
    """Progress bars on a terminal."""

    def begin(self, what: str, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description:<7}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                   TextColumn("{task.fields[text]}"))  # fmt: skip
        self._progress = Progress(*columns, console=console(stderr=True))
        self._progress.start()
        self._task = self._progress.add_task(what, total=total, text="")

    def step(self, text: str) -> None:
        self._progress.update(self._task, advance=1, text=text[:60])
        if ": failed" in text:
            self._progress.console.print(text, markup=False)

    def end(self) -> None:
        self._progress.update(self._task, text="")
        self._progress.stop()


class Lines:
    """Plain lines: each stage, about ten steps of it, and every failure."""

    def begin(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0

    def step(self, text: str) -> None:
        self._done += 1
        every = max(1, self._total // 10)
        if ": failed" in text or self._done % every == 0 or self._done == self._total:
            typer.echo(f"{self._what} {self._done}/{self._total} {text}", err=True)

    def end(self) -> None:
        """Nothing to close."""


def progress() -> Bars | Lines:
    """What suits standard error."""
    return Bars() if sys.stderr.isatty() else Lines()
