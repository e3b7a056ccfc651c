"""Which level of a tree of groups to show first: rules beside the largest silhouette of k-means.

Labels judge and choose nothing. What each row needs is computed once and kept beside the sets, so
that an interrupted run goes on; remove ``grouping.json`` there to measure again.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import eigsh
from sklearn.metrics import (
    adjusted_mutual_info_score,
    calinski_harabasz_score,
    normalized_mutual_info_score,
    silhouette_score,
)

from grouping_sets import CACHE, REPRESENTATIONS, SETS, represented
from measuring import say, section, table, versions
from vicinal import cluster, nearest
from vicinal.evaluations.groups import TRIED, GroupTree, grow_tree, modularity, repeatability
from vicinal.files import read_json, write_json

DRAWN = 2_000  # pictures of silhouettes, gap statistic and eigengap
NOTE = (
    "Sets: scikit-learn's digits; 100 crops of each of 18 photographs of scikit-image and "
    "scikit-learn, labelled by photograph; 128×128 icons of Debian's oxygen-icon-theme and 5,000 "
    "pictures of openclipart-png, by category; 5,000 images of MNIST and of CIFAR-10 (JPEG copy). "
    "All at 32×32 but the digits (8×8). Encoder: trained on them for 3 epochs (recipe laptop; the "
    "digits 10, recipe digits). Pretrained: EfficientNet-Lite0, frozen, pictures enlarged to 128, "
    "the first 1,000 of the sets of 5,000."
)


@dataclass(frozen=True)
class Measured:
    """What rules choose from: everything by number of groups.

    Attributes:
        counts: The numbers of groups.
        curves: Each measure's value at each of them; None where it has none.
        saved: By how much each split lowered the sum of squares, from two groups on.
        gap: The gap statistic and its error, from one group on.
        eigen: The largest eigenvalues of the neighbours' graph.
    """

    counts: list[int]
    curves: dict[str, list[float | None]]
    saved: list[float]
    gap: list[tuple[float, float]]
    eigen: list[float]

    def best(self, name: str, least: int = 2) -> int:
        """The number of groups of a measure's highest value."""
        known = zip(self.curves[name], self.counts, strict=True)
        return max((v, -k) for v, k in known if v is not None and k >= least)[1] * -1


def height_ratio(found: Measured, least: int = 2) -> int:
    """Where the next split saves least beside the one before."""
    saved = np.array(found.saved)
    ratios = saved[least - 2 : -1] / np.maximum(saved[least - 1 :], 1e-12)
    return int(ratios.argmax()) + least


def elbow(found: Measured) -> int:
    """Where the sum of squares is farthest below the line from its first to its last value."""
    left = sum(found.saved) - np.concatenate([[0], np.cumsum(found.saved)])
    line = np.linspace(left[0], left[-1], len(left))
    return int((line - left).argmax()) + 1


def gap(found: Measured) -> int:
    """The first number whose gap is within an error of the next one's (Tibshirani et al. 2001)."""
    pairs = zip(found.gap[1:], found.gap[2:], strict=False)
    good = [k for k, ((g, _), (after, error)) in enumerate(pairs, 2) if g >= after - error]
    return min(good, default=len(found.gap))


def eigengap(found: Measured) -> int:
    eigen = np.array(found.eigen)
    return int((eigen[1:-1] - eigen[2:]).argmax()) + 2


RULES: dict[str, Callable[[Measured], int]] = {
    "repeatability × modularity (ours)": lambda found: found.best("product"),
    "repeatability of two halves": lambda found: found.best("repeatability"),
    "modularity of 10 neighbours": lambda found: found.best("modularity"),
    "silhouette, 8 or more": lambda found: found.best("silhouette", 8),
    "silhouette, 5 or more": lambda found: found.best("silhouette", 5),
    "silhouette": lambda found: found.best("silhouette"),
    "Calinski–Harabasz, 5 or more": lambda found: found.best("calinski", 5),
    "Calinski–Harabasz": lambda found: found.best("calinski"),
    "ratio of merge heights, 5 or more": lambda found: height_ratio(found, 5),
    "ratio of merge heights": height_ratio,
    "elbow of merge heights": elbow,
    "gap statistic": gap,
    "eigengap": eigengap,
    "always 10": lambda found: 10,
    "always 15": lambda found: 15,
    "always 20": lambda found: 20,
}
OURS = next(iter(RULES))


