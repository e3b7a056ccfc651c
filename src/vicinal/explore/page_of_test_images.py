"""A study's test images as S1 sees them: the page behind the maps in S2 of its report."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.explore.check_labels import check_labels
from vicinal.explore.compare_pictures import compare_pictures
from vicinal.explore.describe_pictures import describe_pictures
from vicinal.explore.explore_json import data_figures
from vicinal.explore.group_pictures import group_pictures
from vicinal.explore.map_pictures import map_columns
from vicinal.explore.request import FALSE_ALARMS
from vicinal.explore.stage_results import read_figures, read_neighbours, write_stage
from vicinal.files import read_json, write_json
from vicinal.recipes.recipe import Recipe
from vicinal.report import STUDY_PART
from vicinal.representations.representations import Representations
from vicinal.runs.pictures import write_pictures
from vicinal.runs.run_folder import RunFolder
from vicinal.study.data import Data
from vicinal.study.run import ExtraStage

_MAPS = ("pca", "tsne")
_ADVICE = "train longer (--set training.epochs=N) or go on from --set encoder.start=pretrained"


def _explore(run: RunFolder, data: Data, recipe: Recipe) -> None:
    """Leaves in a folder of the run what `explore` leaves in its own, with S2's maps."""
    folder = run / STUDY_PART
    folder.mkdir(exist_ok=True)
    ids, maps = _drawn(run)
    place = {name: row for row, name in enumerate(data.test.ids.tolist())}
    rows = np.array([place[name] for name in ids])
    shown = _shown(run, data, rows)
    # A memory map of them all is not copied.
    everything = len(rows) == len(data.test)
    pixels = data.test.pixels if everything else data.test.pixels[rows]
    compared = compare_pictures(shown, pixels, folder, false_alarms=FALSE_ALARMS)
    write_stage(folder, "compare", compared)
    columns = map_columns(maps, shown.array, read_neighbours(folder))
    s2 = read_json(run / "S2.json")
    figures = {n: {k: v for k, v in s2[n].items() if k != "class_agreement"} for n in _MAPS}
    write_stage(folder, "map", (columns, {"maps": figures}))
    write_stage(folder, "group", group_pictures(shown, folder, recipe.evaluation.clusters))
    write_stage(folder, "labels", check_labels(shown, folder))
    encoder = run / "generated/encoder.safetensors"
    describe_pictures(folder, shown, pixels, encoder, advice=_ADVICE)
    write_pictures(folder / "pictures", [str(row) for row in range(len(rows))], pixels)
    _write_figures(run, data, recipe, shown)


def _drawn(run: RunFolder) -> tuple[list[str], dict[str, NDArray[np.float32]]]:
    """The ids of the images on S2's maps, and where they lie on each, (N, 2)."""
    tables = {name: pq.read_table(run / "maps" / f"generated-{name}.parquet") for name in _MAPS}
    points = {
        name: np.stack([table.column(axis).to_numpy() for axis in "xy"], axis=1)
        for name, table in tables.items()
    }
    return tables["pca"].column("id").to_pylist(), points


def _shown(run: RunFolder, data: Data, rows: NDArray[np.int64]) -> Representations:
    """S1's representations of the test images at ``rows`` (N,), with their classes' names."""
    test = Representations.load(run / "generated" / "representations-test.parquet").take(rows)
    sizes = data.test.sizes
    return replace(test, sizes=None if sizes is None else sizes[rows])


def _write_figures(run: RunFolder, data: Data, recipe: Recipe, shown: Representations) -> None:
    """Writes ``explore.json``, last of all: with it the folder is one to draw a page from."""
    data_of_page = data_figures(
        data.test,
        shown,
        source=read_json(run / "run.json")["data"],
        classes=data.test.class_names,  # in this order, so that colours are those of S2
        skipped=len(data.test.skipped),
    )
    figures = {
        "format": 1,
        "data": data_of_page | {"name": f"{data.test.name}, test"},
        "encoder": {
            "source": "trained here",
            "recipe": recipe.name,
            "epochs": recipe.training.epochs,
            "seconds": None,  # in the study's own stages.json
        },
        **read_figures(run / STUDY_PART),
        "environment": {"vicinal": read_json(run / "environment.json")["vicinal"]},
        "recipe": recipe.model_dump(mode="json"),
    }
    write_json(run / STUDY_PART / "explore.json", figures)


TEST_IMAGES = ExtraStage(
    "explore",
    tuple(
        f"{STUDY_PART}/{name}"
        for name in ("points.parquet", "health.json", "pictures/index.parquet", "explore.json")
    ),
    _explore,
)
"""The stage to give to `vicinal.study.run.run_study`, after which the report leads to the page."""
