"""The stages of a run: which are finished, how long each took and with how many threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from vicinal import cores, distributed
from vicinal.errors import InputError
from vicinal.files import read_json, write_json
from vicinal.progress import say


def finished_stages(run: Path) -> dict[str, float]:
    """Finished stages with their time in seconds, in the order they ended."""
    path = run / "stages.json"
    found = read_json(path) if path.is_file() else {}
    if not isinstance(found, dict):
        raise InputError(f"{path}: damaged; remove it, and every stage is done again")
    return found


def is_due(run: Path, name: str, makes: Iterable[Path] = ()) -> bool:
    """Whether the stage ``name`` has still to be run, or a file that it ``makes`` is gone."""
    return name not in finished_stages(run) or not all(path.is_file() for path in makes)


def note_finished(run: Path, name: str, seconds: float) -> None:
    """Writes down that the stage ``name`` is finished, and its time."""
    write_json(run / "stages.json", finished_stages(run) | {name: round(seconds, 3)})


@contextmanager
def stage(run: Path, name: str, makes: Iterable[Path] = ()) -> Iterator[bool]:
    """Yields whether the stage has to run (see `is_due`), and notes its time once it ended."""
    due = is_due(run, name, makes)
    began = time.perf_counter()
    yield due
    if due:
        note_finished(run, name, time.perf_counter() - began)


def run_stage(
    run: Path,
    name: str,
    makes: Iterable[Path],
    work: Callable[[], None],
    *,
    width: int = 20,
    together: bool = False,
) -> None:
    """Runs a stage if it is due, with threads that fit the machine or those it began with."""
    first = distributed.is_first()
    if not (first or together):
        return
    with stage(run, name, makes) if first else nullcontext(False) as due:
        if not (distributed.from_first(lambda: due) if together else due):
            return
        if first:
            choose_threads(run, name)
        work()
    if first:
        say_seconds(run, name, width=width)


def say_seconds(run: Path, name: str, *, width: int = 20) -> None:
    """Prints how long a finished stage took."""
    say(f"{name:<{width}}{finished_stages(run)[name]:>9.1f} s")


def hold_threads(run: Path) -> None:
    """Holds as many threads as the user asked for now, or else when the run began."""
    noted = _read_threads(run)
    if cores.held() is None and noted["held"] is not None:
        cores.set_threads(noted["held"])
    if cores.held() != noted["held"] or not (run / "threads.json").is_file():
        write_json(run / "threads.json", noted | {"held": cores.held()})


def choose_threads(run: Path, stage: str) -> int:
    """Chooses a stage's threads, or takes those that it was begun with, and keeps their number."""
    begun = _read_threads(run)["stages"].get(stage)
    number = cores.look() if begun is None else cores.take(begun)
    note_threads(run, stage, number)
    return number


def note_threads(run: Path, stage: str, number: int) -> None:
    """Keeps how many threads a stage has."""
    noted = _read_threads(run)
    if noted["stages"].get(stage) != number:
        write_json(run / "threads.json", noted | {"stages": noted["stages"] | {stage: number}})


def _read_threads(run: Path) -> dict[str, Any]:
    path = run / "threads.json"
    found: dict[str, Any] = {"held": None, "stages": {}}
    return found | read_json(path) if path.is_file() else found