def measured(array: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, Any]:
    """All that is needed of one set, as plain data."""
    began = time.process_time()
    tree = grow_tree(array)
    repeated = repeatability(tree.points)
    near = nearest(tree.points, tree.points, 10, exclude_self=True).indices
    counts = [count for count in TRIED if count <= len(tree)]
    levels = {count: tree.level(count) for count in counts}
    bound = [modularity(levels[count], near) for count in counts]
    seconds = time.process_time() - began
    some = np.random.default_rng(0).permutation(len(array))[:DRAWN]
    same = [repeated.get(count) for count in counts]
    return {
        "N": len(array),
        "classes": len(np.unique(labels)),
        "seconds": seconds,
        "counts": counts,
        "curves": {
            "repeatability": same,
            "modularity": bound,
            "product": [
                None if a is None else max(a, 0) * b for a, b in zip(same, bound, strict=True)
            ],
            "silhouette": [_silhouette(tree.points[some], levels[k][some]) for k in counts],
            "calinski": [float(calinski_harabasz_score(tree.points, levels[k])) for k in counts],
        },
        "nmi": [float(normalized_mutual_info_score(labels, levels[k])) for k in counts],
        "ami": [float(adjusted_mutual_info_score(labels, levels[k])) for k in counts],
        "saved": tree.saved[1:].tolist(),
        "gap": _gap(tree.points[some]),
        "eigen": _eigen(tree.points[some]),
        "before": _before(tree.points, labels),
    }


def _silhouette(points: NDArray[np.float32], groups: NDArray[np.int64]) -> float | None:
    return float(silhouette_score(points, groups)) if len(np.unique(groups)) > 1 else None


