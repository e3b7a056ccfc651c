"""Figures of an encoder's representations, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.evaluations.anomalies import detect
from vicinal.evaluations.clusters import ClusterResult, cluster
from vicinal.evaluations.collapse import collapse
from vicinal.evaluations.probe import (
    converged_probe,
    few_label_probe,
    group_accuracy,
    knn_probe,
    short_probe,
)
from vicinal.evaluations.retrieval import Retrieved, colour_gap, one_query_per_class, retrieve
from vicinal.evaluations.score import Score
from vicinal.recipes.recipe import Recipe
from vicinal.representations.representations import Representations
from vicinal.study.data import Data
from vicinal.study.figures import CIFAR10, VEHICLES

Figures = dict[str, Any]

TOP_CLASSES = 3


@dataclass(frozen=True)
class Measures:
    """Measures representations by a recipe's numbers.

    Attributes:
        recipe: Every number.
        device: ``cpu`` or ``cuda``.
    """

    recipe: Recipe
    device: str = "cpu"

    def encoder(self, found: Mapping[str, Representations]) -> Figures:
        """An encoder's figures: probes, k-NN, RankMe, AUROC as S8 has it, silhouette as S9.

        Figures that need labels, or an anomaly set, are None without.

        Args:
            found: Representations of ``train``, ``test`` and, if there are any, ``anomalies``.
        """
        train, test = found["train"], found["test"]
        probed = self.probes(train, test)
        names = ("probe_accuracy", "interval", "probe_accuracy_short", "interval_short")
        knn = None
        if probed["probe_accuracy"]:
            knn = {k: _with_interval(score) for k, score in self.knn(train, test).items()}
        auroc = None
        if "anomalies" in found:
            odd = self.anomalies(train, test, found["anomalies"])
            auroc = {"value": odd["auroc"], "interval": odd["interval"]}
        return {
            **{name: probed.get(name) for name in names},
            "knn": knn,
            "rankme": collapse(test.array).rankme.value,
            "auroc": auroc,
            "silhouette": _with_interval(self.clusters(train).silhouette),
        }

    def probes(self, train: Representations, test: Representations) -> Figures:
        """The linear probe in both protocols; None and the reason where classes are missing."""
        lacking = needed(train, test)
        if lacking is not None:
            return {"probe_accuracy": None, "probe_accuracy_short": None, "needs": lacking}
        settings = self.recipe.evaluation
        how: dict[str, Any] = {"seed": self.recipe.seed, "device": self.device}
        converged = converged_probe(train, test, holdout=settings.probe_holdout, **how)
        short = short_probe(
            train,
            test,
            epochs=settings.short_epochs,
            learning_rate=settings.short_learning_rate,
            batch_size=settings.short_batch_size,
            **how,
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

    def knn(self, train: Representations, test: Representations) -> dict[str, Score]:
        """The accuracy of the k-NN probe for each k."""
        settings = self.recipe.evaluation
        results = knn_probe(
            train, test, k=settings.knn, temperature=settings.knn_temperature, device=self.device
        )
        return {str(result.k): result.accuracy for result in results}

    def full_probe(
        self, train: Representations, test: Representations, *, brief: bool = False
    ) -> Figures:
        """Both protocols, the k-NN probe and the few-label probe; ``brief`` leaves out details."""
        figures = self.probes(train, test)
        if figures["probe_accuracy"] is None:
            return figures | {"knn": None, "few_labels": None}
        per_class = self.recipe.evaluation.few_labels
        few = few_label_probe(train, test, per_class=per_class, seed=self.recipe.seed)
        if brief:
            figures = {name: figures[name] for name in ("probe_accuracy", "probe_accuracy_short")}
        elif train.class_names == CIFAR10:
            figures["groups"] = _vehicles_and_animals(np.array(figures["confusion"]))
        return figures | {
            "knn": {k: score.value for k, score in self.knn(train, test).items()},
            "few_labels": {"per_class": per_class, "accuracy": few.value, "interval": few.interval},
        }

    def retrieval(self, train: Representations, test: Representations, data: Data) -> Figures:
        """Nearest and farthest training images of test images.

        The figures are over all test images; one seeded image of each class is shown, the
        same for every learner.
        """
        k = self.recipe.evaluation.retrieved
        found = retrieve(test, train, k=k, shown=np.arange(len(test)), device=self.device)
        far = data.train.pixels[found.farthest.indices]
        saturation, brightness = colour_gap(data.test.pixels, far)
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
                    "nearest": _neighbours(found.nearest, query, train),
                    "farthest": _neighbours(found.farthest, query, train),
                }
                for query in one_query_per_class(test, seed=self.recipe.seed).tolist()
            ],
        }

    def anomalies(
        self, train: Representations, test: Representations, anomalous: Representations
    ) -> Figures:
        """How well the distance to the nearest training images separates anomalies from test."""
        settings = self.recipe.evaluation
        found = detect(
            train,
            test,
            anomalous,
            k=settings.anomaly_neighbours,
            most=settings.most_anomalous,
            bootstrap=settings.bootstrap,
            seed=self.recipe.seed,
            device=self.device,
        )
        most = found.most
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
                {"id": str(name), "score": float(score), "class": kind, "anomaly": bool(anomaly)}
                for name, score, kind, anomaly in zip(
                    most.ids, most.scores, most.classes, most.anomalous, strict=True
                )
            ],
            "class_scores": {one.class_name: one.mean for one in found.class_means},
            "top_classes": [one.class_name for one in found.class_means[:TOP_CLASSES]],
        }

    def clusters(
        self, train: Representations, labels: NDArray[np.int64] | None = None
    ) -> ClusterResult:
        """K-means of the recipe's number of clusters, held against ``labels`` if given."""
        settings = self.recipe.evaluation
        return cluster(
            train.array,
            k=settings.clusters,
            seed=self.recipe.seed,
            labels=labels,
            silhouette_sample=settings.silhouette_sample,
            device=self.device,
        )


