"""What a run's folder keeps of its threads, so that it goes on with the same: ``threads.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vicinal import cores
from vicinal.files import read_json, write_json


def hold_threads(run: Path) -> None:
    """Holds as many threads as the run was begun with, if a number was asked for then.

    One that is asked for now goes before, and is kept in its place.
    """
    kept = _kept(run)
    if cores.held() is None and kept["held"] is not None:
        cores.set_threads(kept["held"])
    if cores.held() != kept["held"] or not (run / "threads.json").is_file():
        write_json(run / "threads.json", kept | {"held": cores.held()})


def choose_threads(run: Path, stage: str) -> int:
    """Chooses a stage's threads, or takes those that it was begun with, and keeps their number."""
    begun = _kept(run)["stages"].get(stage)
    number = cores.look() if begun is None else cores.take(begun)
    note_threads(run, stage, number)
    return number


def note_threads(run: Path, stage: str, number: int) -> None:
    """Keeps how many threads a stage has."""
    kept = _kept(run)
    if kept["stages"].get(stage) != number:
        write_json(run / "threads.json", kept | {"stages": kept["stages"] | {stage: number}})


def _kept(run: Path) -> dict[str, Any]:
    path = run / "threads.json"
    found: dict[str, Any] = {"held": None, "stages": {}}
    return found | read_json(path) if path.is_file() else found
