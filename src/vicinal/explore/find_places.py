"""The stage that finds each picture's oddest place, and tries on marks whether that finds any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from vicinal.encoder.saved import load_encoder
from vicinal.evaluations.anomalies import NEAREST
from vicinal.evaluations.odd_places import (
    MARKED,
    OddPlaces,
    Places,
    fit_places,
    halves,
    marked,
)
from vicinal.evaluations.same_picture import made_small
from vicinal.explore.compare_pictures import all_small
from vicinal.explore.health import embedder
from vicinal.explore.stage_results import StageResult
from vicinal.files import write_csv
from vicinal.representations.neighbours import nearest
from vicinal.representations.representations import Representations
from vicinal.runs.pictures import Pixels

_LEAST = 20  # pictures; of fewer no place can be called odd
_TELLS = 0.6  # how often a marked picture must stand before one without, for places to tell much
_SAMPLE = 2_000  # pictures whose cells others are held against, at most


@dataclass(frozen=True, eq=False)
class EarlierPlaces:
    """What a finished run found.

    Attributes:
        origin: Array (N,) int64, each picture's row there, -1 for a new one.
        found: Its pictures' oddest places.
        tried: What its marks said.
    """

    origin: NDArray[np.int64]
    found: OddPlaces
    tried: dict[str, Any]


def find_places(
    embeddings: Representations,
    pixels: Pixels,
    compared: pa.Table,
    folder: Path,
    encoder: Path,
    *,
    earlier: EarlierPlaces | None = None,
) -> StageResult:
    """Columns of each picture's oddest place, and whether small marks are found by it.

    A picture is held against the pictures of the other half of the set, so never against itself or
    what is nearly the same. Writes ``places.csv``. Of too few pictures, or of one over and over,
    there are no columns.

    Args:
        embeddings: The pictures.
        pixels: (N, S, S, C) uint8, in the same order, of the encoder's size.
        compared: The columns of the stage ``compare``.
        folder: Where the file goes.
        encoder: The encoder's file, whose whole pictures are tried beside.
        earlier: What was found of some of them before, which stays.
    """
    count = len(embeddings)
    half = halves(count, compared.column("group").to_numpy())
    if count < _LEAST or half.all() or not half.any():
        return {}, {"places": None}
    if earlier is None:
        small = all_small(pixels)
        sample = small[_drawn(np.arange(count))]
        banks = [small[_drawn(np.flatnonzero(rows))] for rows in (half, ~half)]
        sides = fit_places(sample, banks, count)
        found = _of_halves(sides, small, half)
        scores = compared.column("score").to_numpy()
        tried = _tried(sides, half, found, pixels, embeddings, scores, encoder)
    else:
        found, tried = _with_new(earlier, pixels, half), earlier.tried
    order = np.argsort(-found.scores, kind="stable")
    header = ["rank", *embeddings.columns(), "score", "x", "y"]
    rows = (
        [rank, *embeddings.describe(row).values(), found.scores[row], *found.places[row].tolist()]
        for rank, row in enumerate(order.tolist(), 1)
    )
    write_csv(folder / "places.csv", header, rows)
    return {
        "place_score": pa.array(found.scores),
        "place_rank": pa.array(np.argsort(order).astype(np.int32) + 1),
        "place_x": pa.array(found.places[:, 0]),
        "place_y": pa.array(found.places[:, 1]),
    }, {"places": tried}


def _of_halves(sides: list[Places], small: NDArray[np.uint8], half: NDArray[np.bool_]) -> OddPlaces:
    """The oddest places of pictures, those of each half by what has the other half in its bank."""
    scores, places = np.empty(len(small), np.float32), np.empty((len(small), 2), np.float32)
    for side, own in zip(sides, (~half, half), strict=True):
        found = side.oddest(small[own])
        scores[own], places[own] = found.scores, found.places
    return OddPlaces(scores, places)


def _with_new(earlier: EarlierPlaces, pixels: Pixels, half: NDArray[np.bool_]) -> OddPlaces:
    """Old pictures as they were found, and new ones held against one half of the old ones."""
    old = earlier.origin >= 0
    scores, places = np.empty(len(old), np.float32), np.empty((len(old), 2), np.float32)
    rows = earlier.origin[old]
    scores[old], places[old] = earlier.found.scores[rows], earlier.found.places[rows]
    if not old.all():
        sample, bank, new = (
            made_small(np.stack([pixels[row] for row in chosen.tolist()]))
            for chosen in (_drawn(np.flatnonzero(old)), _bank(old, half), np.flatnonzero(~old))
        )
        (places_of_old,) = fit_places(sample, [bank], int(old.sum()))
        found = places_of_old.oddest(new)
        scores[~old], places[~old] = found.scores, found.places
    return OddPlaces(scores, places)


def _bank(old: NDArray[np.bool_], half: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows of old pictures, as many as a picture was held against before."""
    rows = np.flatnonzero(old & half)
    return _drawn(rows if len(rows) else np.flatnonzero(old))


def _drawn(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most `_SAMPLE` of the rows, in their order."""
    return np.sort(np.random.default_rng(0).permutation(rows)[:_SAMPLE])


def _tried(
    sides: list[Places],
    half: NDArray[np.bool_],
    found: OddPlaces,
    pixels: Pixels,
    embeddings: Representations,
    scores: NDArray[np.float32],
    encoder: Path,
) -> dict[str, Any]:
    """Whether pictures with a mark are odder than all others, by places and as wholes."""
    rows = np.random.default_rng(0).permutation(len(pixels))[: min(MARKED, len(pixels) // 4)]
    shown = marked(np.stack([pixels[row] for row in rows.tolist()]))
    others = np.ones(len(pixels), np.bool_)
    others[rows] = False
    by_place = _of_halves(sides, all_small(shown), half[rows]).scores
    array = embedder(*load_encoder(encoder), "cpu")(shown)
    # A picture with a mark is nearest to itself without, which is left out.
    near = nearest(array, embeddings.array, NEAREST + 1)
    apart = np.where(near.indices == rows[:, None], np.inf, near.distances)
    whole = np.sort(apart, axis=1)[:, :NEAREST].mean(axis=1)
    truth = np.repeat([0, 1], [int(others.sum()), len(rows)])

    def told(usual: NDArray[np.float32], odd: NDArray[np.floating[Any]]) -> float:
        return float(roc_auc_score(truth, np.concatenate([usual[others], odd])))

    reached = told(found.scores, by_place)
    return {
        "marked": len(rows),
        "auroc": reached,
        "auroc_whole": told(scores, whole),
        "tells": reached >= _TELLS,
    }