def _before(points: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """k-means with 2 to 15 clusters, the one of the highest silhouette."""
    found = {k: cluster(points, k=k, starts=2, silhouette_sample=DRAWN) for k in range(2, 16)}
    best = max(found, key=lambda k: found[k].silhouette.value)
    groups = found[best].assignment
    return {
        "k": best,
        "nmi": float(normalized_mutual_info_score(labels, groups)),
        "ami": float(adjusted_mutual_info_score(labels, groups)),
    }


def _gap(points: NDArray[np.float32]) -> list[tuple[float, float]]:
    """Gaps and their errors from one group on, by two draws from the points' box."""

    def logs(tree: GroupTree, whole: NDArray[np.float32]) -> NDArray[np.float64]:
        total = float(((whole - whole.mean(axis=0)) ** 2).sum())
        return np.log(np.maximum(total - np.cumsum(tree.saved), 1e-9))

    rng = np.random.default_rng(0)
    own = logs(grow_tree(points), points)
    drawn = []
    for _ in range(2):
        box = rng.uniform(points.min(axis=0), points.max(axis=0), points.shape)
        drawn.append(logs(grow_tree(box.astype(np.float32)), box))
    gaps = np.mean(drawn, axis=0) - own
    errors = np.std(drawn, axis=0) * np.sqrt(1.5)
    return list(zip(gaps.tolist(), errors.tolist(), strict=True))


def _eigen(points: NDArray[np.float32]) -> list[float]:
    """The 60 largest eigenvalues of the normalised graph of 10 neighbours."""
    near = nearest(points, points, 10, exclude_self=True).indices
    rows = np.repeat(np.arange(len(points)), near.shape[1])
    graph = csr_matrix((np.ones(near.size), (rows, near.ravel())), shape=(len(points),) * 2)
    graph = graph.maximum(graph.T)
    scale = diags(1 / np.sqrt(np.asarray(graph.sum(axis=1)).ravel()))
    start = np.random.default_rng(0).normal(size=len(points))
    values = eigsh(scale @ graph @ scale, 60, which="LA", v0=start, return_eigenvectors=False)
    return sorted(values.tolist(), reverse=True)


def at(row: dict[str, Any], name: str, count: int) -> float:
    """NMI or AMI of the compared level nearest to a number of groups."""
    nearest_ = min(range(len(row["counts"])), key=lambda i: abs(row["counts"][i] - count))
    return float(row[name][nearest_])


def main() -> None:
    kept = CACHE / "grouping.json"
    rows: dict[str, dict[str, Any]] = read_json(kept) if kept.is_file() else {}
    for (name, representation), (array, labels) in represented().items():
        key = f"{name}, {representation}"
        if key not in rows:
            rows[key] = json.loads(json.dumps(measured(array.astype(np.float32), labels)))
            write_json(kept, rows)
            say(f"{key}: {rows[key]['before']}, {rows[key]['seconds']:.1f} s")
    found = {
        key: Measured(*(row[name] for name in ("counts", "curves", "saved", "gap", "eigen")))
        for key, row in rows.items()
    }
    chosen = {rule: {key: choose(found[key]) for key in rows} for rule, choose in RULES.items()}
    before = {name: [row["before"][name] for row in rows.values()] for name in ("nmi", "ami")}
    by_set = [
        [
            key,
            f"{row['N']:,}",
            row["classes"],
            row["before"]["k"],
            f"{row['before']['nmi']:.3f} / {row['before']['ami']:.3f}",
            chosen[OURS][key],
            *(f"{at(row, 'nmi', k):.3f} / {at(row, 'ami', k):.3f}" for k in (chosen[OURS][key],)),
            f"{max(row['nmi']):.3f} / {max(row['ami']):.3f}",
            f"{row['seconds']:.1f}",
        ]
        for key, row in rows.items()
    ]
    by_rule = [["largest silhouette of k-means, 2 to 15 (before)", *_means(before), ""]]
    for rule in RULES:
        values = {
            name: [at(row, name, chosen[rule][key]) for key, row in rows.items()]
            for name in ("nmi", "ami")
        }
        wins = sum(a > b for a, b in zip(values["nmi"], before["nmi"], strict=True))
        by_rule.append([rule, *_means(values), f"{wins} of {len(rows)}"])
    section(
        "Groups",
        "Which level of the tree of groups agrees best with labels that it never saw?",
        [
            table(
                ["rule", "mean NMI", "mean AMI", "NMI above the rule before"],
                [by_rule[0], *sorted(by_rule[1:], key=lambda line: line[2], reverse=True)],
            ),
            table(
                [
                    *("set", "pictures", "classes", "groups before", "NMI / AMI", "groups now"),
                    *("NMI / AMI", "best level's", "s of processor time"),
                ],
                by_set,
            ),
        ],
        notes(rows, chosen),
    )


def _means(values: dict[str, list[float]]) -> list[str]:
    return [f"{statistics.mean(values[name]):.3f}" for name in ("nmi", "ami")]


def notes(rows: dict[str, dict[str, Any]], chosen: dict[str, dict[str, int]]) -> list[str]:
    lost = [
        key
        for key, row in rows.items()
        if at(row, "nmi", chosen[OURS][key]) <= row["before"]["nmi"]
    ]
    missing = [key for name in SETS for r in REPRESENTATIONS if (key := f"{name}, {r}") not in rows]
    few = [k for k, row in rows.items() if max(row["ami"]) < 0.25]
    most = max(row["seconds"] for row in rows.values() if row["N"] <= 5_000)
    return [
        NOTE,
        "NMI grows with the number of groups where there is little to find; AMI is adjusted for it "
        "(Vinh et al. 2010), so a rule must be good in both. A rule is applied to the same tree; "
        "only the rule before has k-means of its own, here with 2 starts.",
        f"The rule's NMI is above that of the rule before on {len(rows) - len(lost)} of "
        f"{len(rows)}" + (f"; not on: {'; '.join(lost)}." if lost else "."),
        "Where it fails: no level agrees with the labels (AMI below .25 at the best one) for "
        f"{'; '.join(few) or 'none'}: what the representation puts together there is not what the "
        "labels say, and no number of groups mends that.",
        f"Tree and level of 5,000 pictures: at most {most:.1f} s of processor time on one thread, "
        "goal ≤ 20 s: " + ("met" if most <= 20 else "missed"),
        *([f"Not measured for this page: {'; '.join(missing)}."] if missing else []),
        f"Versions: {versions('scikit-learn', 'scipy')}.",
    ]


if __name__ == "__main__":
    main()