def needed(train: Representations, test: Representations) -> str | None:
    """What figures of classes lack that are learned on ``train`` and judged on ``test``.

    Returns:
        What a sentence that begins with "needs" ends with; None where nothing is lacking.
    """
    parts = {"training": train, "test": test}
    unlabelled = [part for part, images in parts.items() if images.labels is None]
    if unlabelled:
        return "labels" if len(unlabelled) == 2 else f"labels of the {unlabelled[0]} images"
    return None if several_classes(train) else "two classes among the training images"


def several_classes(images: Representations) -> bool:
    """Whether there are labels of two classes or more, so that classes can be told apart."""
    return images.labels is not None and len(np.unique(images.labels)) > 1


def _vehicles_and_animals(confusion: NDArray[np.int64]) -> Figures:
    """CIFAR-10's two groups: accuracy, and confusion within the group and with the other.

    None for a group of which there is no test image.
    """
    vehicles = [CIFAR10.index(name) for name in VEHICLES]
    animals = [i for i in range(len(CIFAR10)) if i not in vehicles]
    figures: Figures = {}
    for name, classes in (("vehicles", vehicles), ("animals", animals)):
        group = None
        if confusion[classes].any():
            (group,) = group_accuracy(confusion, [(name, classes)])
        figures[f"accuracy, {name}"] = group and group.accuracy.value
        figures[f"confused within {name}"] = group and group.confused_within.value
        figures[f"confused with the others, {name}"] = group and group.confused_between.value
    return figures


def _precision(found: Retrieved, train: Representations, test: Representations) -> Figures:
    """The share of the query's class, of all and of each; None and the reason without classes."""
    lacking = needed(train, test)
    if lacking is not None or found.precision is None or found.precision_per_class is None:
        return {"precision_at_k": None, "per_class": None, "needs": lacking}
    return {
        "precision_at_k": found.precision.value,
        "per_class": found.precision_per_class.tolist(),
    }


def _neighbours(found: Retrieved, query: int, gallery: Representations) -> list[Figures]:
    return [
        {"id": str(name), "distance": float(distance), "label": _label(gallery, row)}
        for name, distance, row in zip(
            found.ids[query], found.distances[query], found.indices[query], strict=True
        )
    ]


def _label(representations: Representations, row: int) -> int | None:
    return None if representations.labels is None else int(representations.labels[row])


def _with_interval(score: Score) -> Figures:
    return {"value": score.value, "interval": score.interval}
