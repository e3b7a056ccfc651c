"""The objective that suits a set of pictures, by successive halving, without labels."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicinal.encoder.pretrained import form_of
from vicinal.encoder.saved import load_encoder
from vicinal.errors import InputError, option
from vicinal.files import read_json, write_json
from vicinal.images import ImageSet, load, named
from vicinal.images.stream_sources import is_stream
from vicinal.objectives import OBJECTIVES
from vicinal.progress import say
from vicinal.recipes.recipe import Recipe
from vicinal.runs.run_folder import default_folder, open_run, resolve_recipe
from vicinal.study.compare_objectives import CHOSEN_BY, without_labels
from vicinal.study.train import train
from vicinal.training.budget import check_minutes
from vicinal.training.device import resolve_device
from vicinal.training.fit_to_pictures import fitted, left_open
from vicinal.training.log import check_log

LEAST = 0.02
"""Minutes of a training, at least, however little time is left."""


@dataclass(frozen=True)
class Choice:
    """What `choose` found.

    Attributes:
        run: The run folder, with the encoder of the objective kept.
        objective: Its name.
        table: A row for each training: ``round``, ``objective``, ``minutes``, ``epochs`` and the
            measures of `vicinal.study.compare_objectives.without_labels`.
    """

    run: Path
    objective: str
    table: list[dict[str, Any]]


def choose(
    data: str,
    *,
    minutes: float,
    objectives: Sequence[str] = tuple(OBJECTIVES),
    recipe: str | None = None,
    settings: Sequence[str] = (),
    limit: int | None = None,
    run: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    data_dir: Path | None = None,
    log: str | None = None,
    **reading: Any,
) -> Choice:
    """Trains each objective for a while, drops the worse half, trains the rest on, keeps one.

    Successive halving (Jamieson and Talwalkar, AISTATS 2016): rounds of equal time, so that each
    objective that is left has twice the minutes of the round before. They are ordered by
    `CHOSEN_BY`; loading and measuring count as time too. Leaves ``choose.json`` and
    ``encoder.safetensors``; each training is a run of its own below the folder.

    Args:
        data: As `vicinal.images.load` takes it.
        minutes: What all of it may take.
        objectives: Two or more of `vicinal.objectives.OBJECTIVES`.
        recipe: A shipped recipe's name or a file; None for the one that fits.
        settings: ``section.field=value`` overrides.
        limit: At most so many training images.
        run: The run folder; None for the next under ``runs``.
        resume: Whether to go on with an interrupted run.
        device: ``auto``, ``cpu`` or ``cuda``.
        data_dir: Where downloads and decoded images are kept.
        log: Where else each training's losses go, one of `vicinal.training.log.LOGS`, or None.
        reading: ``exclude`` and ``max_pixels``, as `vicinal.images.load` takes them.

    Raises:
        InputError: If anything asked for cannot be used; nothing is overwritten.
    """
    _check(minutes, objectives, settings, log)
    if limit is not None and is_stream(data):
        raise InputError(f"{option('limit', limit)}: a stream is read whole; leave it out")
    began = time.monotonic()
    chosen = resolve_recipe(data, recipe, settings)
    path = run or default_folder(data, chosen.name, resume=resume, prefix="choose-")
    how: dict[str, Any] = {"limit": limit, "data_dir": data_dir, **reading}
    chosen, images = _fitted(data, chosen, left_open(recipe, settings, None), **how)
    asked = {"verb": "choose", "data": named(data), "limit": limit, "minutes": minutes}
    identity = asked | {"objectives": list(objectives), "train": images.fingerprint}

    with open_run(path, identity, chosen, resume=resume) as folder:
        file = folder / "choose.json"
        state: dict[str, Any] = read_json(file) if file.is_file() else {"spent": 0, "trainings": []}
        table: list[dict[str, Any]] = state["trainings"]
        earlier = float(state["spent"])

        def keep() -> float:
            state["spent"] = earlier + time.monotonic() - began
            write_json(file, state)
            return (60 * minutes - float(state["spent"])) / 60

        def trained(number: int, name: str, row: dict[str, Any]) -> None:
            own = folder / f"round-{number}" / name
            own.parent.mkdir(exist_ok=True)
            turn = time.monotonic()
            done = train(
                data,
                recipe=recipe,
                settings=[*settings, f"objective.name={name}"],
                minutes=row["minutes"],
                start=folder / f"round-{number - 1}" / name if number > 1 else None,
                run=own,
                resume=own.exists(),
                device=device,
                log=log,
                **how,
            )
            network, prepared = load_encoder(done.encoder)
            place = resolve_device(device)
            row |= without_labels(network, prepared, images.pixels, chosen.views, place)
            row["epochs"] = done.epochs
            row["overhead"] = max(0.0, (time.monotonic() - turn - done.seconds) / 60)

        number, left, order = 0, list(objectives), list(objectives)
        while left:
            number += 1
            order = _round(number, left, table, keep, trained)
            left = order[: (len(order) + 1) // 2] if len(order) > 1 else []
        last = folder / f"round-{number}" / order[0] / "encoder.safetensors"
        shutil.copyfile(last, folder / "encoder.safetensors")
        state["objective"] = order[0]
        keep()
    _warn(table)
    return Choice(path, order[0], table)


def _fitted(
    data: str, recipe: Recipe, fits: Collection[str], **how: Any
) -> tuple[Recipe, ImageSet]:
    """The recipe as each training will fit it, and the pictures that it is fitted to."""

    def read(recipe: Recipe) -> ImageSet:
        size, interpolation = form_of(recipe)
        return load(data, size=size, seed=recipe.seed, interpolation=interpolation, **how).train

    return fitted(recipe, fits, read, lambda images: images)


def _check(
    minutes: float, objectives: Sequence[str], settings: Sequence[str], log: str | None
) -> None:
    """Refuses what gives no choice."""
    check_minutes(minutes)
    check_log(log)
    if len(objectives) < 2:
        raise InputError(f"{option('objectives', ','.join(objectives))}: give two or more")
    if any(one.partition("=")[0].strip() == "objective.name" for one in settings):
        raise InputError(
            f"objective.name: each of {option('objectives')} is trained; name them there"
        )


def _warn(table: Sequence[dict[str, Any]]) -> None:
    """Says how many trainings were too short to be compared."""
    if short := sum(row["minutes"] <= LEAST for row in table):
        say(
            f"{short} of {len(table)} trainings had time for only one or two steps, so their order "
            f"says little: give more {option('minutes')}, or fewer {option('objectives')}"
        )


def _round(
    number: int,
    left: Sequence[str],
    table: list[dict[str, Any]],
    keep: Callable[[], float],
    trained: Callable[[int, str, dict[str, Any]], None],
) -> list[str]:
    """Trains and measures those left that this round has not yet; the best first."""
    for place, name in enumerate(left):
        row = _row(table, number, name)
        if CHOSEN_BY in row:
            continue
        if "minutes" not in row:  # one that was interrupted keeps its minutes
            overhead = max((r["overhead"] for r in table if "overhead" in r), default=0.0)
            row["minutes"] = max(LEAST, keep() * _share(len(left), place) - overhead)
            keep()
        trained(number, name, row)
        keep()
        say(f"round {number}, {name}: {CHOSEN_BY} {row[CHOSEN_BY]:.3f}")
    return sorted(left, key=lambda name: -float(_row(table, number, name)[CHOSEN_BY]))


def _share(left: int, place: int) -> float:
    """The part of the time left that the next training has: rounds of equal time."""
    rounds, count = 0, left
    while count > 1:
        count, rounds = (count + 1) // 2, rounds + 1
    return 1 / left / ((left - place) / left + rounds)


def _row(table: list[dict[str, Any]], number: int, name: str) -> dict[str, Any]:
    """The row of a training, made if it is not there."""
    for row in table:
        if (row["round"], row["objective"]) == (number, name):
            return row
    table.append({"round": number, "objective": name})
    return table[-1]
