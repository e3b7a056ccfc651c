"""What all stages found, told: a row a picture, the health card, and the set in a few words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vicinal.explore.health import health
from vicinal.explore.looks import looks, unusual
from vicinal.explore.points import read_part, rows_of, write_points
from vicinal.explore.reasons import reasons
from vicinal.explore.rivals import hold_against_rivals
from vicinal.explore.shapes import odd_shapes
from vicinal.files import write_json
from vicinal.images import ImageSet
from vicinal.representations.embeddings import Embeddings
from vicinal.study.pictures import Pixels
from vicinal.verbs.anomalies import rank_within

WITH_COLUMNS = ("compare", "map", "group")
"""Stages that give every picture columns."""


def describe(
    run: Path, everything: Embeddings, pixels: Pixels, rate: float, encoder: Path | None
) -> None:
    """Writes ``points.parquet``, with why each picture is odd, and ``health.json``.

    Args:
        run: The folder in which the parts of `WITH_COLUMNS` are.
        everything: The pictures.
        pixels: (N, H, W, C) uint8, in the same order.
        rate: The share of the pictures that may be flagged as odd.
        encoder: The encoder's file, to be held against its rivals; None where there is none.
    """
    compared = read_part(run, "compare")
    ranked = rank_within(compared.column("score").to_numpy(), false_alarms=rate)
    group = compared.column("group").to_numpy()
    sizes = np.bincount(group[group >= 0], minlength=1)
    copies = np.where(group >= 0, sizes[group] - 1, 0)
    shapes = odd_shapes(everything.sizes, len(everything))
    why = reasons(ranked, unusual(looks(pixels)), copies, shapes)
    write_points(run, everything, why, WITH_COLUMNS)
    maps = read_part(run, "map")
    name = "pca" if maps.column("tsne_trust").null_count else "tsne"
    trust = maps.column(f"{name}_trust").to_numpy()
    near = rows_of(compared.column("neighbors"))
    rivals = None if encoder is None else hold_against_rivals(pixels, encoder)
    write_json(run / "health.json", health(everything.array, near, group, trust, rivals))


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
