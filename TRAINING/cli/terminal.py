"""What people see: tables on standard output, bars on standard error while it is a terminal, plain lines otherwise."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def console(stderr: bool = False) -> Console:
    """A console that colours only on a terminal and does not cut lines off one."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr, width=None if stream.isatty() else 120, soft_wrap=not stream.isatty(), highlight=False
    )


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


def first_of_kind() -> Callable[[logging.LogRecord], bool]:
    """A filter of log records: of what models say of their rows, the first of each kind; units' notes hold all."""
    told = set()

    def passes(record: logging.LogRecord) -> bool:
        place = (record.pathname, record.lineno)
        is_new = place not in told
        if "model_fun" in PurePath(record.pathname).parts:
            told.add(place)
        return is_new

    return passes


class Bars:
    """Progress bars on a terminal."""

    @contextmanager
    def stage(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description:<7}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                   TextColumn("{task.fields[text]}", markup=False))  # fmt: skip
        with Progress(*columns, console=console(stderr=True)) as shown:
            task = shown.add_task(what, total=total, text="")

            def step(text: str) -> None:
                shown.update(task, advance=1, text=text[:60])
                if ": failed" in text:
                    shown.console.print(text, markup=False)

            yield step
            shown.update(task, text="")


class Lines:
    """Plain lines: each stage, about ten steps of it, and every failure."""

    @contextmanager
    def stage(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        done = 0

        def step(text: str) -> None:
            nonlocal done
            done += 1
            if ": failed" in text or done % max(1, total // 10) == 0 or done == total:
                typer.echo(f"{what} {done}/{total} {text}", err=True)

        yield step


def progress() -> Bars | Lines:
    """What suits standard error."""
    return Bars() if sys.stderr.isatty() else Lines()
