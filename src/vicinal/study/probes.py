"""The probes of a learner as plain data: both protocols, k-NN and few labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.evaluations.confusion import group_accuracy
from vicinal.evaluations.knn import knn_probe
from vicinal.evaluations.probe import converged_probe, few_label_probe
from vicinal.evaluations.short_probe import short_probe
from vicinal.recipe import Recipe
from vicinal.representations.representations import Representations
from vicinal.study.figures import CIFAR10, VEHICLES

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
