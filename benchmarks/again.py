"""A finished study, to be measured again: its images, and its learners in a folder of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from vicinal import load, load_anomalies
from vicinal.files import read_json
from vicinal.recipes.recipe import Recipe
from vicinal.runs.run_folder import RunFolder
from vicinal.study.data import Data
from vicinal.study.learners import LEARNERS
from vicinal.study.systems import Measure


def studied(run: Path) -> tuple[Recipe, Data]:
    """The recipe and the images of a study; ends the script where it is not finished."""
    if not (run / "results.json").is_file():
        raise SystemExit(f"{run}: no finished study there")
    results = read_json(run / "results.json")
    recipe, described = Recipe.model_validate(results["recipe"]), results["data"]
    size, seed = recipe.views.size, recipe.seed
    splits = load(described["source"], size=size, seed=seed, limit=described["limit"])
    other = described["anomalies"]
    anomalies = None
    if other:
        channels = splits.train.channels
        anomalies = load_anomalies(other["source"], size=size, channels=channels, seed=seed)
    return recipe, Data(splits.train, splits.test, anomalies)


@contextmanager
def measuring(run: Path, data: Data, recipe: Recipe, device: str = "cpu") -> Iterator[Measure]:
    """What measures a study's learners, into a folder of its own beside links to them."""
    with TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch))
        for learner in LEARNERS:
            (folder / learner).symlink_to((run / learner).resolve())
        yield Measure(folder, data, recipe, device)
