"""Labels that look wrong: contradicted by the nearest pictures and by a classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from vicinal.errors import InputError
from vicinal.evaluations.wrong_labels import doubt_labels
from vicinal.explore.stage_results import StageResult
from vicinal.representations.representations import Representations


def check_labels(embeddings: Representations, folder: Path) -> StageResult:
    """Columns of contradicted labels, and the figures ``labels``; writes ``doubtful.csv``.

    The columns are ``suggested``, ``confidence``, ``agree`` and ``doubt``, the place in the list
    from 0; null, NaN and −1 for pictures whose label is not contradicted. There are no columns,
    and ``labels`` is None, where there are no labels to judge.

    Args:
        embeddings: The pictures.
        folder: Where the file goes.
    """
    try:
        judged = doubt_labels(embeddings)
    except InputError:  # no labels, or too few of a class: then there is nothing to say
        return {}, {"labels": None}
    judged.save(folder / "doubtful.csv", embeddings)
    count = int(judged.contradicted.sum())
    rows = judged.rows[judged.contradicted]
    places, agree = np.full((2, len(embeddings)), -1, np.int32)
    confidence = np.full(len(embeddings), np.nan, np.float32)
    suggested = np.full(len(embeddings), None, object)
    places[rows] = np.arange(count)
    agree[rows] = judged.agreeing[judged.contradicted].sum(axis=1)
    confidence[rows] = judged.confidence[judged.contradicted]
    names = np.array(judged.class_names, object)
    suggested[rows] = names[judged.suggested[judged.contradicted]]
    columns = {
        "suggested": pa.array(suggested.tolist(), pa.string()),
        "confidence": pa.array(confidence),
        "agree": pa.array(agree),
        "doubt": pa.array(places),
    }
    figures = {
        "contradicted": count,
        "judged": len(judged.rows),
        "agreement": judged.accuracy.value,
        "neighbours": judged.neighbours.shape[1],
    }
    return columns, {"labels": figures}
