"""From cached representations to every result of S2 to S9: ours and scikit-learn's.

Beside them scikit-learn-intelex's estimators, where it is installed (`pip install
scikit-learn-intelex`).
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import author
from frozen import DATA_NOTE, Frozen, frozen
from measuring import extra_memory, ratio, say, section, table, versions
from sides import FASTER, OURS, PLAIN, ROUNDS, Measured, Stage, measure, peers
from vicinal import (
    LaplacianEigenmaps,
    cluster,
    converged_probe,
    detect,
    knn_probe,
    nearest,
    pca_map,
    retrieve,
    short_probe,
    tsne_map,
)
from vicinal.evaluations.clusters import silhouette
from vicinal.evaluations.maps import trustworthiness
from vicinal.evaluations.retrieval import RetrievalResult
from vicinal.study.learners import flat_pixels

GOALS = {PLAIN: 5.0, FASTER: 1.3}
MAP_IMAGES = 10_000
SPECTRAL_IMAGES = 10_000
COMPONENTS = 32
NEIGHBOURS = 15
TINY = 700  # images of a first pass, unmeasured, in which libraries load


def main() -> None:
    warnings.filterwarnings("ignore")
    data = frozen()
    say("a first pass over few images, unmeasured")
    theirs = peers()
    for stage in stages(data.first(TINY)):
        stage.ours()
        for module in theirs.values():
            stage.theirs(module)
    held = stages(data)
    measured = [measure(stage, theirs) for stage in held]
    agreed = [
        {name: s.agreement(m.results[OURS], m.results[name]) for name in theirs}
        for s, m in zip(held, measured, strict=True)
    ]
    say("the encoder run again, on a part")
    again = author.encoder_again(data)
    for stage, one in zip(held, measured, strict=True):  # last, for it changes the allocator
        one.results.clear()
        one.memory = extra_memory(stage.ours)
        say(f"{stage.name}: {one.memory / 2**20:.0f} MB")
    report(held, measured, agreed, again, len(data.train))


def stages(data: Frozen) -> list[Stage]:
    """Every stage on ``data``."""
    train, test = data.train, data.test
    shown = np.sort(np.random.default_rng(0).permutation(len(train))[:MAP_IMAGES])
    return [
        Stage(
            f"S2, S6: PCA map and t-SNE of {len(test):,} test images",
            lambda: (pca_map(test.array), tsne_map(test.array))[1],
            lambda by: by.maps(test.array),
            lambda a, b: trusted(test.array, a, b),
        ),
        *probes(data),
        *searches(data),
        Stage(
            f"S9: k-means, exact silhouette, NMI, ARI of {len(train):,}; theirs KMeans(10), "
            "one start",
            lambda: cluster(train.array, labels=train.labels),
            lambda by: by.clusters(train.array, train.labels),
            lambda a, b: same_silhouette(train.array, a, b),
        ),
        Stage(
            f"S9: t-SNE of {len(shown):,} of the clustered images",
            lambda: tsne_map(train.array[shown]),
            lambda by: by.tsne(train.array[shown]),
            lambda a, b: trusted(train.array[shown], a, b),
        ),
        spectral(data),
    ]


def probes(data: Frozen) -> list[Stage]:
    """S3, and the same of S4 to S6."""
    train, test = data.train, data.test
    return [
        Stage(
            f"S3–S6: converged probe, {len(train):,} images, the penalty chosen among 5; theirs "
            "LogisticRegression(max_iter=1000), its penalty given",
            lambda: converged_probe(train, test).accuracy.value,
            lambda by: by.logistic(train, test),
            lambda a, b: close("accuracy", a, b, 0.01),
        ),
        Stage(
            "S3–S6: 10-epoch Adam probe; theirs on cached tensors by a DataLoader",
            lambda: short_probe(train, test).accuracy.value,
            lambda by: by.adam_probe(train, test),
            lambda a, b: close("accuracy", a, b, 0.01),
        ),
        Stage(
            "S3: k-NN probe, k=20 and 200; theirs KNeighborsClassifier",
            lambda: [one.accuracy.value for one in knn_probe(train, test)],
            lambda by: by.knn(train, test),
            lambda a, b: close("accuracy, k=20", a[0], b[0], 0.002),
        ),
    ]


def searches(data: Frozen) -> list[Stage]:
    """S5, S7 and S8: what neighbours are searched for."""
    train, test, anomalies = data.train, data.test, data.anomalies
    return [
        Stage(
            f"S5: 3 nearest of each of {len(train):,} images; theirs NearestNeighbors",
            lambda: nearest(train.array, train.array, 3, exclude_self=True).indices,
            lambda by: by.mined(train.array),
            lambda a, b: close("same neighbours", float((a == b).mean()), 1.0, 0.001),
        ),
        Stage(
            "S7: 5 nearest and farthest of each test image; theirs pairwise_distances and "
            "argpartition",
            lambda: found(retrieve(test, train, k=5, shown=np.arange(10))),
            lambda by: by.retrieval(train, test),
            lambda a, b: close("precision at 5", a, b, 1e-4),
        ),
        Stage(
            "S8: anomaly scores, ROC and its interval; theirs NearestNeighbors and roc_curve, "
            "no interval",
            lambda: detect(train, test, anomalies).auroc.value,
            lambda by: by.anomaly(train.array, test.array, anomalies.array),
            lambda a, b: close("AUROC", a, b, 1e-6),
        ),
    ]


def found(result: RetrievalResult) -> float:
    """The precision among the nearest."""
    assert result.nearest.precision is not None
    return result.nearest.precision.value


def spectral(data: Frozen) -> Stage:
    """S6, on fewer images and components than the study's on both sides, for theirs is slow."""
    pixels = flat_pixels(data.train_images)[:SPECTRAL_IMAGES]
    labels = data.train.labels[:SPECTRAL_IMAGES]
    eigenmaps = LaplacianEigenmaps(COMPONENTS, n_neighbors=NEIGHBOURS)

    def agree(ours: np.ndarray, theirs: np.ndarray) -> tuple[str, bool]:
        # Theirs halves the weight of one-sided edges, so the columns are not the same ones.
        a, b = (agreement(embedded, labels) for embedded in (ours, theirs))
        return close("class agreement of 10 nearest", a, b, 0.01)

    return Stage(
        f"S6: Laplacian Eigenmaps of raw pixels, {len(pixels):,} images and {COMPONENTS} "
        "components on both sides; theirs SpectralEmbedding",
        lambda: eigenmaps.fit_transform(pixels),
        lambda by: by.spectral(pixels, COMPONENTS, NEIGHBOURS),
        agree,
    )


