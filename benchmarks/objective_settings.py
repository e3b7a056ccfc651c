"""Which settings fit each objective in a short training? Prints a section.

python benchmarks/objective_settings.py --resume [--objectives barlow,tcr] [--recipe laptop]

A search by one coordinate after the other, the best kept: the objective's own weights, then the
learning rate, then the projector. Each trial trains on part of CIFAR-10's training images (JPEG
copy) and is judged by the converged probe of other training images, so no test image is seen.
Every trial is appended to docs/objective-settings.csv, and --resume goes on with what is there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import vicinal
from data import source
from measuring import keep, machine, say, section, table
from probed import trained
from vicinal.files import read_rows
from vicinal.images import Splits
from vicinal.objectives import OBJECTIVES
from vicinal.recipes.recipe import Recipe

HELD = Path(__file__).parents[1] / "docs" / "objective-settings.csv"
COLUMNS = ("objective", "settings", "recipe", "epochs", "images", "probe", "minutes", "machine")
OWN: dict[str, tuple[str, ...]] = {
    "vicreg": tuple(f"objective.invariance={value}" for value in (10, 25)),
    "barlow": tuple(f"objective.barlow.redundancy={value}" for value in (0.0013, 0.0051, 0.02)),
    "sigreg": tuple(f"objective.sigreg.weight={value}" for value in (0.02, 0.05, 0.2)),
    "visreg": tuple(f"objective.visreg.weight={value}" for value in (0.3, 0.6, 0.9)),
    "ntxent": (
        *(f"objective.ntxent.temperature={value}" for value in (0.1, 0.2, 0.5)),
        "objective.ntxent.decoupled=true objective.ntxent.temperature=0.1",
        "objective.ntxent.decoupled=true objective.ntxent.temperature=0.2",
    ),
    "tcr": tuple(f"objective.tcr.alignment={value}" for value in (50, 200, 800)),
}
"""The published value and what lies about it; VICReg's is the recipe's."""
RATES = tuple(f"training.learning_rate={value}" for value in ("1e-3", "2e-3"))
PROJECTORS = tuple(
    f"projector.widths=[{','.join(widths)}]" for widths in (("1024",) * 3, ("2048",) * 3)
)


def main() -> None:
    """Measures what is not kept yet, and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--objectives", default=",".join(OBJECTIVES))
    parser.add_argument("--recipe", default="laptop")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--resume", action="store_true")
    asked = parser.parse_args()
    train = vicinal.load(source("cifar10"), size=32).train
    rows = np.random.default_rng(0).permutation(len(train))
    held_out, taught = np.split(rows[: 5_000 + asked.images], [5_000])
    splits = Splits(train.take(np.sort(taught)), train.take(np.sort(held_out)))
    lines = []
    known = Trials(asked)
    for name in asked.objectives.split(","):
        best: tuple[float, str] = (-1.0, "")
        for choices in (OWN[name], RATES, PROJECTORS):
            base = best[1]
            for choice in choices:
                settings = f"{base} {choice}".strip()
                probe = known.probe(name, settings, splits)
                lines.append((OBJECTIVES[name].title, f"`{settings}`", f"{100 * probe:.1f} %"))
                best = max(best, (probe, settings), key=lambda one: one[0])
        say(f"{name}: {best[1]}, {100 * best[0]:.1f} %")
    section(
        "Settings of each objective",
        f"Which settings fit each objective, in {asked.epochs} epochs of {asked.images:,} of "
        "CIFAR-10's training images (JPEG copy)? Probe of 5,000 others.",
        [table(("objective", "settings", "probe"), lines)],
    )


class Trials:
    """Trials that are there, by what the whole of their recipe says, and new ones."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.known: dict[str, float] = {}
        for row in read_rows(HELD) if asked.resume and HELD.is_file() else ():
            if (int(row["epochs"]), int(row["images"])) == (asked.epochs, asked.images):
                recipe = self._recipe(row["objective"], row["settings"])
                if row["recipe"] == asked.recipe:
                    self.known[recipe.model_dump_json()] = float(row["probe"])

    def probe(self, name: str, settings: str, splits: Splits) -> float:
        """The accuracy on held-out images after a training."""
        recipe, asked = self._recipe(name, settings), self.asked
        said = recipe.model_dump_json()
        if said not in self.known:
            done = trained(splits, recipe)
            self.known[said] = done.probe
            row = (name, settings, asked.recipe, asked.epochs, asked.images)
            keep(HELD, COLUMNS, (*row, f"{done.probe:.4f}", f"{done.minutes:.2f}", machine()))
            say(f"{name} {settings}: {done.minutes:.1f} min, {100 * done.probe:.2f} %")
        return self.known[said]

    def _recipe(self, name: str, settings: str) -> Recipe:
        fixed = [f"objective.name={name}", f"training.epochs={self.asked.epochs}"]
        # What the recipe has since taken from this search is not where the search begins.
        begun = ["objective.ntxent.decoupled=false"]
        if name != "vicreg":
            begun.append(f"objective.{name}.learning_rate_factor=1")
        recipe = vicinal.read_recipe(self.asked.recipe)
        return vicinal.override(recipe, [*begun, *settings.split(), *fixed])


if __name__ == "__main__":
    main()
