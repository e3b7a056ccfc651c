"""What people do next with a folder: wrong labels, what to label first, whether two sets are alike.

python benchmarks/follow_up.py [labels] [select] [compare]

Wrong labels are held beside cleanlab's scores of the same probabilities, where it is installed.
Each table is computed once and kept beside the sets; remove ``follow-up-*.json`` there to measure
again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import kstest

from grouping_sets import CACHE, Represented, kept
from measuring import say, section, table, versions
from vicinal.errors import InputError
from vicinal.evaluations import two_sets
from vicinal.evaluations.groups import reduced
from vicinal.evaluations.label_probe import PENALTY
from vicinal.evaluations.selection import METHODS, select
from vicinal.evaluations.softmax import (
    Standard,
    answers,
    fit_softmax,
    principal_axes,
    standardisation,
)
from vicinal.evaluations.two_sets import new_images, two_sample
from vicinal.evaluations.wrong_labels import judged_by_classifier, wrong_labels
from vicinal.files import read_json, write_json

Labels = NDArray[np.int64]
Array = NDArray[np.float32]
CIFAR, CLIPART = "CIFAR-10 (JPEG copy)", "clip art"
SETS = (
    *(("digits", "pixels"), ("digits", "encoder"), ("MNIST", "patches")),
    *((CIFAR, "pretrained"), (CLIPART, "patches"), (CIFAR, "patches"), (CIFAR, "encoder")),
    *(("MNIST", "encoder"), (CLIPART, "encoder")),
)
DRAWS = 2  # of flips, each of two kinds
SEEDS = 10  # of divisions into a pool and a test part, and of draws
COUNTS = (50, 100, 200)
HALVES = 200  # random halves of one set
PAIRS = 20  # of two sets that differ
SIDE = 400  # pictures of each set that is compared


def of(name: str, representation: str) -> Represented | None:
    """A set without classes of fewer than 10, classes numbered from 0."""
    found = kept(name, representation)  # the pretrained network's of 5,000 too
    if found is None:
        return None
    array, labels = found
    counts = np.bincount(labels)[labels] >= 10
    return array[counts].astype(np.float32), np.unique(labels[counts], return_inverse=True)[1]


def flipped(array: Array, labels: Labels, kind: str, seed: int) -> tuple[Labels, NDArray[np.bool_]]:
    """Labels with 5 % flipped, and which: to any other class, or to the one of the nearest mean."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(labels))[: round(0.05 * len(labels))]
    classes = int(labels.max()) + 1
    given = labels.copy()
    if kind == "uniform":
        given[rows] = (labels[rows] + rng.integers(1, classes, len(rows))) % classes
    else:
        points = standardisation(array).apply(array)
        means = np.stack([points[labels == c].mean(axis=0) for c in range(classes)])
        apart = cdist(means, means)
        np.fill_diagonal(apart, np.inf)
        given[rows] = apart.argmin(axis=1)[labels[rows]]
    wrong = np.zeros(len(labels), np.bool_)
    wrong[rows] = True
    return given, wrong


def recall(order: Labels, wrong: NDArray[np.bool_]) -> float:
    """The share of the flips among the first 7.5 % listed."""
    return float(wrong[order[: round(0.075 * len(order))]].sum() / wrong.sum())


