"""S7 and S8 of a learner as plain data: what is near and far, and what is odd."""

from __future__ import annotations

from typing import Any

import numpy as np

from vicinal.evaluations.anomaly import detect
from vicinal.evaluations.retrieval import colour_gap, one_query_per_class, retrieve
from vicinal.recipe import Recipe
from vicinal.representations.representations import Representations
from vicinal.study.learners import Data

Figures = dict[str, Any]


def retrieval(train: Representations, test: Representations, data: Data, recipe: Recipe) -> Figures:
    """Nearest and farthest training images of test images.

    The figures are over all test images; the same seeded one of each class is shown
    for every learner.
    """
    k = recipe.evaluation.retrieved
    shown = one_query_per_class(test.labels, seed=recipe.seed, n=len(test))
    found = retrieve(test, train, k=k)
    gaps = colour_gap(data.test.pixels, data.train.pixels, found.farthest.indices)

    def listed(neighbours: Any, query: int) -> list[Figures]:
        return [
            {"id": str(train.ids[i]), "distance": float(distance), "label": _label(train, i)}
            for i, distance in zip(
                neighbours.indices[query], neighbours.distances[query], strict=True
            )
        ]

    return {
        "k": k,
        "precision_at_k": found.precision and found.precision.value,
        "per_class": None if found.per_class is None else found.per_class.tolist(),
        "saturation_gap": gaps["saturation"].value,
        "brightness_gap": gaps["brightness"].value,
        "queries": [
            {
                "id": str(test.ids[query]),
                "label": _label(test, query),
                "nearest": listed(found.nearest, query),
                "farthest": listed(found.farthest, query),
            }
            for query in shown
        ],
    }
