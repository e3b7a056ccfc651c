"""What each choice of a recipe buys: python benchmarks/ablations.py [SETTINGS ...] > table.

Trains the laptop recipe on all of CIFAR-10 (JPEG copy) with each argument's settings (as
``vicinal study --set`` takes them, several joined by spaces; "" is the recipe itself; form=NAME
is an encoder of earlier.py), embeds, and judges by the converged linear probe. Every row is
appended to docs/ablations.csv; without arguments nothing is trained, and the table is printed
from that file.

    python benchmarks/ablations.py --epochs 2 --seed 0 "" "training.batch_size=256" "form=last-two"
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from pathlib import Path

import vicinal
from data import source
from earlier import split, take
from measuring import keep, machine, say, section, table
from probed import trained
from vicinal.files import read_rows

HELD = Path(__file__).parents[1] / "docs" / "ablations.csv"
COLUMNS = ("recipe", "settings", "epochs", "seed", "minutes", "probe", "machine")


def main() -> None:
    """Trains what is asked for, then prints the table of all rows held."""
    parser = argparse.ArgumentParser()
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--recipe", default="laptop")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    recipe = vicinal.read_recipe(asked.recipe)
    for settings in asked.settings:
        own, form = split(settings)
        fixed = [f"training.epochs={asked.epochs}", f"seed={asked.seed}"]
        changed = take(form, vicinal.override(recipe, [*own, *fixed]))
        done = trained(vicinal.load(source("cifar10"), size=changed.views.size), changed)
        say(f"{settings or 'as it is'}: {done.minutes:.1f} min, {100 * done.probe:.2f} %")
        row = (asked.recipe, settings, asked.epochs, asked.seed, f"{done.minutes:.2f}")
        keep(HELD, COLUMNS, (*row, f"{done.probe:.4f}", machine()))
    print_table()


def print_table() -> None:
    """Prints the means over seeds, with every seed's accuracy."""
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = defaultdict(list)
    for row in read_rows(HELD):
        groups[row["recipe"], row["epochs"], row["settings"]].append(row)
    lines = []
    for (recipe, epochs, settings), rows in groups.items():
        probes = [100 * float(row["probe"]) for row in rows]
        lines.append(
            (
                recipe,
                epochs,
                f"`{settings}`" if settings else "as it is",
                f"{statistics.mean(probes):.1f} %",
                ", ".join(f"{probe:.1f}" for probe in probes),
                f"{statistics.median(float(row['minutes']) for row in rows):.1f}",
            )
        )
    header = ("recipe", "epochs", "change", "linear probe", "each seed", "minutes")
    question = "What does each choice buy, on CIFAR-10 (JPEG copy)?"
    section("Ablations", question, [table(header, lines)])


if __name__ == "__main__":
    main()
