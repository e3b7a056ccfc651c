"""The last word on each picture and on all: ``points.parquet`` and ``health.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vicinal.evaluations.groups import reduced
from vicinal.evaluations.maps import lists
from vicinal.explore.health import health, hold_against_rivals
from vicinal.explore.reasons import appearance, odd_places, odd_shapes, reasons, unusual
from vicinal.explore.stage_results import (
    read_columns,
    read_figures,
    read_neighbours,
    stages_of,
)
from vicinal.files import write_json, write_parquet
from vicinal.representations.representations import Representations
from vicinal.runs.pictures import Pixels


def describe_pictures(
    run: Path,
    embeddings: Representations,
    pixels: Pixels,
    encoder: Path | None = None,
    *,
    worth: dict[str, Any] | None = None,
    advice: str | None = None,
    said: Sequence[str] | None = None,
) -> None:
    """Writes ``points.parquet``, with why each picture is odd, and ``health.json``.

    Args:
        run: The folder in which the columns of the stages are.
        embeddings: The pictures.
        pixels: (N, H, W, C) uint8, in the same order.
        encoder: The encoder's file, to be held against its rivals; None where there is none.
        worth: As in `vicinal.explore.health.health`.
        advice: As in `vicinal.explore.health.health`.
        said: Why each picture is odd, instead of what its looks say.
    """
    found, maps = read_columns(run, "compare"), read_columns(run, "map")
    group = found.column("group").to_numpy()
    if said is None:
        p_values = np.round(found.column("p_value").to_numpy().astype(np.float64), 7)
        sizes = np.bincount(group[group >= 0], minlength=1)
        copies = np.where(group >= 0, sizes[group] - 1, 0)
        more = [
            " ".join(filter(None, both))
            for both in zip(
                odd_shapes(embeddings.sizes, len(embeddings)),
                _odd_places(run, len(embeddings)),
                strict=True,
            )
        ]
        looks = unusual(appearance(pixels))
        said = reasons(found.column("score").to_numpy(), p_values, looks, copies, more)
    compared = embeddings.as_compared()
    _write_points(run, compared, said)
    shown = "pca" if maps.column("tsne_trust").null_count else "tsne"
    trust = maps.column(f"{shown}_trust").to_numpy()
    near = read_neighbours(run).indices.astype(np.int32)
    rivals = None if encoder is None else hold_against_rivals(pixels, encoder, embeddings.labels)
    card = health(compared.array, near, group, trust, rivals, worth, advice)
    write_json(run / "health.json", card)


def _odd_places(run: Path, count: int) -> list[str]:
    """What is said of each picture's oddest place, where the run found that places tell much."""
    tried = read_figures(run).get("places")
    if not tried or not tried["tells"]:
        return [""] * count
    table = read_columns(run, "places")
    places = np.stack([table.column(f"place_{axis}").to_numpy() for axis in "xy"], axis=1)
    return odd_places(table.column("place_score").to_numpy(), places)


def _write_points(run: Path, embeddings: Representations, said: Sequence[str]) -> None:
    """Joins all columns into ``points.parquet``; a row's number is the picture's permanent id."""
    none = pa.nulls(len(embeddings), pa.string())
    columns = dict.fromkeys(("id", "path", "label", "split"), none)
    columns |= embeddings.text_columns() | embeddings.size_columns()
    for stage in stages_of(run):
        table = read_columns(run, stage)
        columns |= dict(zip(table.column_names, table.columns, strict=True))
    columns["reason"] = pa.array(said, pa.string())
    write_parquet(run / "points.parquet", columns | _sketches(embeddings.array))


def _sketches(array: NDArray[np.float32]) -> dict[str, pa.Array]:
    """Each row (N, F) in its few directions of most variance, and the length of what is left.

    From two of them the page tells a distance: what is left is taken to be at right angles.
    """
    sketch = reduced(array, 0)
    centred = array - array.mean(axis=0, dtype=np.float64)
    squares = np.square(centred).sum(axis=1) - np.square(sketch, dtype=np.float64).sum(axis=1)
    rest = np.sqrt(np.maximum(squares, 0)).astype(np.float32)
    return {"sketch": lists(sketch), "rest": pa.array(rest)}
