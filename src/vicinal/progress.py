"""Progress for a user: lines on standard error, and a bar with the rate and the time left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from vicinal.errors import readable
from vicinal.file_names import on_one_line

Counted = AbstractContextManager[Callable[[int], None]]


class _Rate(TextColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:,.0f} {task.fields['unit']}/s")


@contextmanager
def counted(title: str, total: int | None, unit: str = "images") -> Iterator[Callable[[int], None]]:
    """Yields a function that moves the bar on by so many."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        _Rate(""),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(title, total=total, unit=unit)
        yield lambda count: bar.advance(task, count)


def say(line: str) -> None:
    """Prints a line on standard error; of several ranks the first does."""
    # Without this module there are no ranks, and importing it takes seconds.
    if "torch.distributed" in sys.modules:
        from vicinal import distributed

        if not distributed.is_first():
            return
    Console(stderr=True, highlight=False, emoji=False).print(
        readable(line), markup=False, soft_wrap=True
    )


_TOLD = ContextVar("told", default=False)


@contextmanager
def told_before() -> Iterator[None]:
    """Within it `tell` says nothing: the same pictures are read again."""
    token = _TOLD.set(True)
    try:
        yield
    finally:
        _TOLD.reset(token)


def tell(notes: Iterable[str]) -> None:
    """Says each note once, each on one line."""
    if _TOLD.get():
        return
    for note in dict.fromkeys(notes):
        say(on_one_line(note))
