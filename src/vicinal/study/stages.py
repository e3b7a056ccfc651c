"""A stage of a run: done once, with a line when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console

from vicinal.study.folder import RunFolder
from vicinal.study.threads import choose_threads


def run_stage(
    run: RunFolder, name: str, makes: Iterable[Path], work: Callable[[], None], *, width: int = 20
) -> None:
    """Runs a stage unless it is finished and what it ``makes`` is there; tells how long it took.

    It has as many threads as fit the machine now, or, if it was begun before, as it had then.

    Args:
        run: The run folder.
        name: What its ``stages.json`` calls the stage.
        makes: Files without which it is not finished.
        work: What it does.
        width: Characters that the lines of this run give to the name.
    """
    with run.stage(name, makes) as due:
        if not due:
            return
        choose_threads(run.path, name)
        work()
    tell(run, name, width=width)


def tell(run: RunFolder, name: str, *, width: int = 20) -> None:
    """Says how long a finished stage took."""
    say(f"{name:<{width}}{run.seconds()[name]:>9.1f} s")


def say(line: str) -> None:
    """Prints a line about the run, on standard error."""
    Console(stderr=True, highlight=False).print(line, markup=False, soft_wrap=True)
