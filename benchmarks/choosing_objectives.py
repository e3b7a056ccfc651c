"""Do measures without labels choose the objective that labels would? Prints a section.

python benchmarks/choosing_objectives.py --resume [--sets digits,cifar,mnist,icons,crops]

Each set × objective × seed is a training, with its measures and what labels say of it. Every row is
appended to docs/choosing-objectives.csv, and --resume goes on with what is there. Run it at nice
19: six objectives × three seeds × five sets are 90 trainings.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import mean

import numpy as np

import vicinal
from choosing import Points, interval, points_lost, tau
from data import source
from folder_sets import folder
from measuring import keep, machine, say, section, table
from vicinal.files import read_rows
from vicinal.objectives import OBJECTIVES
from vicinal.study.compare_objectives import without_labels
from vicinal.training.device import open_engine
from vicinal.training.train_encoder import data_of_arrays, train_encoder

CACHE = Path(__file__).parents[1] / "runs" / "choosing-objectives"
HELD = Path(__file__).parents[1] / "docs" / "choosing-objectives.csv"
MEASURES = ("own_view", "lidar", "rankme", "alpha_req")
FIGURES = (*MEASURES, "knn", "probe")
COLUMNS = ("set", "objective", "seed", "epochs", "limit", *FIGURES, "machine")
Key = tuple[str, str, int]
"""Set, objective and seed."""


def images(name: str, limit: int) -> tuple[vicinal.ImageSet, vicinal.ImageSet, str]:
    """Training and test pictures of a set, and the recipe that fits them."""
    if name == "digits":
        parts = vicinal.load("digits", size=8, limit=limit)
        return parts.train, parts.test, "digits"
    sources = {"cifar": "cifar10", "mnist": "mnist"}
    where = source(sources[name]) if name in sources else str(folder(name, limit, CACHE))
    parts = vicinal.load(where, size=32, limit=limit)
    return parts.train, parts.test.take(np.arange(min(2000, len(parts.test)))), "laptop"


def measured(name: str, objective: str, seed: int, epochs: int, limit: int) -> dict[str, float]:
    """A training's measures without labels, and its probe and 5 nearest votes."""
    train, test, recipe_name = images(name, limit)
    settings = [f"objective.name={objective}", f"seed={seed}", f"training.epochs={epochs}"]
    recipe = vicinal.override(vicinal.read_recipe(recipe_name), settings)
    engine = open_engine("cpu", recipe.training.precision)
    with tempfile.TemporaryDirectory() as run:
        data = data_of_arrays(recipe, train.pixels, test.pixels, span=train.span)
        encoder = train_encoder(data, recipe, Path(run), engine, title=objective)
    prepared = data.preparation
    parts = [vicinal.embed(encoder, part, prepared) for part in (train, test)]
    found = without_labels(encoder, prepared, train.pixels, recipe.views)
    # α is best near 1, the other measures where they are greatest.
    found["alpha_req"] = -abs(found["alpha_req"] - 1)
    (near,) = vicinal.knn_probe(*parts, k=[5])
    probe = vicinal.converged_probe(*parts)
    return found | {"knn": near.accuracy.value, "probe": probe.accuracy.value}


def main() -> None:
    """Measures what is not kept yet, and prints the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", default="digits,cifar,mnist,icons,crops")
    parser.add_argument("--objectives", default=",".join(OBJECTIVES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--limit", type=int, default=1500)
    parser.add_argument("--resume", action="store_true")
    asked = parser.parse_args()
    objectives, sets = asked.objectives.split(","), asked.sets.split(",")
    points = held(asked.epochs, asked.limit) if asked.resume else {}
    for seed in range(asked.seeds):
        for name in sets:
            for objective in objectives:
                key = name, objective, seed
                if key not in points:
                    points[key] = measured(*key, asked.epochs, asked.limit)
                    figures = [f"{points[key][figure]:.5g}" for figure in FIGURES]
                    keep(HELD, COLUMNS, (*key, asked.epochs, asked.limit, *figures, machine()))
                    say(f"{name}, {objective}, seed {seed}")
    print_section(points, sets, asked)


def held(epochs: int, limit: int) -> dict[Key, dict[str, float]]:
    """The rows that are there."""
    return {
        (row["set"], row["objective"], int(row["seed"])): {n: float(row[n]) for n in FIGURES}
        for row in (read_rows(HELD) if HELD.is_file() else ())
        if (int(row["epochs"]), int(row["limit"])) == (epochs, limit)
    }


def print_section(
    points: dict[Key, dict[str, float]], sets: list[str], asked: argparse.Namespace
) -> None:
    """Kendall's τ of each measure with each figure of labels, and what each objective reaches."""
    lines = []
    for labels in ("knn", "probe"):
        by_set: Points = {
            f"{name}, seed {seed}": {
                objective: row | {"labels": row[labels]}
                for (of, objective, drawn), row in points.items()
                if (of, drawn) == (name, seed)
            }
            for name in sets
            for seed in range(asked.seeds)
        }
        for measure in MEASURES:
            low, high = interval(by_set, measure)
            each = [
                f"{tau({k: v for k, v in by_set.items() if k.startswith(f'{name},')}, measure):.2f}"
                for name in sets
            ]
            lost = f"{100 * points_lost(by_set, measure):.1f}"
            whole = f"{tau(by_set, measure):.2f}"
            lines.append([measure, labels, whole, f"{low:.2f} to {high:.2f}", *each, lost])
    reached = [
        [
            objective,
            *(
                f"{100 * mean(points[name, objective, s]['knn'] for s in range(asked.seeds)):.1f}"
                for name in sets
            ),
        ]
        for objective in asked.objectives.split(",")
    ]
    section(
        "Choosing an objective",
        "Do measures without labels order objectives as labels do: Kendall's τ over "
        f"{len(reached)} objectives, the mean over {asked.seeds} seeds and {len(sets)} sets (at "
        f"most {asked.limit:,} pictures, {asked.epochs} epochs), and the points lost by what a "
        "measure prefers?",
        [
            table(["measure", "labels", "τ", "95 %", *sets, "points lost"], lines),
            table(["objective, 5 nearest in %", *sets], reached),
        ],
    )


if __name__ == "__main__":
    main()
