"""What a run folder of ``explore`` holds, checked before anything is drawn from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.errors import InputError, option
from vicinal.report.run_folder import read_object
from vicinal.report.tiles import Pictures, read_pictures

FORMAT = 1
"""The format of ``explore.json`` that the page reads."""
STUDY_PART = "explore"
"""The folder in a run of ``study`` that holds what ``explore`` leaves in its own."""
TEXTS = ("id", "path", "label", "split", "reason")
NUMBERS = ("cluster", "score", "p_value", "rank", "flagged", "group", "pca_x", "pca_y")
LISTS = ("neighbors", "distances", "farthest", "far_distances")


@dataclass(frozen=True, eq=False)
class ExploreRun:
    """The files of one run of ``explore``, or of a study's part that is like one.

    Attributes:
        folder: The folder that they lie in.
        figures: ``explore.json``.
        health: ``health.json``, empty where there is none.
        points: ``points.parquet``; a row's number is the picture's permanent id.
        group_spans: Array (G, 2) float32, the least and the largest distance of a stored pair in
            each duplicate group.
        pictures: The thumbnails, found by ``str(row)``.
        notes: ``notes.csv``, selections that the page's user kept; empty where there is none.
    """

    folder: Path
    figures: dict[str, Any]
    health: dict[str, Any]
    points: pa.Table
    group_spans: NDArray[np.float32]
    pictures: Pictures
    notes: str = ""

    def __len__(self) -> int:
        return int(self.points.num_rows)


def explored_part(run: Path) -> Path | None:
    """Where a run's ``explore.json`` lies: in the folder itself, or a study's part of it."""
    places = (run, run / STUDY_PART)
    return next((place for place in places if (place / "explore.json").is_file()), None)


def read_explored(run: Path) -> ExploreRun:
    """Reads a run folder of ``explore`` or of ``study``.

    Raises:
        InputError: If ``explore.json`` or ``points.parquet`` is missing, damaged or of another
            kind.
    """
    folder = explored_part(run)
    if folder is None:
        raise InputError(
            f"{run}: no explore.json here; give the folder of a finished explore or study"
        )
    path = folder / "explore.json"
    figures = read_object(path)
    if figures.get("format") != FORMAT or not isinstance(figures.get("data"), dict):
        raise InputError(f"{path}: not of format {FORMAT}; run explore again with this version")
    points = _read_table(folder / "points.parquet")
    missing = [n for n in (*TEXTS, *NUMBERS, *LISTS) if n not in points.column_names]
    if missing or not points.num_rows:
        what = f"no column {missing[0]!r}" if missing else "no rows"
        raise InputError(f"{folder / 'points.parquet'}: {what} in it; run explore again")
    health, notes = folder / "health.json", folder / "notes.csv"
    return ExploreRun(
        folder=folder,
        figures=figures,
        health=read_object(health) if health.is_file() else {},
        points=points,
        group_spans=_group_spans(folder / "duplicates.parquet", points),
        pictures=read_pictures(folder / "pictures"),
        notes=notes.read_text("utf-8", "replace") if notes.is_file() else "",
    )


def _read_table(path: Path) -> pa.Table:
    if not path.is_file():
        raise InputError(f"{path}: missing; run explore again with {option('resume', True)}")
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as parquet: {reason}") from None


def _group_spans(path: Path, points: pa.Table) -> NDArray[np.float32]:
    highest = int(np.max(points.column("group").to_numpy(), initial=-1))
    spans = np.full((highest + 1, 2), np.nan, np.float32)
    if not len(spans) or not path.is_file():
        return spans
    pairs = _read_table(path)
    group = np.asarray(pairs.column("group").to_numpy())
    distance = np.asarray(pairs.column("distance").to_numpy(), np.float32)
    known = (group >= 0) & (group < len(spans))
    least, most = np.full(len(spans), np.inf), np.full(len(spans), -np.inf)
    np.minimum.at(least, group[known], distance[known])
    np.maximum.at(most, group[known], distance[known])
    found = most >= least
    spans[found] = np.stack([least, most], axis=1)[found]
    return spans
