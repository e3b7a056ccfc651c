"""Progress on standard error: a bar with the rate and the time left, on a terminal alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Counted = AbstractContextManager[Callable[[int], None]]


class _Rate(TextColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:,.0f} {task.fields['unit']}/s")


@contextmanager
def counted(title: str, total: int | None, unit: str = "images") -> Iterator[Callable[[int], None]]:
    """Yields a function that moves the bar on by so many.

    Args:
        title: What is going on.
        total: How many there are; None if nobody knows.
        unit: Of what.
    """
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
