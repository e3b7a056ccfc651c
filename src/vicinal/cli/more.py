"""Commands for what is done seldom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import AsJson, Device


def report(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Draw a run's report again, from its files."""
    from vicinal.report import write_report

    print(write_report(run))


def bench(
    images: Annotated[int, typer.Option(min=1, help="How many training images you have.")] = 50_000,
    recipe: Annotated[
        list[str] | None,
        typer.Option(help="A recipe's name or file (repeatable). [default: the shipped ones]"),
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
