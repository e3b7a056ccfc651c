"""What each stage found, kept apart until all are through; then a row for each picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.evaluations.groups import reduced
from vicinal.evaluations.maps import lists
from vicinal.evaluations.own_view import read_kept
from vicinal.explore.health import health, hold_against_rivals
from vicinal.explore.reasons import looks, odd_shapes, reasons, unusual
from vicinal.explore.request import Request
from vicinal.files import read_json, read_rows, write_json, write_parquet
from vicinal.images import ImageSet, Part, Skipped, named
from vicinal.recipes.differences import ignored
from vicinal.recipes.recipe import Recipe
from vicinal.representations.neighbours import Neighbours
from vicinal.representations.representations import Representations
from vicinal.runs.pictures import Pixels
from vicinal.runs.run_folder import RunFolder

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
    write_parquet(table, columns)
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
    run: Path, embeddings: Representations, reasons: list[str], names: tuple[str, ...]
) -> None:
    """Joins all columns into ``points.parquet``; a row's number is the picture's permanent id."""
    none = pa.nulls(len(embeddings), pa.string())
    columns = dict.fromkeys(("id", "path", "label", "split"), none)
    columns |= embeddings.text_columns() | embeddings.size_columns()
    for name in names:
        table = read_part(run, name)
        columns |= dict(zip(table.column_names, table.columns, strict=True))
    columns["reason"] = pa.array(reasons, pa.string())
    columns |= _sketches(embeddings.array)
    write_parquet(run / "points.parquet", columns)


def _sketches(array: NDArray[np.float32]) -> dict[str, pa.Array]:
    """Each row (N, F) in its few directions of most variance, and the length of what is left.

    From two of them the page tells a distance: what is left is taken to be at right angles.
    """
    sketch = reduced(array, 0)
    centred = array - array.mean(axis=0, dtype=np.float64)
    squares = np.square(centred).sum(axis=1) - np.square(sketch, dtype=np.float64).sum(axis=1)
    rest = np.sqrt(np.maximum(squares, 0)).astype(np.float32)
    return {"sketch": lists(sketch), "rest": pa.array(rest)}


WITH_COLUMNS = ("compare", "map", "group", "labels")
"""Stages that give every picture columns."""


def describe(
    run: Path,
    everything: Representations,
    pixels: Pixels,
    encoder: Path | None,
    worth: dict[str, Any] | None = None,
) -> None:
    """Writes ``points.parquet``, with why each picture is odd, and ``health.json``.

    Args:
        run: The folder in which the parts of `WITH_COLUMNS` are.
        everything: The pictures.
        pixels: (N, H, W, C) uint8, in the same order.
        encoder: The encoder's file, to be held against its rivals; None where there is none.
        worth: As in `vicinal.explore.health.health`.
    """
    compared = read_part(run, "compare")
    scores = compared.column("score").to_numpy()
    p_values = np.round(compared.column("p_value").to_numpy().astype(np.float64), 7)
    group = compared.column("group").to_numpy()
    sizes = np.bincount(group[group >= 0], minlength=1)
    copies = np.where(group >= 0, sizes[group] - 1, 0)
    shapes = odd_shapes(everything.sizes, len(everything))
    why = reasons(scores, p_values, unusual(looks(pixels)), copies, shapes)
    write_points(run, everything, why, WITH_COLUMNS)
    maps = read_part(run, "map")
    name = "pca" if maps.column("tsne_trust").null_count else "tsne"
    trust = maps.column(f"{name}_trust").to_numpy()
    near = rows_of(compared.column("neighbors"))
    rivals = None if encoder is None else hold_against_rivals(pixels, encoder)
    write_json(run / "health.json", health(everything.array, near, group, trust, rivals, worth))


def described_data(
    images: ImageSet,
    everything: Representations,
    *,
    source: str,
    classes: Sequence[str],
    skipped: int,
) -> dict[str, Any]:
    """What ``explore.json`` says of the pictures.

    Args:
        images: Where they are from, for name, size and channels.
        everything: The pictures that are on the page.
        source: What the user named.
        classes: The classes, in the order in which they get their colours.
        skipped: How many pictures could not be used.
    """
    return {
        "source": source,
        "span": None if images.span is None else list(images.span),
        "name": images.name,
        "count": len(everything),
        "size": images.size,
        "channels": images.channels,
        "classes": list(classes),
        "labelled": everything.labelled_count,
        "skipped": skipped,
    }


def run_figures(
    folder: RunFolder,
    parts: tuple[Part, ...],
    everything: Representations,
    request: Request,
    recipe: Recipe | None,
) -> dict[str, Any]:
    """What ``explore.json`` says."""
    seconds = folder.seconds()
    data = described_data(
        parts[0].images,
        everything,
        source=named(request.data),
        classes=everything.classes(),
        skipped=len(skipped_in(parts)),
    )
    return {
        "format": 1,
        "data": data,
        "encoder": {
            "source": "trained here" if request.encoder is None else str(request.encoder),
            "recipe": None if recipe is None else recipe.name,
            "epochs": None if recipe is None else _epochs(folder.path),
            "minutes": request.limit,
            "seconds": seconds.get("train"),
            "ignores": None if recipe is None else list(ignored(recipe.views)),
            "kept": read_kept(folder.path),
        },
        **read_figures(folder.path, WITH_COLUMNS),
        "seconds": seconds,
        "environment": read_json(folder / "environment.json"),
        "recipe": None if recipe is None else recipe.model_dump(mode="json"),
    }


def skipped_in(parts: tuple[Part, ...]) -> tuple[Skipped, ...]:
    """Pictures of any part that cannot be used, each once."""
    return tuple(dict.fromkeys(one for part in parts for one in part.images.skipped))


def _epochs(run: Path) -> int:
    """Epochs of the training, a last one that its minutes cut short too."""
    return sum(row["split"] == "train" for row in read_rows(run / "losses.csv"))
