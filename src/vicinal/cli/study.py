"""`vicinal study`: the whole study to one report."""

from __future__ import annotations

import shlex
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import (
    SOURCES,
    AsJson,
    DataDir,
    Device,
    Devices,
    Exclude,
    Limit,
    Log,
    MaxMegapixels,
    Minutes,
    Nodes,
    RecipeName,
    Resume,
    Settings,
    Threads,
    complete_source,
    reading,
)
from vicinal.cli.output import print_json
from vicinal.errors import InputError


def _refuse(data: str | None) -> None:
    if data is not None:
        raise InputError(f"{data}: study takes no argument; write --data {shlex.quote(data)}")


_Misplaced = Annotated[  # as other commands name their images
    str | None, typer.Argument(metavar="--data DATA", hidden=True, callback=_refuse)
]


def study(
    misplaced: _Misplaced = None,
    data: Annotated[str, typer.Option(help=SOURCES, autocompletion=complete_source)] = "digits",
    recipe: RecipeName = None,
    anomalies: Annotated[
        str | None, typer.Option(help="Images of another kind, named as for --data.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="The test set, if it lies apart, named as for --data.")
    ] = None,
    limit: Limit = None,
    settings: Settings = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Repeat with so many seeds.")] = 1,
    objectives: Annotated[
        str | None, typer.Option(help="Objectives to compare: all, or names with commas.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run folder. (default: runs/DATA-RECIPE-NUMBER)")
    ] = None,
    resume: Resume = False,
    minutes: Minutes = None,
    device: Device = "auto",
    devices: Devices = None,
    nodes: Nodes = None,
    precision: Annotated[str | None, typer.Option(help="auto, bf16 or float32.")] = None,
    exclude: Exclude = None,
    max_megapixels: MaxMegapixels = None,
    data_dir: DataDir = None,
    log: Log = None,
    show: Annotated[bool, typer.Option("--open", help="Open the report at the end.")] = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Run the whole study: train, compare, measure, write one report.

    \b
    vicinal study                                        scanned digits, minutes, no network
    vicinal study --data cifar10 --anomalies mnist --recipe laptop
    vicinal study --data PHOTOS/ --limit 5000
    """
    # torch takes seconds to import, and --help must not.
    from vicinal.distributed import is_first
    from vicinal.explore import TEST_IMAGES
    from vicinal.report import write_report
    from vicinal.study.compare_objectives import parse_objectives
    from vicinal.study.figures import headline, print_summary
    from vicinal.study.run import StudyOptions, run_study

    changes = list(settings or [])
    changes += [f"seed={seed}"] if seed is not None else []
    changes += [f"training.precision={precision}"] if precision is not None else []
    folder = run_study(
        StudyOptions(
            data=data,
            anomalies=anomalies,
            test=test,
            limit=limit,
            recipe=recipe,
            settings=tuple(changes),
            seeds=seeds,
            run=run,
            resume=resume,
            device=device,
            data_dir=data_dir,
            log=log,
            objectives=parse_objectives(objectives),
            minutes=minutes,
            devices=devices,
            nodes=nodes,
            **reading(exclude, max_megapixels),
        ),
        [TEST_IMAGES],
    )
    if not is_first():
        return
    page = write_report(folder)
    print_json(headline(folder)) if as_json else print_summary(folder)
    if show:
        webbrowser.open(page.resolve().as_uri())
