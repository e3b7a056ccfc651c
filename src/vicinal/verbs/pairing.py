"""pairing: a set of embeddings and the index that was made of it, which must belong together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError, option
from vicinal.representations.embeddings import Embeddings, batches
from vicinal.representations.index import Index


def load_with(embeddings: Path, index: Path | None) -> tuple[Embeddings, Index | None]:
    """A set of embeddings and, where one is named, the index of it, row for row.

    With an index only ids, paths and labels of the set are read, in the order of the index, whose
    memory-mapped vectors are then the representations.

    Raises:
        InputError: If a file cannot be read or the two do not belong together.
    """
    if index is None:
        return Embeddings.load(embeddings), None
    opened = Index.open(index)
    known = Embeddings.load(embeddings, vectors=False)
    made_by = known.origin.get("encoder_sha256")
    if made_by != opened.description["encoder_sha256"]:
        raise InputError(
            f"{option('index', index)}: made with another encoder than {embeddings}; build one "
            "of that file"
        )
    order = np.argsort(known.ids, kind="stable")
    place = np.searchsorted(known.ids, opened.ids, sorter=order)
    rows = order[np.minimum(place, len(order) - 1)]
    if len(known) != len(opened) or not (known.ids[rows] == opened.ids).all():
        raise InputError(
            f"{option('index', index)}: holds {len(opened):,} images and {embeddings} "
            f"{len(known):,}, not "
            f"the same ones; build one of that file, or add what is missing with {option('add')}"
        )
    ids, array = next(batches(embeddings, rows=64))
    if array.shape[1] != opened.vectors.shape[1]:
        raise InputError(
            f"{option('index', index)}: rows of {opened.vectors.shape[1]} numbers, and "
            f"{array.shape[1]} in "
            f"{embeddings}; build one of that file"
        )
    first = np.flatnonzero(np.isin(opened.ids, ids))
    mine = dict(zip(ids.tolist(), array, strict=True))
    if any((opened.vectors[row] != mine[str(opened.ids[row])]).any() for row in first):
        raise InputError(
            f"{option('index', index)}: other representations than those in {embeddings}, under "
            "the same "
            "ids; build one of that file"
        )
    return replace(
        known,
        array=opened.vectors,
        ids=opened.ids,
        paths=_in_order(known.paths, rows),
        labels=_in_order(known.labels, rows),
        splits=_in_order(known.splits, rows),
    ), opened


def _in_order(column: NDArray[np.str_] | None, rows: NDArray[np.int64]) -> NDArray[np.str_] | None:
    """A column (N,), if there is one, in the order of ``rows`` (N,)."""
    return None if column is None else column[rows]
