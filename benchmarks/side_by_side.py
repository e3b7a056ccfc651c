"""Does the study gain by measuring its systems side by side?

A study's learners are measured both ways, as the study itself does it: S1 to S9 in turn, on all
threads, and by two processes that share the threads, their start included. ``--run`` names a
finished study; without one, 10,000 images of CIFAR-10 train for an epoch first.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from again import measuring, studied
from data import source
from measuring import interleaved, ratio, section, table
from vicinal import StudyOptions, run_study
from vicinal.runs.stages import finished_stages
from vicinal.study import systems
from vicinal.study.systems import SYSTEMS

IMAGES = 10_000  # the fewest that the study measures side by side
WAYS = {"in turn": sys.maxsize, "side by side": 0}  # images from which on processes are started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    with TemporaryDirectory() as scratch:
        run = asked.run or _studied(Path(scratch) / "run")
        recipe, data = studied(run)
        stages: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}

        def measure(way: str) -> None:
            systems.PAYS = WAYS[way]
            with measuring(run, data, recipe) as measure:
                systems.measure_all(measure)
                stages[way].append(finished_stages(measure.run.path))

        taken = interleaved(
            {
                "in turn": lambda: measure("in turn"),
                "side by side": lambda: measure("side by side"),
            },
            rounds=asked.rounds,
            warm_up=0,
        )
    _print(
        stages,
        taken,
        f"{data.train.name}, {len(data.train):,} training images, "
        f"{recipe.encoder.dimension:,} dimensions",
    )


def _studied(folder: Path) -> Path:
    """A study of the laptop recipe whose encoders saw few images once."""
    return run_study(
        StudyOptions(
            data=source("cifar10"),
            anomalies=source("mnist"),
            limit=IMAGES,
            recipe="laptop",
            settings=("training.epochs=1", "training.warmup_epochs=0.2"),
            run=folder,
        )
    )


def _print(
    stages: dict[str, list[dict[str, float]]], taken: dict[str, list[float]], what: str
) -> None:
    def median(way: str, name: str) -> str:
        return f"{statistics.median(one[f'measure {name}'] for one in stages[way]):.1f}"

    rows = [(name, *(median(way, name) for way in WAYS)) for name in SYSTEMS]
    rows.append(("**all**", *(f"**{statistics.median(taken[way]):.1f}**" for way in WAYS)))
    section(
        "Systems side by side",
        "Does the study gain by measuring two systems at a time?",
        [table(("system", *(f"{way}, s" for way in WAYS)), rows)],
        [
            f"Side by side is {ratio(taken['in turn'], taken['side by side']):.2f}× as fast, the "
            "start of the processes included.",
            f"{what} (cifar10 is the JPEG copy); {len(taken['in turn'])} rounds. Side "
            "by side, each system's time is its part of that of all.",
        ],
    )


if __name__ == "__main__":
    main()
