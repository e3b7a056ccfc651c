"""What all stages found, told: a row a picture, the health card, and the set in a few words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vicinal.explore.asked import Request
from vicinal.explore.health import health
from vicinal.explore.looks import looks, unusual
from vicinal.explore.points import read_figures, read_part, rows_of, write_points
from vicinal.explore.reasons import reasons
from vicinal.explore.rivals import hold_against_rivals
from vicinal.explore.shapes import odd_shapes
from vicinal.files import read_json, read_rows, write_json
from vicinal.images import ImageSet, Part, Skipped, named
from vicinal.images.classes import in_order
from vicinal.recipe import Recipe
from vicinal.recipes.differences import ignored
from vicinal.representations.embeddings import Embeddings
from vicinal.study.better import read_kept
from vicinal.study.folder import RunFolder
from vicinal.study.pictures import Pixels

WITH_COLUMNS = ("compare", "map", "group", "labels")
"""Stages that give every picture columns."""


def describe(
    run: Path,
    everything: Embeddings,
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
    everything: Embeddings,
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
    labels = everything.labels
    return {
        "source": source,
        "span": None if images.span is None else list(images.span),
        "name": images.name,
        "count": len(everything),
        "size": images.size,
        "channels": images.channels,
        "classes": list(classes),
        "labelled": 0 if labels is None else int((labels != "").sum()),
        "skipped": skipped,
    }


def run_figures(
    folder: RunFolder,
    parts: tuple[Part, ...],
    everything: Embeddings,
    request: Request,
    recipe: Recipe | None,
) -> dict[str, Any]:
    """What ``explore.json`` says."""
    labels = everything.labels
    seconds = folder.seconds()
    data = described_data(
        parts[0].images,
        everything,
        source=named(request.data),
        classes=[] if labels is None else in_order(set(labels.tolist()) - {""}),
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
