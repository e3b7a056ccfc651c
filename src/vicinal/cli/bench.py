"""`vicinal bench`: what recipes cost on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from vicinal.cli.options import AsJson, Device, Threads, complete_recipe
from vicinal.cli.output import answer


def bench(
    images: Annotated[int, typer.Option(min=1, help="How many training images you have.")] = 50_000,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="A recipe's name or file (repeatable). (default: the shipped ones)",
            autocompletion=complete_recipe,
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Measure what each recipe costs on this machine.

    Images a second, and the minutes that your number of images would take.
    """
    from vicinal import cores
    from vicinal.recipes import read_recipe, recipe_names
    from vicinal.study.speed import measure_recipes

    recipes = [read_recipe(name) for name in recipe or recipe_names()]
    if not recipe:  # what goes on from a network of others needs an extra, and is asked for by name
        recipes = [one for one in recipes if not one.encoder.start]
    measured = measure_recipes(recipes, device)
    rows, take = measured.rows(images), f"{images:,} images take"
    answer(
        as_json,
        lambda: {"device": measured.device, "images": images, "recipes": rows},
        f"{measured.device}, {' / '.join(sorted(set(measured.precision)))}, "
        f"{cores.said()}; one encoder: a study trains two of them",
        header=["recipe", "trains, images/s", "embeds, images/s", "epochs", take],
        rows=[
            {
                "recipe": row["recipe"],
                "trains, images/s": f"{row['training']:,.0f}",
                "embeds, images/s": f"{row['embedding']:,.0f}",
                "epochs": row["epochs"],
                take: _duration(row["minutes"]),
            }
            for row in rows
        ],
    )


def _duration(minutes: float) -> str:
    return f"{minutes / 60:,.1f} h" if minutes >= 90 else f"{minutes:,.1f} min"
