"""What a run folder holds, read for the report: files to plain data and arrays."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.files import read_rows

LEARNERS = ("generated", "no-variance", "mined")
Curves = dict[str, dict[str, list[float | None]]]
"""A learner's loss curves: split ("train" or "test") to column to its numbers."""
NONE = -1
"""Stands for a missing label or cluster."""


@dataclass(frozen=True, eq=False)
class Points:
    """The points of one map.

    Attributes:
        ids: The N images' ids.
        x: Array (N,) float32.
        y: Array (N,) float32.
        label: Array (N,) int64 of class numbers, -1 where there is none; None without labels.
        cluster: Array (N,) int64 of cluster numbers; None on a map without clusters.
    """

    ids: list[str]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    label: NDArray[np.int64] | None
    cluster: NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class RunFolder:
    """Everything the report is drawn from, except the pictures."""

    results: dict[str, Any]
    recipe: str
    environment: dict[str, Any]
    losses: dict[str, Curves]
    maps: dict[str, Points]


def read_run(folder: Path) -> RunFolder:
    """Reads a run folder; only ``results.json`` must be there.

    Raises:
        InputError: If ``results.json`` is missing or not a study's.
    """
    path = folder / "results.json"
    if not path.is_file():
        raise InputError(f"{folder}: no results.json here; give the folder of a finished study")
    results = read_object(path)
    for part in ("data", "systems"):
        if not isinstance(results.get(part), dict):
            raise InputError(f"{path}: no {part!r} in it; is it the results of a study?")
    recipe = folder / "recipe.toml"
    environment = folder / "environment.json"
    stored = read_object(environment) if environment.is_file() else {}
    return RunFolder(
        results=results,
        recipe=recipe.read_text("utf-8") if recipe.is_file() else _as_text(results.get("recipe")),
        environment={**(results.get("environment") or {}), **stored},
        losses={
            name: _read_losses(folder / name / "losses.csv")
            for name in LEARNERS
            if (folder / name / "losses.csv").is_file()
        },
        maps={file.stem: _read_points(file) for file in sorted(folder.glob("maps/*.parquet"))},
    )


def dig(data: Any, path: str) -> Any:
    """The value at a dotted path, or None where any part of it is missing."""
    for part in path.split("."):
        data = data.get(part) if isinstance(data, Mapping) else None
    return data


def class_names(folder: RunFolder) -> list[str]:
    """The class names; numbers where labels have no name."""
    names = [str(name) for name in folder.results["data"].get("classes") or []]
    highest = max(
        (int(p.label.max()) for p in folder.maps.values() if p.label is not None), default=-1
    )
    for system in ("S3", "S4", "S5", "S6"):
        highest = max(highest, len(dig(folder.results["systems"], f"{system}.per_class") or ()) - 1)
    return names + [str(number) for number in range(len(names), highest + 1)]


def labels_by_id(folder: RunFolder) -> dict[str, int]:
    """The class of each image that is on a map."""
    found: dict[str, int] = {}
    for points in folder.maps.values():
        if points.label is not None:
            found |= {
                n: v for n, v in zip(points.ids, points.label.tolist(), strict=True) if v != NONE
            }
    return found


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; NaN and infinity become None.

    Raises:
        InputError: If the file cannot be read as one.
    """
    try:
        # NaN and infinities are no JSON: the page shows them as missing.
        data = json.loads(path.read_text("utf-8"), parse_constant=lambda _: None)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: must hold a JSON object")
    return data


def _as_text(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) if data else ""


def _read_losses(path: Path) -> Curves:
    """Columns by split, in the order of the epochs; what is not a number becomes None."""
    curves: Curves = {}
    for row in read_rows(path):
        columns = curves.setdefault(row.pop("split", "train"), {})
        for name, text in row.items():
            columns.setdefault(name, []).append(_number(text))
    return curves


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _read_points(path: Path) -> Points:
    table = pq.read_table(path)
    return Points(
        ids=[str(name) for name in table.column("id").to_pylist()],
        x=_finite(table.column("x")),
        y=_finite(table.column("y")),
        label=_integers(table, "label"),
        cluster=_integers(table, "cluster"),
    )


def _finite(column: pa.ChunkedArray) -> NDArray[np.float32]:
    array = np.asarray(column.to_numpy(), dtype=np.float32)
    return np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0)


def _integers(table: pa.Table, name: str) -> NDArray[np.int64] | None:
    """A nullable integer column; None where it is absent or wholly null."""
    if name not in table.column_names or table.column(name).null_count == len(table):
        return None
    return np.asarray(table.column(name).fill_null(NONE).to_numpy(), dtype=np.int64)
