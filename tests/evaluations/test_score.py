"""What scores say beside their value, the defaults, and the one line with which evaluations refuse.

Expected values are counted by hand: 12 training images of three classes (4 each) and 8 test
images, of which class 0 has 4.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats

from vicinal.errors import InputError
from vicinal.evaluations.anomalies import (
    conformal_p_values,
    conformal_threshold,
    detect,
)
from vicinal.evaluations.clusters import cluster, silhouette
from vicinal.evaluations.collapse import collapse
from vicinal.evaluations.label_probe import label_probe
from vicinal.evaluations.maps import class_agreement, pca_map, trustworthiness, tsne_map
from vicinal.evaluations.probe import converged_probe, few_label_probe, knn_probe, short_probe
from vicinal.evaluations.retrieval import colour_gap, one_query_per_class, retrieve
from vicinal.evaluations.score import Score
from vicinal.representations.representations import Representations

NAMES = ("a", "b", "c")


def images(count: int, seed: int, labels: Any = None, names: tuple[str, ...] = NAMES) -> Any:
    array = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    if labels is None:
        return Representations(array, np.arange(count).astype(np.str_))
    labels = np.asarray(labels)
    array[:, 0] += labels
    return Representations(array, np.arange(count).astype(np.str_), labels, names)


TRAIN, TEST = images(12, 0, np.arange(12) % 3), images(8, 1, [0, 0, 0, 0, 1, 1, 1, 2])
BARE = images(8, 1)
BAD = "the representations hold NaN or infinite values; train again with a lower learning rate"


def reading(score: Score | None) -> tuple[object, ...]:
    assert score is not None
    said = score.to_json()
    said.pop("value")
    said.pop("interval")
    return tuple(said.values())


def about(*expected: object) -> Any:
    """Name, low, high, better, chance, n and seed, the chance to rounding."""
    return tuple(pytest.approx(one) if isinstance(one, float) else one for one in expected)


def test_a_score_as_plain_data_has_every_field() -> None:
    assert Score("s", 0.5, 0.0, None, "lower", 0.1, 7, 3, (0.4, 0.6)).to_json() == {
        "name": "s", "value": 0.5, "low": 0.0, "high": None, "better": "lower", "chance": 0.1,
        "n": 7, "seed": 3, "interval": (0.4, 0.6),
    }  # fmt: skip


def test_probes() -> None:
    exact = converged_probe(TRAIN, TEST, grid=(0.1,), seed=5)
    assert reading(exact.accuracy) == about("probe_accuracy", 0, 1, "higher", 4 / 8, 8, 5)
    assert reading(exact.train_accuracy) == about(
        "train_probe_accuracy", 0, 1, "higher", 4 / 12, 12, 5
    )
    assert exact.regularisation == 0.1
    assert exact.train_accuracy.interval is not None
    short = short_probe(TRAIN, TEST, epochs=1, seed=5)
    assert reading(short.accuracy) == about("probe_accuracy_short", 0, 1, "higher", 4 / 8, 8, 5)
    assert short.train_accuracy.name == "train_probe_accuracy_short"
    assert short.regularisation is None
    few = few_label_probe(TRAIN, TEST, per_class=2, repeats=1, seed=5)
    assert reading(few) == about("few_label_accuracy", 0, 1, "higher", 4 / 8, 8, 5)
    assert few.interval is None
    (voted,) = knn_probe(TRAIN, TEST, k=(2,))
    assert reading(voted.accuracy) == about("knn_accuracy_k2", 0, 1, "higher", 1 / 3, 8, None)


def test_the_label_probe() -> None:
    rows, classes = np.array([0, 1, 2, 3, 4, 6, 9]), np.array([0, 1, 1, 0, 1, 0, 0])
    found = label_probe(TRAIN.array, rows, classes, seed=4)
    assert reading(found.accuracy) == about("cross_validated_accuracy", 0, 1, "higher", 4 / 7, 7, 4)
    assert (found.folds, found.penalty) == (4, 1e-2)
    assert found.predictions.tolist() == found.probabilities.argmax(axis=1).tolist()
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    many = np.arange(100) % 2
    apart = images(100, 2).array + 9 * many[:, None].astype(np.float32)
    assert label_probe(apart, np.arange(99), many[:99]).penalty == 1e-2  # 49 of one class
    sure = label_probe(apart, np.arange(100), many)
    assert (sure.folds, sure.penalty, sure.accuracy.value) == (5, 1e-1, 1.0)  # first of equals
    assert sure.predictions.tolist() == many.tolist()
    assert sure.accuracy.seed == 0


def test_the_few_label_probes_interval_is_students() -> None:
    sums = [
        repeats * few_label_probe(TRAIN, TEST, per_class=2, repeats=repeats).value
        for repeats in range(1, 7)
    ]
    shares = np.diff([0, *sums])  # more repeats draw more, and the first draws again
    found = few_label_probe(TRAIN, TEST, per_class=2, repeats=6)
    expected = scipy.stats.t.interval(0.95, 5, loc=shares.mean(), scale=scipy.stats.sem(shares))
    assert 0 < expected[0] < expected[1] < 1
    assert found.interval == pytest.approx(expected)


def test_collapse() -> None:
    found = collapse(TRAIN.array)
    for score, high, better in (
        (found.rankme, 4, "higher"),
        (found.rankme_centred, 4, "higher"),
        (found.top2_share, 1, "lower"),
        (found.std_mean, None, "neither"),
        (found.std_min, None, "neither"),
        (found.dead_dimensions, 4, "lower"),
    ):
        assert reading(score)[1:] == (0.0, high, better, None, 12, None)
    names = "rankme rankme_centred top2_share std_mean std_min dead_dimensions"
    assert [getattr(found, name).name for name in names.split()] == names.split()
    assert collapse(TRAIN.array[:3]).rankme.high == 3


def test_clusters() -> None:
    found = cluster(TRAIN.array, k=2, labels=TRAIN.labels, seed=3)
    assert reading(found.nmi) == ("nmi", 0, 1, "higher", 0, 12, None)
    assert reading(found.ari) == ("ari", -0.5, 1, "higher", 0, 12, None)
    assert reading(found.matched_accuracy) == about(
        "matched_accuracy", 0, 1, "higher", 1 / 3, 12, None
    )
    assert reading(found.silhouette) == ("silhouette", -1, 1, "higher", None, 12, None)
    some = silhouette(TRAIN.array, found.assignment, sample=5, seed=3)
    assert reading(some) == ("silhouette", -1, 1, "higher", None, 5, 3)
    sure = silhouette(np.array([[0], [0], [9], [9]], np.float32), np.array([0, 0, 1, 1]), sample=3)
    assert sure.interval == (1.0, 1.0)
    assert silhouette(TRAIN.array, found.assignment, sample=5) == silhouette(
        TRAIN.array, found.assignment, sample=5, seed=0
    )


def test_maps() -> None:
    points = TRAIN.array[:, :2]
    chance = 3 * 4 * 3 / (12 * 11)  # three classes of four
    assert reading(class_agreement(points, TRAIN.labels, k=2)) == about(
        "class_agreement", 0, 1, "higher", chance, 12, None
    )
    trusted = trustworthiness(TRAIN.array, points, k=3, seed=7)
    assert reading(trusted) == ("trustworthiness", 0, 1, "higher", None, 12, 7)
    most = trustworthiness(TRAIN.array, points, k=99)  # lowered below half of the points
    assert most.value == trustworthiness(TRAIN.array, points, k=5).value


def test_retrieval() -> None:
    found = retrieve(TEST, TRAIN, k=2, shown=np.array([0]))
    share = 2 / 12
    chance = (1 - 2 * share) / np.sqrt(8 * share * (1 - share))
    for end, name, better in (
        (found.nearest, "nearest", "higher"),
        (found.farthest, "farthest", "neither"),
    ):
        assert reading(end.precision) == about(
            f"{name}_precision_at_2", 0, 1, better, 4 / 12, 8, None
        )
        assert reading(end.hubness) == about(
            f"{name}_hubness", None, None, "lower", float(chance), 12, None
        )
    pixels = np.zeros((2, 3, 4, 4, 3), np.uint8)
    for gap, name in zip(
        colour_gap(pixels[:, 0], pixels), ("saturation", "brightness"), strict=True
    ):
        assert reading(gap) == (f"{name}_gap", 0, 1, "neither", None, 6, None)


def test_anomalies() -> None:
    found = detect(TRAIN, TEST, images(2, 3), bootstrap=5, seed=6)
    assert reading(found.auroc) == about("auroc", 0, 1, "higher", 0.5, 10, 6)
    assert reading(found.fpr95) == about("fpr95", 0, 1, "lower", 0.95, 10, None)
    assert reading(found.aupr) == about("aupr", 0, 1, "higher", 0.2, 10, None)
    assert reading(found.aupr_normal) == about("aupr_normal", 0, 1, "higher", 0.8, 10, None)


def test_a_probe_knows_classes_that_one_set_lacks() -> None:
    result = converged_probe(TRAIN, images(3, 1, [0, 0, 1]), grid=(0.1,))
    assert np.isnan(result.per_class).tolist() == [False, False, True]
    assert result.confusion.shape == (3, 3)
    assert result.confusion.sum(axis=1).tolist() == [2, 1, 0]
    nameless = images(12, 0, np.arange(12) % 2, ()), images(3, 1, [0, 0, 4], ())
    assert converged_probe(*nameless, grid=(0.1,)).confusion.shape == (5, 5)
    assert converged_probe(*nameless[::-1], grid=(0.1,)).confusion.shape == (5, 5)
    assert retrieve(TEST, BARE, k=1, shown=np.array([0])).nearest.precision is None
    assert retrieve(BARE, TEST, k=1, shown=np.array([0])).nearest.precision is None


def test_defaults() -> None:
    assert converged_probe(TRAIN, TEST, grid=(0.1,)).accuracy.seed == 0
    assert short_probe(TRAIN, TEST).accuracy.seed == 0
    assert detect(TRAIN, TEST, BARE, bootstrap=1).auroc.seed == 0
    assert len(detect(TRAIN, TEST, BARE, bootstrap=1).most.ids) == 7
    assert retrieve(TEST, TRAIN, shown=np.array([0])).nearest.indices.shape == (1, 5)
    assert few_label_probe(TRAIN, TEST) == few_label_probe(
        TRAIN, TEST, per_class=5, repeats=10, seed=0
    )
    short, same = (
        short_probe(TRAIN, images(400, 5, np.arange(400) % 3), **given)
        for given in ({}, {"epochs": 10, "learning_rate": 3e-4, "batch_size": 256, "seed": 0})
    )
    np.testing.assert_array_equal(short.predictions, same.predictions)
    many = images(60, 4)
    assert one_query_per_class(many).tolist() == one_query_per_class(many, seed=0).tolist()
    points = many.array[:, :2]
    assert (
        trustworthiness(many.array, points).value == trustworthiness(many.array, points, k=10).value
    )
    some = trustworthiness(many.array, points, at_most=30)
    assert some == trustworthiness(many.array, points, at_most=30, seed=0)
    classes = np.arange(60) % 3
    assert class_agreement(points, classes) == class_agreement(points, classes, k=10)
    known = inspect.signature(trustworthiness).parameters
    assert (known["k"].default, known["at_most"].default) == (10, 2_000)
    assert inspect.signature(cluster).parameters["k"].default == 10
    assert short_probe(TRAIN, TEST, epochs=1, batch_size=1).accuracy.n == len(TEST)


def test_conformal_p_values_are_shares_of_the_calibration() -> None:
    calibration = np.array([3.0, 1.0, 2.0, 2.0])
    scores = np.array([0.0, 1.0, 2.0, 2.5, 3.0, 4.0])
    counted = [(1 + int((calibration >= score).sum())) / 5 for score in scores]
    assert conformal_p_values(scores, calibration).tolist() == counted
    rising = np.arange(1.0, 100.0, dtype=np.float32)  # 99 of them
    ranks = [conformal_threshold(rising, rate) for rate in (0.01, 0.05, 0.055, 0.5)]
    assert ranks == [99, 95, 95, 50]
    for rate in (0.01, 0.05, 0.5):
        threshold = conformal_threshold(rising, rate)
        over = conformal_p_values(np.array([threshold, threshold + 0.5]), rising)
        assert over[1] <= rate < over[0]  # so many, and no more, are flagged


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: conformal_threshold(np.ones(9, np.float32), 0.0),
         "false_alarms=0: give a rate between 0 and 1, such as 0.01"),
        (lambda: conformal_threshold(np.ones(9, np.float32), 1.0),
         "false_alarms=1: give a rate between 0 and 1, such as 0.01"),
        (lambda: conformal_threshold(np.ones(9, np.float32), 0.05),
         "false_alarms=0.05: 9 calibration images are too few for so low a rate; ask for 0.1 or "
         "more, or give more normal images"),
        (lambda: collapse(np.full((3, 2), np.inf, np.float32)),
         "collapse: the representations hold NaN or infinite values; train again with a lower "
         "learning rate"),
        (lambda: collapse(np.zeros((3, 0), np.float32)),
         "collapse: needs an array (N, F), found (3, 0)"),
        (lambda: pca_map(np.zeros((1, 2), np.float32)), "a map: needs at least 2 images, found 1"),
        (lambda: tsne_map(np.zeros((3, 2), np.float32)),
         "a t-SNE map needs at least 4 images, found 3"),
        (lambda: class_agreement(np.zeros((3, 2), np.float32), np.zeros(3, np.int64), k=3),
         "3 neighbours on a map need more than 3 points"),
        (lambda: cluster(TRAIN.array, k=1),
         "1 clusters need at least 2 and at most as many as distinct images, 12; "
         "use k=2"),
        (lambda: silhouette(TRAIN.array, np.zeros(12, np.int64)),
         "a silhouette needs at least two clusters with points, found 1"),
        (lambda: silhouette(TRAIN.array, np.arange(12), sample=-1),
         "a silhouette's sample=-1 must be 0 (all points) or at least 2"),
        (lambda: knn_probe(TRAIN, BARE),
         "the probe needs labels, and the test images have none"),
        (lambda: knn_probe(TRAIN, images(8, 1, [0] * 8, ("a", "b"))),
         "k-NN probe: training and test images must have the same class names"),
        (lambda: knn_probe(TRAIN, TEST, k=()),
         "k-NN probe: k=() must be 1 or more, temperature=0.07 above 0"),
        (lambda: knn_probe(TRAIN, TEST.take(np.empty(0, np.int64))),
         "k-NN probe: 12 training and 0 test images"),
        (lambda: label_probe(TRAIN.array, np.arange(3), np.zeros(3, np.int64)),
         "labels of at least two classes are needed, found one; label another kind"),
        (lambda: label_probe(TRAIN.array, np.arange(3), np.arange(3)),
         "every class has a single label; label two or more pictures of a class"),
        (lambda: converged_probe(BARE, TEST),
         "the probe needs labels, and the training images have none"),
        (lambda: converged_probe(TRAIN, BARE),
         "the probe needs labels, and the test images have none"),
        (lambda: converged_probe(TRAIN, images(8, 1, [0] * 8, ("a", "b"))),
         "training and test images have different classes: ('a', 'b', 'c') and ('a', 'b')"),
        (lambda: converged_probe(
            TRAIN, Representations(TEST.array[:, :3], TEST.ids, TEST.labels, NAMES)),
         "the probe needs representations of one dimension, found 4 in training and 3 in test"),
        (lambda: tsne_map(np.full((5, 2), np.nan, np.float32)), f"a map: {BAD}"),
        (lambda: cluster(np.full((5, 2), np.nan, np.float32), k=2), f"clusters: {BAD}"),
        (lambda: label_probe(np.full((5, 2), np.nan, np.float32), np.arange(2), np.arange(2)),
         f"the probe: {BAD}"),
        (lambda: converged_probe(
            Representations(TRAIN.array * np.nan, TRAIN.ids, TRAIN.labels, NAMES), TEST),
         f"the probe's training images: {BAD}"),
        (lambda: converged_probe(TRAIN, TEST, holdout=1.0),
         "the probe needs 0 < holdout < 1 and penalties above 0, found 1.0 and "
         "(0.1, 0.01, 0.001, 0.0001, 1e-05)"),
        (lambda: converged_probe(TRAIN, TEST, grid=(0.0,)),
         "the probe needs 0 < holdout < 1 and penalties above 0, found 0.1 and (0.0,)"),
        (lambda: converged_probe(TRAIN, TEST.take(np.empty(0, np.int64))),
         "the probe's test images: needs at least 1 images, found 0"),
        (lambda: converged_probe(images(5, 0, [1] * 5), TEST),
         "the probe needs at least two classes among the training images"),
        (lambda: few_label_probe(TRAIN, TEST, per_class=0),
         "needs per_class and repeats ≥ 1, found 0 and 10"),
        (lambda: few_label_probe(TRAIN, TEST, repeats=0),
         "needs per_class and repeats ≥ 1, found 5 and 0"),
        (lambda: short_probe(TRAIN, TEST, learning_rate=0),
         "the short probe needs epochs and batch_size of at least 1 and a learning_rate above 0, "
         "found 10, 256 and 0"),
        (lambda: retrieve(BARE.take(np.empty(0, np.int64)), TRAIN, shown=np.empty(0, np.int64)),
         "retrieval: there are no queries"),
        (lambda: retrieve(TRAIN, images(8, 1, [0] * 8, ("a", "b")), shown=np.array([0])),
         "retrieval: queries and gallery must have the same class names"),
        (lambda: colour_gap(np.zeros((2, 3, 3, 3), np.uint8), np.zeros((2, 3, 3, 3), np.uint8)),
         "colour gap: queries (2, 3, 3, 3) need others (Q, k, H, W, C), found (2, 3, 3, 3)"),
        (lambda: detect(TRAIN, TEST, BARE, most=-1),
         "anomalies: bootstrap=1000 must be 1 or more, most=-1 0 or more"),
        (lambda: detect(TRAIN, TEST.take(np.empty(0, np.int64)), BARE),
         "anomalies: 0 normal and 8 anomalous test images, at least one of each is needed"),
    ],
)  # fmt: skip
def test_a_refusal_is_this_line(call: Callable[[], object], line: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == line
