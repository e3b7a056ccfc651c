"""Which settings fit each objective in a short training? Prints a section.

python benchmarks/objective_settings.py --resume [--objectives barlow,tcr] [--recipe laptop]

A search by one coordinate after the other, the best kept: the objective's own weights, then the
learning rate, then the projector. Each trial trains on part of CIFAR-10's training images (JPEG
copy) and is judged by the converged probe of other training images, so no test image is seen.
Trials are kept in CACHE as soon as they are measured, and --resume goes on with them.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np

import vicinal
from data import source
from measuring import say, section, table
from probed import trained
from vicinal.files import read_json, write_json
from vicinal.images import Splits
from vicinal.objectives import OBJECTIVES

CACHE = Path(__file__).parents[1] / "runs" / "objective-settings"
measured: set[str] = set()  # by this process
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
RATES = tuple(f"training.learning_rate={value}" for value in ("1e-3", "2e-3", "4e-3"))
PROJECTORS = tuple(
    f"projector.widths=[{','.join(widths)}]"
    for widths in (("512",) * 3, ("1024",) * 3, ("2048",) * 3)
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
    CACHE.mkdir(parents=True, exist_ok=True)
    train = vicinal.load(source("cifar10"), size=32).train
    rows = np.random.default_rng(0).permutation(len(train))
    held_out, taught = np.split(rows[: 5_000 + asked.images], [5_000])
    splits = Splits(train.take(np.sort(taught)), train.take(np.sort(held_out)))
    lines = []
    for name in asked.objectives.split(","):
        best: tuple[float, str] = (-1.0, "")
        for choices in (OWN[name], RATES, PROJECTORS):
            base = best[1]
            for choice in choices:
                settings = f"{base} {choice}".strip()
                found = _tried(name, settings, splits, asked)
                lines.append((OBJECTIVES[name].title, f"`{settings}`", *_cells(found)))
                best = max(best, (found["probe"], settings), key=lambda one: one[0])
        say(f"{name}: {best[1]}, {100 * best[0]:.1f} %")
    section(
        "Settings of each objective",
        f"Which settings fit each objective, in {asked.epochs} epochs of {asked.images:,} of "
        "CIFAR-10's training images (JPEG copy)? Probe of 5,000 others.",
        [table(("objective", "settings", "probe", "minutes"), lines)],
    )


def _tried(name: str, settings: str, splits: Splits, asked: argparse.Namespace) -> dict[str, float]:
    """The probe of the held-out images after a training, and its minutes."""
    fixed = [f"objective.name={name}", f"training.epochs={asked.epochs}"]
    recipe = vicinal.override(vicinal.read_recipe(asked.recipe), [*settings.split(), *fixed])
    # By all of the recipe: settings that say what it says already are not trained again.
    said = hashlib.sha256(recipe.model_dump_json().encode()).hexdigest()[:16]
    path = CACHE / f"{asked.recipe}-{name}-{asked.epochs}-{asked.images}-{said}.json"
    if path.is_file() and (asked.resume or str(path) in measured):
        return dict(read_json(path))
    done = trained(splits, recipe)
    measured.add(str(path))
    say(f"{name} {settings}: {done.minutes:.1f} min, {100 * done.probe:.2f} %")
    write_json(path, {"probe": done.probe, "minutes": done.minutes})
    return {"probe": done.probe, "minutes": done.minutes}


def _cells(found: dict[str, float]) -> tuple[str, str]:
    return f"{100 * found['probe']:.1f} %", f"{found['minutes']:.1f}"


if __name__ == "__main__":
    main()