def close(what: str, ours: float, theirs: float, tolerance: float) -> tuple[str, bool]:
    """Both values, and whether they are within the tolerance."""
    within = abs(ours - theirs) <= tolerance
    return (
        f"{what} {ours:.6g} / {theirs:.6g}, {'within' if within else 'NOT within'} {tolerance:g}",
        within,
    )


def trusted(array: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> tuple[str, bool]:
    """Trustworthiness of both maps on one sample: ours may be better, not worse."""
    a, b = (trustworthiness(array, points.astype(np.float32)).value for points in (ours, theirs))
    within = a >= b - 0.01
    return (
        f"trustworthiness {a:.4f} / {b:.4f}, {'no' if within else 'WORSE'} loss beyond 0.01",
        within,
    )


def same_silhouette(array: np.ndarray, ours: Any, theirs: dict[str, Any]) -> tuple[str, bool]:
    """Our silhouette of their clusters against theirs, and how tight both k-means are."""
    value = silhouette(array, theirs["assignment"]).value
    text, within = close("silhouette of the same clusters", value, theirs["silhouette"], 1e-5)
    spread = float(((array - ours.centroids[ours.assignment]) ** 2).sum())
    return f"{text}; our inertia {spread / theirs['inertia']:.4f} of theirs", within


def agreement(embedded: np.ndarray, labels: np.ndarray) -> float:
    """Share of the 10 nearest others that are of the same class."""
    scaled = (embedded / embedded.std(axis=0)).astype(np.float32)
    found = nearest(scaled, scaled, 10, exclude_self=True).indices
    return float((labels[found] == labels[:, None]).mean())


def report(
    held: list[Stage],
    measured: list[Measured],
    agreed: list[dict[str, tuple[str, bool]]],
    again: author.Again,
    images: int,
) -> None:
    """Prints the section."""
    names = list(agreed[0])
    rows = [
        row(stage.name, one.seconds, told[PLAIN][0], f"{one.memory / 2**20:,.0f} MB")
        for stage, one, told in zip(held, measured, agreed, strict=True)
    ]
    whole = {side: summed([one.seconds[side] for one in measured]) for side in (OURS, *names)}
    rows.append(total("both from cached representations", whole))
    # Their Adam probe is in both totals, once on cached tensors and once through the encoder.
    cached = measured[2].seconds
    run_again = {OURS: [seconds + again.once for seconds in whole[OURS]]} | {
        name: [a - b + again.epochs for a, b in zip(whole[name], cached[name], strict=True)]
        for name in names
    }
    how = "their Adam probe runs the encoder again each epoch, ours is charged with one pass"
    rows.append(total(how, run_again))
    largest = max(one.memory for one in measured)
    square = 4 * images**2
    sides = ["ours, s", *(f"{name}, s" for name in names), *(f"ratio to {name}" for name in names)]
    section(
        "From cached representations to every result",
        "How long do S2 to S9 take, beside the same written with scikit-learn?",
        [table(["stage", *sides, "ours / theirs", "our extra memory"], rows)],
        [
            DATA_NOTE,
            again.note,
            "Each stage counts once; the study does most for two learners or more, which "
            "multiplies both sides.",
            f"No n×n array: {'holds' if largest < square / 5 else 'does NOT hold'}. Our largest "
            f"extra memory is {largest / 2**20:,.0f} MB; {images:,} × {images:,} float32 would "
            f"take {square / 1e9:.0f} GB.",
            *(agreement_note(name, held, agreed) for name in names),
            f"{versions('scikit-learn', 'openTSNE', *names[1:])}; {ROUNDS} rounds in turn.",
        ],
    )


def agreement_note(name: str, held: list[Stage], agreed: list[dict[str, tuple[str, bool]]]) -> str:
    """Whether all results agree with a peer's, and which do not."""
    apart = [
        f"{stage.name.partition(';')[0]} ({told[name][0]})"
        for stage, told in zip(held, agreed, strict=True)
        if not told[name][1]
    ]
    if apart:
        return f"NOT all results agree with {name}'s: {'; '.join(apart)}."
    return f"All results agree with {name}'s within the stated tolerances."


def summed(rounds: Sequence[Sequence[float]]) -> list[float]:
    """The seconds of all stages, by round."""
    return [sum(turn) for turn in zip(*rounds, strict=True)]


def row(name: str, seconds: Mapping[str, Sequence[float]], said: str, memory: str) -> list[str]:
    """A line of the table: medians, then ratios of paired rounds."""
    middle = [f"{statistics.median(one):.1f}" for one in seconds.values()]
    ratios = [f"{ratio(one, seconds[OURS]):.1f}×" for one in list(seconds.values())[1:]]
    return [name, *middle, *ratios, said, memory]


def total(name: str, seconds: Mapping[str, list[float]]) -> list[str]:
    """A total, with the goals beside it."""
    verdicts = [
        f"goal ≥ {goal:g}× {side}: "
        f"{'met' if ratio(seconds[side], seconds[OURS]) >= goal else 'missed'}"
        for side, goal in GOALS.items()
        if side in seconds
    ]
    return row(f"**total: {name}**", seconds, "; ".join(verdicts), "")


if __name__ == "__main__":
    main()
