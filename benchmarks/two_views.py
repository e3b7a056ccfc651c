"""How are several cores best used for one step of training on a CPU?

Images a second of a recipe's training, as `vicinal bench` measures them, with its two views on two
threads of ours (what Vicinal does), with one view after the other and every operator split among
all cores (what it did before), on two ranks that have half of each batch and exchange BatchNorm's
statistics, embeddings and gradients by gloo, and on one thread; beside no other process and beside
one that does nothing but compute.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np

from busy import held
from measuring import say, section, table
from neighbours import busy
from vicinal import cores
from vicinal.files import read_rows
from vicinal.recipes import read_recipe
from vicinal.study.speed import measure_training
from vicinal.training import step
from vicinal.training.device import open_engine

GOAL = 1.15
WAYS = ("one thread", "operators split", "two ranks", "a thread a view")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", nargs="+", default=("laptop", "photos"))
    parser.add_argument("--neighbours", type=int, nargs="+", default=(0, 1))
    parser.add_argument("--seconds", type=float, default=6.0, help="of each training")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    found: dict[tuple[int, str, str], list[float]] = {}
    for count in asked.neighbours:
        with busy(count):
            for turn in range(asked.rounds):
                for recipe in asked.recipes:
                    for way in WAYS[turn % 4 :] + WAYS[: turn % 4]:
                        rate = measured(way, recipe, asked.seconds)
                        found.setdefault((count, recipe, way), []).append(rate)
                        say(f"{count} neighbours, {recipe}, {way}: {rate:.0f} images/s")
    report(found, asked.rounds)


def measured(way: str, name: str, seconds: float) -> float:
    """Images a second of a recipe's training, one of the `WAYS`."""
    if way == "two ranks":
        return on_ranks(name, seconds)
    recipe = read_recipe(name)
    engine = open_engine("cpu", recipe.training.precision)
    split = mock.patch.object(step, "can_be_twinned", return_value=way != "operators split")
    with split, held(1 if way == "one thread" else cores.cores()):
        return measure_training(recipe, engine, channels=3, seconds=seconds)


def on_ranks(name: str, seconds: float) -> float:
    """The same by `vicinal train` on two ranks of one thread each, of its second epoch."""
    recipe = read_recipe(name)
    size, batch = recipe.views.size, recipe.training.batch_size
    images = max(4, round(seconds * 400 * (32 / size) ** 2 / batch)) * batch
    with tempfile.TemporaryDirectory() as folder:
        noise = np.random.default_rng(0).integers(256, size=(images, size, size, 3), dtype=np.uint8)
        np.save(f"{folder}/noise.npy", noise)
        settings = ("epochs=2", "warmup_epochs=0", "test_images=1")
        command = [sys.executable, "-m", "vicinal", "train", f"{folder}/noise.npy"]
        command += ["--recipe", name, "--run", f"{folder}/run", "--device", "cpu"]
        command += ["--devices", "2", "--threads", "1"]
        command += [word for text in settings for word in ("--set", f"training.{text}")]
        ended = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        if ended.returncode:
            sys.exit(f"two ranks: {ended.stderr.strip().splitlines()[-1]}")
        losses = next(Path(folder, "run").rglob("losses.csv"))
        rows = [row for row in read_rows(losses) if row["split"] == "train"]
        return float(rows[-1]["images_per_second"])


def report(found: dict[tuple[int, str, str], list[float]], rounds: int) -> None:
    """The table, and the goal."""
    rows, goals = [], []
    for count, recipe in dict.fromkeys(key[:2] for key in found):
        rates = {way: found[count, recipe, way] for way in WAYS}
        base = rates["operators split"]
        ratios = {
            way: statistics.median(a / b for a, b in zip(rates[way], base, strict=True))
            for way in WAYS
        }
        beside = f"{count} neighbour{'' if count == 1 else 's'}"
        rows.append((f"{recipe}, {beside}", *(f"{ratios[way]:.2f}" for way in WAYS)))
        if count == 0:
            won = ratios["a thread a view"]
            verdict = "met" if won >= GOAL else "missed"
            goals.append(f"{recipe}, quiet: {won:.2f} times; goal {GOAL}: {verdict}.")
            goals.append(f"{recipe}, quiet: {projection(ratios)}")
    section(
        "Cores in the large",
        "How are several cores best used for one step of training on a CPU?",
        [table(("", *WAYS), rows)],
        [
            *goals,
            f"Images a second, as multiples of those of operators split among all "
            f"{cores.cores()} cores, medians of {rounds} rounds of all ways in turn.",
            "Two ranks have half of each batch; BatchNorm and the objective see all of it.",
        ],
    )


def projection(ratios: dict[str, float]) -> str:
    """What more cores would give by Amdahl's law, from the speeds with one core and with all."""
    many, told = cores.cores(), []
    for way in WAYS[1:]:
        speed = ratios[way] / ratios["one thread"]
        alone = max(0.0, (many / speed - 1) / (many - 1))  # what no core divides
        on = {count: 1 / (alone + (1 - alone) / count) for count in (8, 16)}
        told.append(f"{way} {on[8]:.1f} and {on[16]:.1f}")
    return (
        f"projected for 8 and 16 cores by Amdahl's law, not measured, as multiples of one "
        f"thread: {', '.join(told)}."
    )


if __name__ == "__main__":
    main()
