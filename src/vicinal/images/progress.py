"""The bar that a terminal shows while pictures are decoded."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress import Task as _Task
from rich.text import Text


class _Rate(TextColumn):
    """Pictures a second, lately."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: _Task) -> Text:
        """The rate, once there is one."""
        return Text(f"{task.speed:,.0f} images/s" if task.speed else "")


class DecodingBar:
    """Shows how many pictures are decoded, the rate and the time left; nothing without a terminal.

    Args:
        name: What people call the set.
        count: Pictures in it; None if nobody knows.
    """

    def __init__(self, name: str, count: int | None) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("decoding {task.fields[name]}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=count, name=name)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def advance(self, images: int) -> None:
        """Moves the bar on."""
        self._bar.advance(self._task, images)
