"""`vicinal choose`: the objective that suits some pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import (
    AsJson,
    DataDir,
    Device,
    Exclude,
    Limit,
    Log,
    MaxMegapixels,
    RecipeName,
    Resume,
    Settings,
    Source,
    Threads,
    reading,
)
from vicinal.cli.output import answer


def choose(
    data: Source,
    minutes: Annotated[float, typer.Option(help="What all of it may take.")] = 15.0,
    objectives: Annotated[
        str, typer.Option(help="Objectives to choose from: all, or names with commas.")
    ] = "all",
    recipe: RecipeName = None,
    settings: Settings = None,
    limit: Limit = None,
    run: Annotated[
        Path | None, typer.Option(help="The run folder. (default: runs/choose-DATA-RECIPE-NUMBER)")
    ] = None,
    resume: Resume = False,
    log: Log = None,
    device: Device = "auto",
    exclude: Exclude = None,
    max_megapixels: MaxMegapixels = None,
    data_dir: DataDir = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Find the objective that suits these pictures, without labels, and keep its encoder.

    \b
    vicinal choose PHOTOS/ --minutes 30
    vicinal choose PHOTOS/ --objectives vicreg,barlow,ntxent
    """
    from vicinal.study.choose import choose as choose_objective
    from vicinal.study.compare_objectives import parse_objectives

    found = choose_objective(
        data,
        minutes=minutes,
        objectives=parse_objectives(objectives),
        recipe=recipe,
        settings=settings or (),
        limit=limit,
        run=run,
        resume=resume,
        device=device,
        data_dir=data_dir,
        log=log,
        **reading(exclude, max_megapixels),
    )
    answer(
        as_json,
        lambda: asdict(found) | {"run": str(found.run)},
        f"kept: {found.objective}, its encoder in {found.run}",
        header=(
            *("round", "objective", "minutes", "epochs"),
            *("own_view", "lidar", "rankme", "alpha_req"),
        ),
        rows=found.table,
    )
