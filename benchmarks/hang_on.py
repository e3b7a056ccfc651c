"""What a study's figures hang on: each measured again under other settings than the protocol names.

    python benchmarks/hang_on.py RUN

The study's author left some settings unsaid: the distance and the neighbours of S8, whether
representations were standardised for S8 and S9, and how long the probe of S3 and S4 was
trained. From a finished study's representations this tries each in turn, writes
``hang-on.json`` into the run folder, and prints the table that ``benchmarks/results.py`` puts
into docs/results.md. Nothing is trained but the probes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from again import measuring, studied
from vicinal.evaluations.anomalies import detect
from vicinal.evaluations.clusters import cluster
from vicinal.evaluations.probe import short_probe
from vicinal.evaluations.score import Score
from vicinal.files import write_json
from vicinal.representations.neighbours import unit_length
from vicinal.representations.representations import Representations
from vicinal.study.figures import STUDY as AUTHOR
from vicinal.study.figures import is_cifar10
from vicinal.study.learners import read_learned
from vicinal.study.systems import Measure

Array = NDArray[np.float32]
FILE = "hang-on.json"
EPOCHS = (10, 30, 100)
NEIGHBOURS = (1, 2, 5)
LEARNERS = {"generated": "S1", "mined": "S5", "no-variance": "S4"}
STUDY = {
    ("S3", "generated"): AUTHOR[("S3",)],
    ("S4", "no-variance"): AUTHOR[("S4",)],
    **{path: figure for path, figure in AUTHOR.items() if path[0] in ("S8", "S9")},
}


def standardised(train: Array) -> Callable[[Array], Array]:
    """Centres and scales every dimension by the training set's mean and deviation."""
    mean, std = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    spread = np.where(std > 0, std, 1)
    return lambda array: ((array - mean) / spread).astype(np.float32)


def forms(train: Array) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """The ways to compare representations: raw or standardised, by L2 or by cosine."""
    scaled = standardised(train)
    yield "raw, L2", lambda array: array
    yield "raw, cosine", unit_length
    yield "standardised, L2", scaled
    yield "standardised, cosine", lambda array: unit_length(scaled(array))


def anomaly_rows(measure: Measure, learner: str) -> Iterator[dict[str, Any]]:
    """S8 under every form and number of neighbours."""
    if measure.data.anomalies is None:
        return
    train, test, other = (read(measure, learner, part) for part in ("train", "test", "anomalies"))
    for name, form in forms(train.array):
        parts = [replace(part, array=form(part.array)) for part in (train, test, other)]
        for k in NEIGHBOURS:
            found = detect(*parts, k=k, seed=measure.recipe.seed)
            yield row("S8", learner, f"{name}, k = {k}", found.auroc)


def cluster_rows(measure: Measure, learner: str) -> Iterator[dict[str, Any]]:
    """S9 under every form."""
    settings = measure.recipe.evaluation
    train = read(measure, learner, "train")
    for name, form in forms(train.array):
        found = cluster(
            form(train.array),
            k=settings.clusters,
            seed=measure.recipe.seed,
            silhouette_sample=settings.silhouette_sample,
        )
        yield row("S9", learner, name, found.silhouette)


def probe_rows(measure: Measure, system: str, learner: str) -> Iterator[dict[str, Any]]:
    """S3 or S4 by the short probe, trained for longer and longer."""
    settings = measure.recipe.evaluation
    train, test = read(measure, learner, "train"), read(measure, learner, "test")
    if train.labels is None or test.labels is None:
        return
    for epochs in EPOCHS:
        found = short_probe(
            train,
            test,
            epochs=epochs,
            learning_rate=settings.short_learning_rate,
            batch_size=settings.short_batch_size,
            seed=measure.recipe.seed,
        )
        yield row(system, learner, f"short probe, {epochs} epochs", found.accuracy)


def read(measure: Measure, learner: str, part: str) -> Representations:
    return read_learned(measure.run, measure.data, learner, part)


def row(system: str, learner: str, setting: str, score: Score) -> dict[str, Any]:
    """A figure under a setting, as plain data, with the study's where the images are CIFAR-10."""
    return {
        "system": system,
        "learner": LEARNERS[learner],
        "setting": setting,
        "value": score.value,
        "interval": score.interval,
        "study": STUDY[system, learner],
    }


def table(found: list[dict[str, Any]], on_cifar: bool) -> str:
    """The rows as Markdown."""
    title = " the study |" if on_cifar else ""
    lines = [f"| system | of | setting | figure |{title}", "| --- | --- | --- | --- |"]
    lines[1] += " --- |" if on_cifar else ""
    for one in found:
        cells = [one["system"], one["learner"], one["setting"], f"{one['value']:.4f}"]
        if one["interval"]:
            low, high = one["interval"]
            cells[-1] += f" ({low:.4f} to {high:.4f})"
        cells += [f"{one['study']:.4f}"] if on_cifar else []
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("give the run folder of a finished study")
    run = Path(sys.argv[1])
    recipe, data = studied(run)
    with measuring(run, data, recipe) as measure:
        found = [
            *(one for learner in ("generated", "mined") for one in anomaly_rows(measure, learner)),
            *(one for learner in ("generated", "mined") for one in cluster_rows(measure, learner)),
            *probe_rows(measure, "S3", "generated"),
            *probe_rows(measure, "S4", "no-variance"),
        ]
    on_cifar = is_cifar10(data.train.class_names)
    write_json(run / FILE, {"on_cifar": on_cifar, "rows": found})
    print(table(found, on_cifar))


if __name__ == "__main__":
    main()
