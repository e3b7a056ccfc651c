"""What each stage found, kept in files of its own until ``points.parquet`` joins them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.files import read_json, write_json, write_parquet
from vicinal.representations.neighbours import Neighbours

StageResult = tuple[dict[str, pa.Array], dict[str, Any]]
"""A stage's columns by name, one value a picture, and its figures of the whole set."""
STAGES = ("compare", "map", "group", "labels", "places")
"""The stages that give every picture columns; the last of runs of `explore` alone."""
FOLDER = "parts"
"""The folder in a run that holds these stages' columns and figures."""


def stage_files(run: Path, stage: str) -> tuple[Path, Path]:
    """Where a stage's columns and figures are kept."""
    return run / FOLDER / f"{stage}.parquet", run / FOLDER / f"{stage}.json"


def write_stage(run: Path, stage: str, result: StageResult) -> None:
    """Keeps a stage's columns and figures."""
    columns, figures = stage_files(run, stage)
    columns.parent.mkdir(exist_ok=True)
    write_parquet(columns, result[0])
    write_json(figures, result[1])


def read_columns(run: Path, stage: str) -> pa.Table:
    """The columns that a stage found."""
    return pq.read_table(stage_files(run, stage)[0])


def stages_of(run: Path) -> list[str]:
    """Those of `STAGES` that a run has."""
    return [name for name in STAGES if name != STAGES[-1] or stage_files(run, name)[1].is_file()]


def read_figures(run: Path) -> dict[str, Any]:
    """The figures of all of a run's stages in one."""
    figures: dict[str, Any] = {}
    for stage in stages_of(run):
        figures |= read_json(stage_files(run, stage)[1])
    return figures


def read_neighbours(run: Path) -> Neighbours:
    """The nearest pictures that the stage ``compare`` found."""
    return neighbours_in(read_columns(run, "compare"), "neighbors", "distances")


def neighbours_in(table: pa.Table, rows: str, distances: str) -> Neighbours:
    """Two columns of N equally long lists, rows and distances, as `Neighbours`."""
    return Neighbours(_matrix(table.column(rows)).astype(np.int64), _matrix(table[distances]))


def _matrix(column: pa.ChunkedArray) -> NDArray[Any]:
    lists = column.combine_chunks()
    flat: NDArray[Any] = lists.flatten().to_numpy()
    return flat.reshape(len(lists), -1)
