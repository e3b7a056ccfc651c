"""Systems S1 to S9 of the study as figures, measured two at a time where that is faster.

What is too long for a table (the points of the maps) goes into parquet files beside.
"""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.estimators.patches import PatchFeatures
from vicinal.evaluations.clusters import cluster
from vicinal.evaluations.collapse import CollapseResult, collapse
from vicinal.evaluations.maps import (
    centroids_on_map,
    class_agreement,
    pca_map,
    trustworthiness,
    tsne_map,
)
from vicinal.files import read_json, read_rows, write_json, write_parquet
from vicinal.objectives import OBJECTIVES
from vicinal.recipes.recipe import Evaluation, Recipe
from vicinal.representations.representations import Representations
from vicinal.runs.run_folder import RunFolder, note_threads, run_stage, say, tell
from vicinal.study.learners import Data, mined_neighbours, read_learned
from vicinal.study.probes import anomalies, full_probe, needed, probes, retrieval, several_classes
from vicinal.training.log import terms_in

Figures = dict[str, Any]

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
    def _settings(self) -> Evaluation:
        return self.recipe.evaluation

    def curves(self) -> Figures:
        """S1: the loss curves' ends, and which of them lie below where they began."""
        rows = self._losses("generated")
        ends, falls = {}, {}
        for split in ("train", "test"):
            mine = [row for row in rows if row["split"] == split]
            if not mine:
                continue
            ends[split] = {name: float(mine[-1][name]) for name in terms_in(mine[0])}
            falls[split] = {
                name: float(mine[-1][name]) < float(mine[0][name]) for name in terms_in(mine[0])
            }
        test = collapse(self._read("generated", "test").array)
        objective = OBJECTIVES[self.recipe.objective.name]
        return {
            "objective": {"title": objective.title, "says": objective.says},
            "rankme": test.rankme.value,
            "epochs": self.recipe.training.epochs,
            "images_per_second": float(
                np.median([float(r["images_per_second"]) for r in rows if r["split"] == "train"])
            ),
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
        figures = full_probe(*self._both("generated"), self.recipe, self.device)
        figures["baselines"] = {
            name: full_probe(*self._both(name), self.recipe, self.device, brief=True)
            for name in BASELINES
        }
        return figures

    def no_variance(self) -> Figures:
        """S4: what is left with nothing against collapse, beside S1's."""
        train, test = self._both("no-variance")
        pca = pca_map(self._sample(test).array, seed=self.recipe.seed)
        self._map("no-variance-pca", self._sample(test), pca.points)
        return {
            **probes(train, test, self.recipe, self.device),
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
            **probes(train, test, self.recipe, self.device),
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
            **probes(train, test, self.recipe, self.device),
            "class_agreement": tsne["class_agreement"],
            "search_recall": read_json(self.run / "spectral" / "search.json")["recall"],
        }

    def retrieval(self) -> Figures:
        """S7: nearest and farthest training images of test images, by S1 and by S5."""
        return {
            name: retrieval(*self._both(name), self.data, self.recipe, self.device)
            for name in ("generated", "mined")
        }

    def anomalies(self) -> Figures:
        """S8: the anomaly set against the test set, by S1, S5 and the baselines."""
        if self.data.anomalies is None:
            return {"skipped": "no anomaly set was given"}
        return {
            name: anomalies(
                *self._both(name),
                self._read(name, "anomalies"),
                self.recipe,
                self.device,
            )
            for name in ("generated", "mined", *BASELINES)
        }

    def clusters(self) -> Figures:
        """S9: k-means of the training representations of S1 and S5, with maps."""
        return {name: self._clusters(name) for name in ("generated", "mined")}

    def _clusters(self, learner: str) -> Figures:
        train = self._read(learner, "train")
        found = cluster(
            train.array,
            k=self._settings.clusters,
            seed=self.recipe.seed,
            labels=train.labels if several_classes(train) else None,
            silhouette_sample=self._settings.silhouette_sample,
            device=self.device,
        )
        kept = self._positions(len(train))
        sample, assignment = train.take(kept), found.assignment[kept]
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
        perplexity = self._settings.perplexity
        return tsne_map(
            shown.array, perplexity=perplexity, seed=self.recipe.seed, device=self.device
        )

    def _map(self, name: str, test: Representations, points: NDArray[np.float32]) -> Figures:
        """Writes a map, and says how well it keeps classes and neighbours together."""
        self._write_map(name, test, points)
        k = min(self._settings.map_neighbours, len(test) - 1)
        kept = trustworthiness(test.array, points, k=k, seed=self.recipe.seed).value
        figures: Figures = {"class_agreement": None, "trustworthiness": kept}
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
        return np.sort(shuffled[: self._settings.map_images])

    def _losses(self, learner: str) -> list[dict[str, str]]:
        return read_rows(self.run / learner / "losses.csv")


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


# A system is small products, Python and large products by turns, so two threads are busy for part
# of its time; `benchmarks/side_by_side.py` has what two processes gain.
AT_ONCE = 2
PAYS = 10_000
"""Training images, the fewest measured to be faster; a process takes seconds to begin."""
SETS = 16
"""Largest sets of representations that memory must hold: the study of CIFAR-10 needed 9.5 GB, most
of it for raw pixels, 0.6 GB of them, standardised and rotated in both processes at once."""
LONGEST_FIRST = ("S3", "S8", "S5", "S9", "S7", "S4", "S2", "S6", "S1")
"""So that no process is left with a long one at the end."""


def measure_all(measure: Measure) -> None:
    """Leaves each system's figures as ``S1.json`` … in the run folder, unless they are there.

    Large sets are measured by processes side by side where there are cores and memory for them.
    On a GPU systems are measured in turn, as all would wait for the one device.

    Raises:
        InputError: If a file cannot be written.
    """
    if _worth_it(measure):
        _side_by_side(measure, [name for name in LONGEST_FIRST if _due(measure.run, name)])
    for name in SYSTEMS:
        run_stage(
            measure.run,
            _stage(name),
            _makes(measure.run, name),
            lambda: write_json(_figures(measure.run, name), SYSTEMS[name](measure)),  # noqa: B023 — called at once
        )


def _worth_it(measure: Measure) -> bool:
    """Whether two processes have cores and memory, and enough to do."""
    train = measure.data.train
    if measure.device != "cpu" or cores.most() < AT_ONCE or len(train) < PAYS:
        return False
    widest = max(
        measure.recipe.encoder.dimension,
        train.size**2 * train.channels,
        8 * PatchFeatures().n_filters,
    )
    return _memory() >= SETS * len(train) * widest * np.dtype(np.float32).itemsize


def _memory() -> int:
    """Bytes of memory of this machine; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def in_order(seconds: Mapping[str, float]) -> dict[str, float]:
    """The seconds of a run's stages, the systems' from S1 on, whichever ended first."""
    systems = iter([_stage(name) for name in SYSTEMS if _stage(name) in seconds])
    measured = {_stage(name) for name in SYSTEMS}
    names = [next(systems) if name in measured else name for name in seconds]
    return {name: seconds[name] for name in names}


def _side_by_side(measure: Measure, names: Sequence[str]) -> None:
    """Measures systems in processes that share the cores; leaves undone what a killed one had."""
    if len(names) < AT_ONCE:
        return
    # Processes that joblib starts run no script of the user's again, guarded or not.
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    run = measure.run
    apart = Measure(RunFolder(run.path), measure.data, measure.recipe)  # the lock stays here
    # Where others keep the cores busy, two processes of one thread each still lose nothing: none
    # waits for another's slowest thread.
    threads = max(1, cores.look() // AT_ONCE)
    with parallel_config("loky", n_jobs=AT_ONCE, inner_max_num_threads=threads):
        pool = Parallel(batch_size=1, return_as="generator_unordered")
    began, took = time.perf_counter(), dict[str, float]()
    with _interruption_later():
        measured = pool(delayed(_measured)(apart, name, threads) for name in names)
    try:
        for name, figures, seconds in measured:
            write_json(_figures(run, name), figures)
            took[name] = seconds
            note_threads(run.path, _stage(name), threads)
            run.note(_stage(name), seconds)
            tell(run, _stage(name))
    except BrokenProcessPool:
        say("a measuring process was killed, perhaps for its memory; going on with one at a time")
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # that some were cancelled: the user hears of the reason
            measured.close()
        get_reusable_executor(reuse=True).shutdown(kill_workers=True)
        _share(run, took, time.perf_counter() - began)


@contextmanager
def _interruption_later() -> Iterator[None]:
    """Processes that begin inside never hear of Ctrl-C, with which a shell reaches all of them.

    Else one that is still importing would print a traceback. This process hears it afterwards, and
    ends them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _share(run: RunFolder, took: Mapping[str, float], seconds: float) -> None:
    """Notes for each system its part of the seconds that all took together.

    So the stages of a run add up to the time it took.
    """
    for name, own in took.items():
        run.note(_stage(name), own * seconds / sum(took.values()))


def _measured(measure: Measure, name: str, threads: int) -> tuple[str, Figures, float]:
    """A system's name, its figures, and the seconds it took on so many threads."""
    cores.set_threads(threads)
    began = time.perf_counter()
    return name, SYSTEMS[name](measure), time.perf_counter() - began


def _due(run: RunFolder, name: str) -> bool:
    return run.due(_stage(name), _makes(run, name))


def _stage(name: str) -> str:
    return f"measure {name}"


def _figures(run: RunFolder, name: str) -> Path:
    return run / f"{name}.json"


def _makes(run: RunFolder, name: str) -> list[Path]:
    maps = [run / "maps" / f"{drawn}.parquet" for drawn in MAPS.get(name, ())]
    return [_figures(run, name), *maps]
