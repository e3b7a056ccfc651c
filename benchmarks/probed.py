"""One training of S1 and its converged probe, for the benchmarks that compare trainings."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import vicinal
from vicinal.files import read_rows
from vicinal.images import Splits
from vicinal.recipes.recipe import Recipe
from vicinal.representations.representations import Representations
from vicinal.study.data import Data
from vicinal.study.learners import Learners
from vicinal.training.device import open_engine


class Trained(NamedTuple):
    """Mean training loss of each epoch, minutes it all took, accuracy of the converged probe."""

    losses: list[float]
    minutes: float
    probe: float


def trained(splits: Splits, recipe: Recipe) -> Trained:
    """Trains and embeds as `vicinal study` does, then probes."""
    engine = open_engine("cpu", recipe.training.precision)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        began = time.perf_counter()
        Learners(Data(splits.train, splits.test, None), recipe, run, engine).generated()
        minutes = (time.perf_counter() - began) / 60
        rows = [r for r in read_rows(run / "generated" / "losses.csv") if r["split"] == "train"]
        train, test = (
            Representations.load(run / "generated" / f"representations-{part}.parquet")
            for part in ("train", "test")
        )
    losses = [float(row["total"]) for row in rows]
    return Trained(losses, minutes, vicinal.converged_probe(train, test).accuracy.value)
