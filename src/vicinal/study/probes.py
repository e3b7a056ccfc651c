"""A learner's probes, neighbours and oddness, as plain data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.evaluations.anomalies import detect
from vicinal.evaluations.probe import (
    converged_probe,
    few_label_probe,
    group_accuracy,
    knn_probe,
    short_probe,
)
from vicinal.evaluations.retrieval import Retrieved, colour_gap, one_query_per_class, retrieve
from vicinal.recipes.recipe import Recipe
from vicinal.representations.representations import Representations
from vicinal.study.claims import CIFAR10, VEHICLES
from vicinal.study.learners import Data

Figures = dict[str, Any]


def probes(
    train: Representations, test: Representations, recipe: Recipe, device: str = "cpu"
) -> Figures:
    """The linear probe in both protocols; None and the reason where classes are missing."""
    lacking = needed(train, test)
    if lacking is not None:
        return {"probe_accuracy": None, "probe_accuracy_short": None, "needs": lacking}
    settings = recipe.evaluation
    converged = converged_probe(
        train, test, holdout=settings.probe_holdout, seed=recipe.seed, device=device
    )
    short = short_probe(
        train,
        test,
        epochs=settings.short_epochs,
        learning_rate=settings.short_learning_rate,
        batch_size=settings.short_batch_size,
        seed=recipe.seed,
        device=device,
    )
    return {
        "probe_accuracy": converged.accuracy.value,
        "probe_accuracy_short": short.accuracy.value,
        "interval": converged.accuracy.interval,
        "interval_short": short.accuracy.interval,
        "train_accuracy": converged.train_accuracy.value,
        "chance": converged.accuracy.chance,
        "regularisation": converged.regularisation,
        "per_class": converged.per_class.tolist(),
        "confusion": converged.confusion.tolist(),
    }


def needed(train: Representations, test: Representations) -> str | None:
    """What figures of classes lack that are learned on ``train`` and judged on ``test``.

    Returns:
        What a sentence that begins with "needs" ends with; None where nothing is lacking.
    """
    unlabelled = [
        part for part, images in (("training", train), ("test", test)) if images.labels is None
    ]
    if unlabelled:
        return "labels" if len(unlabelled) == 2 else f"labels of the {unlabelled[0]} images"
    return None if several_classes(train) else "two classes among the training images"


def several_classes(images: Representations) -> bool:
    """Whether there are labels of two classes or more, so that classes can be told apart."""
    return images.labels is not None and len(np.unique(images.labels)) > 1


def full_probe(
    train: Representations,
    test: Representations,
    recipe: Recipe,
    device: str = "cpu",
    *,
    brief: bool = False,
) -> Figures:
    """Both protocols, the k-NN probe and the few-label probe; ``brief`` leaves out details."""
    figures = probes(train, test, recipe, device)
    if figures["probe_accuracy"] is None:
        return figures | {"knn": None, "few_labels": None}
    settings = recipe.evaluation
    few = few_label_probe(train, test, per_class=settings.few_labels, seed=recipe.seed)
    neighbours = knn_probe(
        train, test, k=settings.knn, temperature=settings.knn_temperature, device=device
    )
    if brief:
        figures = {name: figures[name] for name in ("probe_accuracy", "probe_accuracy_short")}
    elif train.class_names == CIFAR10:
        figures["groups"] = _vehicles_and_animals(np.array(figures["confusion"]))
    return figures | {
        "knn": {str(result.k): result.accuracy.value for result in neighbours},
        "few_labels": {
            "per_class": settings.few_labels,
            "accuracy": few.value,
            "interval": few.interval,
        },
    }


def _vehicles_and_animals(confusion: NDArray[np.int64]) -> Figures:
    """CIFAR-10's two groups: accuracy, and confusion within the group and with the other.

    None for a group of which there is no test image.
    """
    vehicles = [CIFAR10.index(name) for name in VEHICLES]
    animals = [i for i in range(len(CIFAR10)) if i not in vehicles]
    figures: Figures = {}
    for name, classes in (("vehicles", vehicles), ("animals", animals)):
        shares: tuple[float | None, ...] = (None, None, None)
        if confusion[classes].any():
            (group,) = group_accuracy(confusion, [(name, classes)])
            shares = tuple(
                score.value
                for score in (group.accuracy, group.confused_within, group.confused_between)
            )
        figures[f"accuracy, {name}"] = shares[0]
        figures[f"confused within {name}"] = shares[1]
        figures[f"confused with the others, {name}"] = shares[2]
    return figures


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
