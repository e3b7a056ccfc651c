"""S7 and S8 of a learner as plain data: what is near and far, and what is odd."""

from __future__ import annotations

from typing import Any

import numpy as np

from vicinal.evaluations.anomaly import detect
from vicinal.evaluations.retrieval import Retrieved, colour_gap, one_query_per_class, retrieve
from vicinal.recipe import Recipe
from vicinal.representations.representations import Representations
from vicinal.study.learners import Data
from vicinal.study.probes import needed

Figures = dict[str, Any]
TOP_CLASSES = 3


def retrieval(
    train: Representations,
    test: Representations,
    data: Data,
    recipe: Recipe,
    device: str = "cpu",
) -> Figures:
    """Nearest and farthest training images of test images.

    The figures are over all test images; one seeded image of each class is shown, the
    same for every learner.
    """
    k = recipe.evaluation.retrieved
    found = retrieve(test, train, k=k, shown=np.arange(len(test)), device=device)
    saturation, brightness = colour_gap(data.test.pixels, data.train.pixels[found.farthest.indices])
    return {
        "k": k,
        **_precision(found.nearest, train, test),
        "saturation_gap": saturation.value,
        "brightness_gap": brightness.value,
        "hubness": found.nearest.hubness.value,
        "hubness_farthest": found.farthest.hubness.value,
        "queries": [
            {
                "id": str(test.ids[query]),
                "label": _label(test, query),
                "nearest": _listed(found.nearest, query, train),
                "farthest": _listed(found.farthest, query, train),
            }
            for query in one_query_per_class(test, seed=recipe.seed).tolist()
        ],
    }


def _precision(found: Retrieved, train: Representations, test: Representations) -> Figures:
    """The share of the query's class, of all and of each; None and the reason without classes."""
    lacking = needed(train, test)
    if lacking is not None or found.precision is None or found.precision_per_class is None:
        return {"precision_at_k": None, "per_class": None, "needs": lacking}
    return {
        "precision_at_k": found.precision.value,
        "per_class": found.precision_per_class.tolist(),
    }


def anomalies(
    train: Representations,
    test: Representations,
    anomalous: Representations,
    recipe: Recipe,
    device: str = "cpu",
) -> Figures:
    """How well the distance to the nearest training images tells anomalies from test images."""
    settings = recipe.evaluation
    found = detect(
        train,
        test,
        anomalous,
        k=settings.anomaly_neighbours,
        most=settings.most_anomalous,
        bootstrap=settings.bootstrap,
        seed=recipe.seed,
        device=device,
    )
    oddest = found.most
    return {
        "auroc": found.auroc.value,
        "interval": found.auroc.interval,
        "fpr95": found.fpr95.value,
        "aupr": found.aupr.value,
        "aupr_normal": found.aupr_normal.value,
        "roc": {
            "fpr": found.false_positive_rate.tolist(),
            "tpr": found.true_positive_rate.tolist(),
        },
        "most_anomalous": [
            {
                "id": str(oddest.ids[i]),
                "score": float(oddest.scores[i]),
                "class": oddest.classes[i],
                "anomaly": bool(oddest.anomalous[i]),
            }
            for i in range(len(oddest.ids))
        ],
        "class_scores": {one.class_name: one.mean for one in found.class_means},
        "top_classes": [one.class_name for one in found.class_means[:TOP_CLASSES]],
    }


def _listed(found: Retrieved, query: int, gallery: Representations) -> list[Figures]:
    return [
        {"id": str(name), "distance": float(distance), "label": _label(gallery, row)}
        for name, distance, row in zip(
            found.ids[query], found.distances[query], found.indices[query], strict=True
        )
    ]


def _label(representations: Representations, row: int) -> int | None:
    return None if representations.labels is None else int(representations.labels[row])
