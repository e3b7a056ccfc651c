"""Labels that look wrong, for the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vicinal.errors import InputError
from vicinal.files import write_csv
from vicinal.representations.embeddings import Embeddings
from vicinal.verbs.labels import doubt_labels


def find_doubts(embeddings: Embeddings, folder: Path) -> tuple[dict[str, pa.Array], dict[str, Any]]:
    """Columns of labels that are contradicted, and what is said of all; writes ``doubtful.csv``.

    ``suggested``, ``confidence``, ``agree`` and ``doubt``, the place in the list from 0; null, NaN
    and −1 for pictures whose label is not contradicted. None where there are no labels to judge.

    Args:
        embeddings: The pictures.
        folder: Where the file goes.
    """
    try:
        found = doubt_labels(embeddings)
    except InputError:  # no labels, or too few of a class: then there is nothing to say
        return {}, {"labels": None}
    write_csv(folder / "doubtful.csv", found.header(embeddings), found.rows(embeddings))
    doubted = found.found
    count = found.contradicted
    rows = doubted.rows[doubted.contradicted]
    places, agree = np.full((2, len(embeddings)), -1, np.int32)
    confidence = np.full(len(embeddings), np.nan, np.float32)
    suggested = np.full(len(embeddings), None, object)
    places[rows] = np.arange(count)
    agree[rows] = doubted.agreeing[doubted.contradicted].sum(axis=1)
    confidence[rows] = doubted.confidence[doubted.contradicted]
    names = np.array(found.class_names, object)
    suggested[rows] = names[doubted.suggested[doubted.contradicted]]
    return {
        "suggested": pa.array(suggested.tolist(), pa.string()),
        "confidence": pa.array(confidence),
        "agree": pa.array(agree),
        "doubt": pa.array(places),
    }, {
        "labels": {
            "contradicted": count,
            "judged": len(doubted.rows),
            "agreement": doubted.accuracy.value,
            "neighbours": doubted.neighbours.shape[1],
        }
    }
