"""Commands for what is done seldom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import AsJson, Device, wants_page
from vicinal.errors import InputError
from vicinal.files import read_json


def report(
    run: Annotated[Path, typer.Argument(help="A run folder of study or explore.")],
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page of an explore run on this machine.")
    ] = False,
) -> None:
    """Draw a run's report or page again, from its files."""
    from vicinal.report import MOST_PICTURES, serve_explorer, write_explorer, write_report

    if not (run / "explore.json").is_file():
        if serve:
            raise InputError(f"--serve: {run} is no run of vicinal explore; leave --serve out")
        print(write_report(run))
    elif serve:
        serve_explorer(run, show=wants_page(None))
    elif read_json(run / "explore.json")["data"]["count"] > MOST_PICTURES:
        raise InputError(f"{run}: too many pictures for one file; add --serve")
    else:
        print(write_explorer(run))


def bench(
    images: Annotated[int, typer.Option(min=1, help="How many training images you have.")] = 50_000,
    recipe: Annotated[
        list[str] | None,
        typer.Option(help="A recipe's name or file (repeatable). (default: the shipped ones)"),
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure what each recipe costs on this machine.

    Images a second, and the minutes that your number of images would take.
    """
    from vicinal.recipes import read_recipe, recipe_names
    from vicinal.study.bench import measure_recipes, print_speeds

    recipes = [read_recipe(name) for name in recipe or recipe_names()]
    print_speeds(measure_recipes(recipes, device), images, as_json=as_json)
