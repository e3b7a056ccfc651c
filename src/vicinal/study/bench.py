"""What recipes cost on this machine, measured in less than a minute."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from rich.console import Console
from rich.table import Table

from vicinal import cores
from vicinal.recipe import Recipe
from vicinal.study.speed import Speed, measure_speed
from vicinal.training.device import Engine, open_engine

SECONDS = 24.0
"""For all recipes together; each also has a first try that is not counted."""
MOST_SECONDS = 10.0
"""For one recipe."""


@dataclass(frozen=True)
class Speeds:
    """Speeds of some recipes, and where they were measured.

    Attributes:
        device: ``cpu`` or ``cuda``.
        precision: Arithmetic of each recipe.
        speeds: The recipes' speeds, in their order.
    """

    device: str
    precision: tuple[str, ...]
    speeds: tuple[Speed, ...]


@cores.shared()
def measure_recipes(recipes: Sequence[Recipe], device: str) -> Speeds:
    """Measures each recipe on colour pixels of its own size.

    Raises:
        InputError: If the device is not to be had.
    """
    console = Console(stderr=True)
    share = min(MOST_SECONDS, SECONDS / len(recipes))
    speeds, precision = [], []
    measured: dict[tuple[object, ...], Speed] = {}
    for recipe in recipes:
        engine = open_engine(device, recipe.training.precision)
        work = _work(recipe, engine)
        if work not in measured:
            with console.status(f"measuring {recipe.name}"):
                measured[work] = measure_speed(recipe, engine, channels=3, seconds=share)
        # Another recipe's steps may cost the same: on a processor `gpu` takes those of `seed`.
        own = replace(measured[work], recipe=recipe.name, epochs=recipe.training.epochs)
        speeds.append(own)
        precision.append(engine.precision)
    return Speeds(engine.device, tuple(precision), tuple(speeds))


def _work(recipe: Recipe, engine: Engine) -> tuple[object, ...]:
    """What a recipe's speed depends on."""
    training = recipe.training
    networks = (recipe.views, recipe.encoder, recipe.projector, engine.precision)
    return (*networks, training.optimizer, training.batch_size)


def print_speeds(measured: Speeds, images: int, *, as_json: bool) -> None:
    """Prints the rates, and the minutes that ``images`` training images would take."""
    if as_json:
        rows = [
            asdict(speed) | {"precision": precision, "minutes": speed.minutes(images)}
            for speed, precision in zip(measured.speeds, measured.precision, strict=True)
        ]
        print(json.dumps({"device": measured.device, "images": images, "recipes": rows}))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("recipe")
    for title in ("trains, images/s", "embeds, images/s", "epochs", f"{images:,} images take"):
        table.add_column(title, justify="right")
    for speed in measured.speeds:
        table.add_row(
            speed.recipe,
            f"{speed.training:,.0f}",
            f"{speed.embedding:,.0f}",
            str(speed.epochs),
            _duration(speed.minutes(images)),
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"{measured.device}, {' / '.join(sorted(set(measured.precision)))}, "
        f"{cores.said()}; one encoder: a study trains two of them"
    )


def _duration(minutes: float) -> str:
    return f"{minutes / 60:,.1f} h" if minutes >= 90 else f"{minutes:,.1f} min"
