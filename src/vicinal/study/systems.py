"""Systems S1 to S9 of the study as figures.

What is too long for a table (the points of the maps) goes into parquet files beside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vicinal.evaluations.collapse import CollapseResult, collapse
from vicinal.evaluations.maps import (
    centroids_on_map,
    class_agreement,
    pca_map,
    trustworthiness,
    tsne_map,
)
from vicinal.files import read_json, read_rows, write_parquet
from vicinal.objectives import OBJECTIVES
from vicinal.recipes.recipe import Recipe
from vicinal.representations.representations import Representations
from vicinal.runs.run_folder import RunFolder
from vicinal.study.data import Data
from vicinal.study.learners import mined_neighbours, read_learned
from vicinal.study.measures import Figures, Measures, needed, several_classes
from vicinal.training.log import terms_in

BASELINES = ("pixels", "untrained", "patches")
"""What needs no training, beside which S3 and S8 are measured."""


@dataclass(frozen=True, eq=False)
class Measure:
    """Measures the systems from the representations that the learners left.

    Attributes:
        run: The run folder.
        data: The images.
        recipe: Every number.
        device: ``cpu`` or ``cuda``.
    """

    run: RunFolder
    data: Data
    recipe: Recipe
    device: str = "cpu"

    @property
    def _by(self) -> Measures:
        return Measures(self.recipe, self.device)

    def curves(self) -> Figures:
        """S1: the loss curves' ends, and which of them lie below where they began."""
        rows = read_rows(self.run / "generated" / "losses.csv")
        ends, falls = {}, {}
        for split in ("train", "test"):
            if mine := [row for row in rows if row["split"] == split]:
                first, last = (
                    {n: float(row[n]) for n in terms_in(row)} for row in (mine[0], mine[-1])
                )
                ends[split] = last
                falls[split] = {name: last[name] < first[name] for name in first}
        rates = [float(row["images_per_second"]) for row in rows if row["split"] == "train"]
        test = collapse(self._read("generated", "test").array)
        objective = OBJECTIVES[self.recipe.objective.name]
        return {
            "objective": {"title": objective.title, "says": objective.says},
            "rankme": test.rankme.value,
            "epochs": self.recipe.training.epochs,
            "images_per_second": float(np.median(rates)),
            "final": ends,
            "falls": falls,
            "curves_fall": all(fell for split in falls.values() for fell in split.values()),
        }

    def maps(self) -> Figures:
        """S2: PCA and t-SNE of the test representations."""
        test = self._sample(self._read("generated", "test"))
        pca = pca_map(test.array, seed=self.recipe.seed)
        figures = self._map("generated-pca", test, pca.points)
        return {
            "pca": figures | {"explained": [float(share) for share in pca.explained]},
            "tsne": self._tsne("generated-tsne", test),
        }

    def linear_probe(self) -> Figures:
        """S3: probes of S1, beside the same on what needs no training."""
        figures = self._by.full_probe(*self._both("generated"))
        figures["baselines"] = {
            name: self._by.full_probe(*self._both(name), brief=True) for name in BASELINES
        }
        return figures

    def no_variance(self) -> Figures:
        """S4: what is left with nothing against collapse, beside S1's."""
        train, test = self._both("no-variance")
        pca = pca_map(self._sample(test).array, seed=self.recipe.seed)
        self._map("no-variance-pca", self._sample(test), pca.points)
        return {
            **self._by.probes(train, test),
            **_collapse_figures(collapse(test.array)),
            "reference": _collapse_figures(collapse(self._read("generated", "test").array)),
        }

    def mined(self) -> Figures:
        """S5: the encoder of mined neighbours, and what was mined."""
        train, test = self._both("mined")
        found, recall = mined_neighbours(self._read("generated", "train"), self.recipe, self.device)
        shown = np.random.default_rng(self.recipe.seed).permutation(len(found))[:10]
        ids, labels = self.data.train.ids, self.data.train.labels
        other = None
        if labels is not None and several_classes(train):
            other = float(np.mean(labels[found] != labels[:, None]))
        return {
            **self._by.probes(train, test),
            "rankme": collapse(test.array).rankme.value,
            "mined_other_class": other,
            "search_recall": recall,
            "examples": [
                {"id": str(ids[i]), "neighbours": [str(ids[j]) for j in found[i]]} for i in shown
            ],
        }

    def spectral(self) -> Figures:
        """S6: Laplacian Eigenmaps, its map beside S1's."""
        train, test = self._both("spectral")
        tsne = self._tsne("spectral-tsne", self._sample(test))
        return {
            **self._by.probes(train, test),
            "class_agreement": tsne["class_agreement"],
            "search_recall": read_json(self.run / "spectral" / "search.json")["recall"],
        }

    def retrieval(self) -> Figures:
        """S7: nearest and farthest training images of test images, by S1 and by S5."""
        return {
            name: self._by.retrieval(*self._both(name), self.data)
            for name in ("generated", "mined")
        }

    def anomalies(self) -> Figures:
        """S8: the anomaly set against the test set, by S1, S5 and the baselines."""
        if self.data.anomalies is None:
            return {"skipped": "no anomaly set was given"}
        return {
            name: self._by.anomalies(*self._both(name), self._read(name, "anomalies"))
            for name in ("generated", "mined", *BASELINES)
        }

    def clusters(self) -> Figures:
        """S9: k-means of the training representations of S1 and S5, with maps."""
        return {name: self._clusters(name) for name in ("generated", "mined")}

    def _clusters(self, learner: str) -> Figures:
        train = self._read(learner, "train")
        found = self._by.clusters(train, train.labels if several_classes(train) else None)
        rows = self._positions(len(train))
        sample, assignment = train.take(rows), found.assignment[rows]
        lacking = needed(train, train)
        points = self._tsne_points(sample)
        self._write_map(f"clusters-{learner}", sample, points, assignment)
        agreement = {"nmi": found.nmi, "ari": found.ari, "matched_accuracy": found.matched_accuracy}
        return {
            "silhouette": found.silhouette.value,
            "silhouette_interval": found.silhouette.interval,
            **{name: score and score.value for name, score in agreement.items()},
            **({} if lacking is None else {"needs": lacking}),
            "centroids": [
                None if np.isnan(centre).any() else centre.tolist()
                for centre in centroids_on_map(points, assignment, k=len(found.centroids))
            ],
        }

    def tsne_map(self, name: str, test: Representations) -> None:
        """Leaves a t-SNE map of those of the test images that every map shows."""
        shown = self._sample(test)
        self._write_map(name, shown, self._tsne_points(shown))

    def _tsne(self, name: str, test: Representations) -> Figures:
        return self._map(name, test, self._tsne_points(test))

    def _tsne_points(self, shown: Representations) -> NDArray[np.float32]:
        perplexity = self.recipe.evaluation.perplexity
        return tsne_map(
            shown.array, perplexity=perplexity, seed=self.recipe.seed, device=self.device
        )

    def _map(self, name: str, test: Representations, points: NDArray[np.float32]) -> Figures:
        """Writes a map, and says how well it keeps classes and neighbours together."""
        self._write_map(name, test, points)
        k = min(self.recipe.evaluation.map_neighbours, len(test) - 1)
        trust = trustworthiness(test.array, points, k=k, seed=self.recipe.seed).value
        figures: Figures = {"class_agreement": None, "trustworthiness": trust}
        if test.labels is None:
            figures["needs"] = "labels"
        elif several_classes(test):
            figures["class_agreement"] = class_agreement(points, test.labels, k=k).value
        else:
            figures["needs"] = "two classes among the test images"
        return figures

    def _write_map(
        self,
        name: str,
        shown: Representations,
        points: NDArray[np.float32],
        assignment: NDArray[np.int64] | None = None,
    ) -> None:
        columns = {"id": shown.ids.tolist(), "x": points[:, 0], "y": points[:, 1]}
        if shown.labels is not None:
            columns["label"] = shown.labels
        if assignment is not None:
            columns["cluster"] = assignment
        (self.run / "maps").mkdir(exist_ok=True)
        write_parquet(self.run / "maps" / f"{name}.parquet", columns)

    def _read(self, learner: str, part: str) -> Representations:
        return read_learned(self.run, self.data, learner, part)

    def _both(self, learner: str) -> tuple[Representations, Representations]:
        return self._read(learner, "train"), self._read(learner, "test")

    def _sample(self, representations: Representations) -> Representations:
        return representations.take(self._positions(len(representations)))

    def _positions(self, count: int) -> NDArray[np.int64]:
        """The same seeded draw for every map of a set, so that maps show the same images."""
        shuffled = np.random.default_rng(self.recipe.seed).permutation(count)
        return np.sort(shuffled[: self.recipe.evaluation.map_images])


SYSTEMS: dict[str, Callable[[Measure], Figures]] = {
    "S1": Measure.curves,
    "S2": Measure.maps,
    "S3": Measure.linear_probe,
    "S4": Measure.no_variance,
    "S5": Measure.mined,
    "S6": Measure.spectral,
    "S7": Measure.retrieval,
    "S8": Measure.anomalies,
    "S9": Measure.clusters,
}

MAPS = {
    "S2": ("generated-pca", "generated-tsne"),
    "S4": ("no-variance-pca",),
    "S6": ("spectral-tsne",),
    "S9": ("clusters-generated", "clusters-mined"),
}
"""The maps that a system draws, files of ``maps/``."""


def _collapse_figures(result: CollapseResult) -> Figures:
    return {
        "rankme": result.rankme.value,
        "top2_share": result.top2_share.value,
        "std_mean": result.std_mean.value,
        "std_min": result.std_min.value,
        "spectrum": [float(value) for value in result.spectrum],
    }
