"""What does a second look at each picture buy? `vicinal embed --crops N --flip` on CIFAR-10.

python benchmarks/second_look.py [--epochs 3] [--limit 10000] [--test 5000] [--seeds 2]

Trains the laptop recipe briefly on CIFAR-10 (JPEG copy), embeds a part of it once and by several
looks, and judges each by the converged linear probe and 20 nearest votes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import vicinal
from data import source
from measuring import say, section, table
from vicinal.encoder.pretrained import preparation_for
from vicinal.representations.embed import looks
from vicinal.study.learners import learn_generated
from vicinal.training.device import open_engine

LOOKS = ((1, False), (1, True), (4, False))


def main() -> None:
    """Trains, embeds and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--test", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args()
    images = vicinal.load(source("cifar10"), size=32, limit=asked.limit)
    test = images.test.take(np.arange(min(asked.test, len(images.test))))
    found: dict[tuple[int, bool], list[tuple[float, float, float]]] = {one: [] for one in LOOKS}
    for seed in range(asked.seeds):
        settings = [f"seed={seed}", f"training.epochs={asked.epochs}"]
        recipe = vicinal.override(vicinal.read_recipe("laptop"), settings)
        engine = open_engine("cpu", recipe.training.precision)
        with tempfile.TemporaryDirectory() as folder:
            encoder = learn_generated(
                images.train, test, recipe, Path(folder), engine, title=f"seed {seed}"
            )
        prepared = preparation_for(images.train.pixels, recipe.encoder, images.train.span)
        for one in LOOKS:
            began = time.process_time()
            parts = [
                vicinal.embed(encoder, part, prepared, seen=looks(*one))
                for part in (images.train, test)
            ]
            seconds = time.process_time() - began
            probe = vicinal.converged_probe(*parts).accuracy.value
            (near,) = vicinal.knn_probe(*parts, k=[20])
            found[one].append((100 * probe, 100 * near.accuracy.value, seconds))
            say(f"seed {seed}, {one}: {found[one][-1]}")
    once = found[LOOKS[0]]
    lines = [
        [
            f"--crops {crops}{' --flip' if flip else ''}",
            ", ".join(f"{probe:.1f} ({probe - base[0]:+.1f})" for probe, base in paired),
            ", ".join(f"{near[1]:.1f} ({near[1] - base[1]:+.1f})" for near, base in whole),
            f"{sum(a[2] / b[2] for a, b in whole) / len(whole):.1f}×",
        ]
        for (crops, flip), rows in found.items()
        for whole in [list(zip(rows, once, strict=True))]
        for paired in [[(row[0], base) for row, base in whole]]
    ]
    section(
        "A second look",
        "What does averaging over parts of a picture buy, on CIFAR-10 (JPEG copy; laptop recipe, "
        f"{asked.limit:,} training images, {asked.epochs} epochs, {asked.test:,} test images)?",
        [table(["looks", "linear probe, % (each seed)", "20 nearest, %", "CPU time"], lines)],
    )


if __name__ == "__main__":
    main()
