"""What each stage found, kept apart until all are through, then one row a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.files import read_json, replacing, write_json
from vicinal.representations.embeddings import Embeddings, size_columns
from vicinal.representations.neighbours import Neighbours
from vicinal.representations.tree import reduced
from vicinal.verbs.map import lists

PARTS = "parts"
"""The folder in a run that holds the stages' columns and figures."""


Found = tuple[dict[str, pa.Array], dict[str, Any]]
"""A stage's columns by name, one value a picture, and its figures of the whole set."""


def part_files(run: Path, name: str) -> tuple[Path, Path]:
    """Where a stage's columns and figures are kept."""
    return run / PARTS / f"{name}.parquet", run / PARTS / f"{name}.json"


def write_part(run: Path, name: str, found: Found) -> None:
    """Keeps a stage's columns and figures."""
    columns, figures = found
    table, plain = part_files(run, name)
    table.parent.mkdir(exist_ok=True)
    with replacing(table) as partial:
        pq.write_table(pa.table(columns), partial)
    write_json(plain, figures)


def read_part(run: Path, name: str) -> pa.Table:
    """The columns that a stage found."""
    return pq.read_table(part_files(run, name)[0])


def read_figures(run: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """The figures of several stages in one."""
    figures: dict[str, Any] = {}
    for name in names:
        figures |= read_json(part_files(run, name)[1])
    return figures


def rows_of(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column of N equally long lists as an array (N, K)."""
    lists = column.combine_chunks()
    flat: NDArray[Any] = lists.flatten().to_numpy()
    return flat.reshape(len(lists), -1)


def neighbours_of(table: pa.Table) -> Neighbours:
    """The nearest pictures that the comparison found."""
    indices = rows_of(table.column("neighbors")).astype(np.int64)
    return Neighbours(indices, rows_of(table.column("distances")))


def write_points(
    run: Path, embeddings: Embeddings, reasons: list[str], names: tuple[str, ...]
) -> None:
    """Joins all columns into ``points.parquet``; a row's number is the picture's permanent id."""
    known = {
        "id": embeddings.ids,
        "path": embeddings.paths,
        "label": embeddings.labels,
        "split": embeddings.splits,
    }
    columns = {
        name: pa.nulls(len(embeddings), pa.string())
        if texts is None
        else pa.array([text or None for text in texts.tolist()], pa.string())
        for name, texts in known.items()
    }
    columns |= size_columns(embeddings.sizes)
    for name in names:
        table = read_part(run, name)
        columns |= dict(zip(table.column_names, table.columns, strict=True))
    columns["reason"] = pa.array(reasons, pa.string())
    columns |= _sketches(embeddings.array)
    with replacing(run / "points.parquet") as partial:
        pq.write_table(pa.table(columns), partial)


def _sketches(array: NDArray[np.float32]) -> dict[str, pa.Array]:
    """Each row (N, F) in its few directions of most variance, and the length of what is left.

    From two of them the page tells a distance: what is left is taken to be at right angles.
    """
    sketch = reduced(array, 0)
    centred = array - array.mean(axis=0, dtype=np.float64)
    squares = np.square(centred).sum(axis=1) - np.square(sketch, dtype=np.float64).sum(axis=1)
    rest = np.sqrt(np.maximum(squares, 0)).astype(np.float32)
    return {"sketch": lists(sketch), "rest": pa.array(rest)}