def doubted(array: Array, labels: Labels) -> dict[str, float]:
    """Recall of each way to rank, mean over draws, for each kind of flips; and the precision."""
    found: dict[str, list[float]] = {}
    for kind in ("uniform", "alike"):
        for seed in range(DRAWS):
            given, wrong = flipped(array, labels, kind, seed)
            began = time.process_time()
            ours = wrong_labels(array, given)
            seconds = time.process_time() - began
            said = {
                "ours": recall(ours.rows, wrong),
                "precision": float(wrong[ours.rows[ours.contradicted]].mean()),
                "seconds": seconds,
            }
            if find_spec("cleanlab"):
                from cleanlab.rank import get_label_quality_scores

                shares = judged_by_classifier(array, given, 0)
                for method in ("self_confidence", "normalized_margin"):
                    scores = get_label_quality_scores(given, shares, method=method)
                    said[f"cleanlab {method}"] = recall(np.argsort(scores, kind="stable"), wrong)
            for name, value in said.items():
                found.setdefault(f"{name}, {kind}", []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def accuracy(
    standard: Standard, pool: Array, classes: Labels, rows: Labels, test: Array, truth: Labels
) -> float:
    """Of the few-label probe that knows the labels of some rows of the pool."""
    names, targets = np.unique(classes[rows], return_inverse=True)
    if len(names) < 2:
        return float((truth == names[0]).mean())
    axes = principal_axes(standard, pool[rows])
    points = axes.rotate(standard, pool[rows])
    weights = fit_softmax(points, targets, axes.variances, PENALTY, tolerance=1e-4)
    given = names[answers(weights, axes.rotate(standard, test))]
    return float((given == truth).mean())


def selected(array: Array, labels: Labels) -> dict[str, float]:
    """Mean accuracy on a quarter by each method and number of labels, and how often it is best."""
    found: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(array))
        test, rows = order[: len(order) // 4], order[len(order) // 4 :]
        pool, classes = array[rows], labels[rows]
        standard, points = standardisation(pool), reduced(pool, seed)  # `select` finds these again
        for count in COUNTS:
            for method in METHODS:
                chosen = select(points, count, method=method, seed=seed).rows
                value = accuracy(standard, pool, classes, chosen, array[test], labels[test])
                found.setdefault(f"{method}, {count}", []).append(value)
    said = {name: float(np.mean(values)) for name, values in found.items()}
    for count in COUNTS:
        ours, drawn = (found[f"{name}, {count}"] for name in ("typical", "random"))
        said[f"wins, {count}"] = float(np.mean(np.array(ours) > np.array(drawn)))
    return said


def energy(points: Array) -> NDArray[np.float64]:
    """The kernel of the energy distance (Székely and Rizzo 2004)."""
    return -cdist(points.astype(np.float64), points.astype(np.float64))


def compared(array: Array, labels: Labels) -> dict[str, float]:
    """P-values of halves of one set, and how often a set with a class that A lacks is noticed."""
    rng = np.random.default_rng(0)
    halves = []
    for seed in range(HALVES):
        order = rng.permutation(len(array))[: 2 * SIDE]
        one, other = array[order[:SIDE]], array[order[SIDE:]]
        halves.append(two_sample(one, other, permutations=199, seed=seed).p_value)
    said = {
        "uniform": float(kstest(halves, "uniform").pvalue),
        "at most .05": float(np.mean(np.array(halves) <= 0.05)),
    }
    gaussian = two_sets._kernel
    for share in (0.02, 0.05, 0.1, 0.2):
        for name, kernel in {"MMD": gaussian, "energy": energy}.items():
            two_sets._kernel = kernel
            found, caught, alarms = [], [], []
            for seed in range(PAIRS):
                one, other, new = lacking(labels, share, seed)
                test = two_sample(array[one], array[other], permutations=199, seed=seed)
                found.append(test.p_value <= 0.05)
                flagged = new_images(array[other], array[one]).p_values <= 0.01
                caught.append(flagged[new].mean())
                alarms.append(flagged[~new].mean())
            said[f"{name}, {share}"] = float(np.mean(found))
        two_sets._kernel = gaussian
        said[f"caught, {share}"] = float(np.mean(caught))
        said[f"alarms, {share}"] = float(np.mean(alarms))
    return said


def lacking(labels: Labels, share: float, seed: int) -> tuple[Labels, Labels, NDArray[np.bool_]]:
    """Rows of A without a class, rows of B with a share of it, and which of B are of it."""
    rng = np.random.default_rng(seed)
    new = seed % (int(labels.max()) + 1)
    usual = rng.permutation(np.flatnonzero(labels != new))
    extra = rng.permutation(np.flatnonzero(labels == new))[: round(share * SIDE)]
    other = np.concatenate([usual[SIDE : 2 * SIDE - len(extra)], extra])
    return usual[:SIDE], other, np.arange(len(other)) >= len(other) - len(extra)


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def labels_table(rows: dict[str, dict[str, float]]) -> str:
    ways = ("ours", "cleanlab self_confidence", "cleanlab normalized_margin")
    header = ["set, representation", *(f"{way}, {k}" for k in ("uniform", "alike") for way in ways)]
    return table(
        [*header, "of contradicted ones wrong", "s"],
        [
            [
                key,
                *(percent(row.get(f"{way}, {k}")) for k in ("uniform", "alike") for way in ways),
                f"{percent(row['precision, uniform'])} / {percent(row['precision, alike'])}",
                f"{row['seconds, uniform']:.0f}",
            ]
            for key, row in rows.items()
        ],
    )


def select_table(rows: dict[str, dict[str, float]]) -> str:
    header = [f"{count}: {name}" for count in COUNTS for name in (*METHODS, "typical wins")]
    lines = []
    for key, row in rows.items():
        cells = []
        for count in COUNTS:
            cells += [percent(row[f"{name}, {count}"]) for name in METHODS]
            cells.append(f"{row[f'wins, {count}'] * SEEDS:.0f} of {SEEDS}")
        lines.append([key, *cells])
    return table(["set, representation", *header], lines)


def compare_table(rows: dict[str, dict[str, float]]) -> str:
    shares = (0.02, 0.05, 0.1, 0.2)
    header = [f"noticed at {share:.0%}: MMD / energy" for share in shares]
    return table(
        ["set, representation", "halves: KS p", "p ≤ .05", *header, "flagged: new / others"],
        [
            [
                *(key, f"{row['uniform']:.2f}", percent(row["at most .05"])),
                *(f"{percent(row[f'MMD, {s}'])} / {percent(row[f'energy, {s}'])}" for s in shares),
                f"{percent(row['caught, 0.1'])} / {percent(row['alarms, 0.1'])}",
            ]
            for key, row in rows.items()
        ],
    )


TABLES: dict[str, tuple[Callable[..., dict[str, float]], Callable[..., str]]] = {
    "labels": (doubted, labels_table),
    "select": (selected, select_table),
    "compare": (compared, compare_table),
}


def measured(name: str) -> dict[str, dict[str, float]]:
    """A table's rows, from the file that keeps them or computed."""
    file = CACHE / f"follow-up-{name}.json"
    rows: dict[str, dict[str, float]] = read_json(file) if file.is_file() else {}
    for one in SETS:
        key = ", ".join(one)
        if key not in rows and (found := of(*one)) is not None:
            try:
                rows[key] = TABLES[name][0](*found)
            except InputError as error:
                say(f"left out, {key}: {error}")
                continue
            say(f"{name}, {key}: {rows[key]}")
            write_json(file, rows)
    return rows


def main(names: list[str]) -> None:
    """Prints the section."""
    tables = [TABLES[name][1](measured(name)) for name in names or TABLES]
    section(
        "What to do next with a folder",
        "Are wrong labels found, are the pictures to label first better than a draw, and is it "
        "noticed that two sets differ?",
        tables,
        [
            "Sets: all 1,797 digits, else the first 5,000 pictures at 32×32 (clip art: Debian's "
            "openclipart-png by category). Encoder: trained on them for 3 epochs (recipe laptop; "
            "digits: 10, recipe digits). Pretrained: EfficientNet-Lite0, pictures enlarged to 128.",
            "Wrong labels: 5 % of the labels flipped, to any class (uniform) or to the class of "
            f"the nearest mean (alike), {DRAWS} draws each; the share (%) of the flips among the "
            "first 7.5 % listed. cleanlab ranks by the same out-of-fold probabilities, ours by "
            "these and by neighbours. Precision (%) of what is called contradicted, uniform / "
            "alike. s: seconds of the processor.",
            "Label these first: accuracy (%) of the few-label probe on a quarter that nothing is "
            f"chosen from, mean of {SEEDS} divisions and draws; how often typical beats random.",
            f"Two sets of {SIDE} pictures: p-values of {HALVES} pairs of halves of one set "
            "(Kolmogorov–Smirnov against uniform; the share at most .05), and how often (%) p ≤ "
            f".05, of {PAIRS} pairs, where B has 2 to 20 % of a class that A lacks. Flagged (%): "
            "of that class and of the others, at a rate of 1 % and a share of 10 %.",
            versions("cleanlab", "scikit-learn"),
        ],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
