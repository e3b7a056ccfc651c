"""What evaluations compute on a GPU, here on the CPU, against the CPU's own way and scikit-learn.

The functions take any device: given ``cpu`` they take the very steps that they take on a GPU.
"""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import silhouette_samples

from vicinal.evaluations import anomalies, clusters, maps, probe, retrieval, softmax
from vicinal.evaluations.clusters import cluster, silhouette
from vicinal.evaluations.maps import class_agreement, exact_tsne, trustworthiness, tsne_map
from vicinal.evaluations.on_gpu import SoftmaxLoss, distance_sums, lloyd, rotated, spectrum
from vicinal.evaluations.probe import converged_probe, knn_probe, short_probe
from vicinal.representations import neighbours
from vicinal.representations.neighbours import full_float32, nearest_and_farthest
from vicinal.representations.representations import Representations

Array = NDArray[np.float32]
STAND_IN = "cpu:0"
"""The CPU by a name that is not ``cpu``: what takes another device's path on this machine."""


@pytest.fixture(scope="module")
def digits() -> tuple[Representations, Representations]:
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    names = tuple(str(i) for i in range(10))
    train, test = (
        Representations(
            pixels[rows].astype(np.float32), rows.astype(np.str_), labels[rows].astype(int), names
        )
        for rows in (order[:1000], order[1000:1400])
    )
    return train, test


def test_neighbours_are_the_same(digits: tuple[Representations, Representations]) -> None:
    train, test = digits
    for self_, queries in ((False, test), (True, train)):
        here, there = (
            nearest_and_farthest(queries.array, train.array, 7, exclude_self=self_, device=device)
            for device in ("cpu", STAND_IN)
        )
        for ours, theirs in zip(there, here, strict=True):
            np.testing.assert_array_equal(ours.indices, theirs.indices)
            np.testing.assert_array_equal(ours.distances, theirs.distances)


def test_on_a_device_candidates_are_gathered_there(
    digits: tuple[Representations, Representations], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []
    whole = neighbours.squared_distances

    def watched(queries: Array, gallery: neighbours.Gallery, index: NDArray[np.int64]) -> Array:
        held.append(type(gallery))
        return whole(queries, gallery, index)  # type: ignore[return-value]

    monkeypatch.setattr(neighbours, "squared_distances", watched)
    train, _ = digits
    nearest_and_farthest(train.array, train.array, 3, exclude_self=True, device=STAND_IN)
    assert set(held) == {torch.Tensor}


def test_products_stay_in_float32_where_tf32_was_allowed() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        with full_float32():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_the_knn_probe_is_the_same(digits: tuple[Representations, Representations]) -> None:
    for ours, theirs in zip(
        knn_probe(*digits, k=(5, 20), device=STAND_IN), knn_probe(*digits, k=(5, 20)), strict=True
    ):
        np.testing.assert_array_equal(ours.predictions, theirs.predictions)


def test_every_search_is_asked_to_run_there(
    digits: tuple[Representations, Representations], monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = (one.take(np.arange(60)) for one in digits)
    told: list[str] = []

    def watched(search: Any, *given: object, **more: Any) -> Any:
        told.append(more["device"])
        return search(*given, **more)

    for module, name in (
        (anomalies, "nearest"),
        (probe, "nearest"),
        (maps, "nearest"),
        (retrieval, "nearest_and_farthest"),
    ):
        monkeypatch.setattr(module, name, partial(watched, getattr(module, name)))
    monkeypatch.setattr(maps, "find_spec", lambda name: None)
    anomalies.detect(train, test, test, bootstrap=1, device=STAND_IN)
    knn_probe(train, test, device=STAND_IN)
    retrieval.retrieve(test, train, shown=np.arange(2), device=STAND_IN)
    tsne_map(test.array[:9], device=STAND_IN)
    assert told == [STAND_IN] * 5


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_from_the_same_centres_lloyd_finds_scikit_learns_clusters(offset: float) -> None:
    rng = np.random.default_rng(0)
    points = (rng.normal(size=(900, 6)) + offset).astype(np.float32)
    start = points[:7]
    theirs = KMeans(7, init=start, n_init=1, algorithm="lloyd").fit(points.astype(np.float64))
    ours = lloyd(torch.from_numpy(points), torch.from_numpy(start))
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-4)
    assert (ours.assignment.numpy() == theirs.labels_).mean() > 0.995
    np.testing.assert_allclose(ours.centres, theirs.cluster_centers_, atol=0.02)


def test_a_cluster_without_points_takes_the_farthest() -> None:
    points = torch.tensor([[0.0], [1.0], [2.0], [50.0]])
    found = lloyd(points, torch.tensor([[0.0], [1.0], [1e6]]))
    assert sorted(found.assignment.bincount().tolist()) == [1, 1, 2]
    assert found.inertia == pytest.approx(0.5)


def test_clusters_are_as_tight_and_their_silhouette_the_same(
    digits: tuple[Representations, Representations], monkeypatch: pytest.MonkeyPatch
) -> None:
    train, _ = digits
    here, there = (
        cluster(train.array, labels=train.labels, device=device) for device in ("cpu", STAND_IN)
    )
    tightness = [
        float(((train.array - found.centroids[found.assignment]) ** 2).sum())
        for found in (here, there)
    ]
    assert tightness[1] == pytest.approx(tightness[0], rel=0.01)
    assert there.silhouette.value == pytest.approx(
        silhouette(train.array, there.assignment).value, abs=1e-6
    )
    assert there.nmi is not None
    assert here.nmi is not None
    assert there.nmi.value == pytest.approx(here.nmi.value, abs=0.05)
    # Beyond some thousand points the starts run on a draw of them.
    monkeypatch.setattr(clusters, "_SCREEN", 300)
    screened = cluster(train.array, device=STAND_IN)
    spread = float(((train.array - screened.centroids[screened.assignment]) ** 2).sum())
    assert spread == pytest.approx(tightness[0], rel=0.03)
    assert screened.assignment.dtype == np.int64


@pytest.mark.parametrize("sample", [0, 40])
def test_the_silhouette_is_scikit_learns(sample: int) -> None:
    rng = np.random.default_rng(0)
    array = (rng.normal(size=(300, 5)) + 100).astype(np.float32)
    assignment = rng.integers(4, size=300)
    assignment[assignment == 3] = 2
    assignment[0] = 3  # a point alone
    ours = silhouette(array, assignment, sample=sample, device=STAND_IN)
    theirs = silhouette(array, assignment, sample=sample)
    assert ours.value == pytest.approx(theirs.value, abs=1e-6)
    assert ours.n == theirs.n
    if not sample:
        judged = silhouette_samples(array.astype(np.float64), assignment).mean()
        assert ours.value == pytest.approx(judged, abs=1e-6)


def test_summed_distances_are_those_of_subtraction() -> None:
    points = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    apart = np.linalg.norm(points[:, None].astype(float) - points[None], axis=2)
    expected = np.stack([apart[:, :12].sum(axis=1), apart[:, 12:].sum(axis=1)], axis=1)
    rows = np.array([3, 12, 19])
    sums = distance_sums(torch.from_numpy(points), np.array([12, 8]), rows)
    np.testing.assert_allclose(sums, expected[rows], rtol=1e-6)


def test_the_converged_probe_finds_the_same_optimum(
    digits: tuple[Representations, Representations],
) -> None:
    here, there = converged_probe(*digits), converged_probe(*digits, device=STAND_IN)
    assert there.regularisation == here.regularisation
    assert (there.predictions == here.predictions).mean() > 0.995
    assert there.train_accuracy.value == pytest.approx(here.train_accuracy.value, abs=2e-3)


def test_the_gradient_of_its_loss_is_autograds() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4, 30)).astype(np.float32)
    targets, share = rng.integers(3, size=30), rng.random(30)
    share /= share.sum()
    weights = rng.normal(size=(5, 3))
    value, gradient = SoftmaxLoss(points, targets, share, 0.1, "cpu")(weights)
    free = torch.tensor(weights, requires_grad=True)
    logits = free[:-1].T @ torch.from_numpy(points).double() + free[-1][:, None]
    each = torch.nn.functional.cross_entropy(logits.T, torch.from_numpy(targets), reduction="none")
    loss = (torch.from_numpy(share) * each).sum() + 0.05 * free[:-1].square().sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert value == pytest.approx(float(loss.detach()), rel=1e-5)
    assert free.grad is not None
    np.testing.assert_allclose(gradient, free.grad, atol=1e-6)


def test_principal_axes_leave_the_points_uncorrelated(
    digits: tuple[Representations, Representations],
) -> None:
    train, _ = digits
    standard = softmax.standardisation(train.array)
    values, vectors = spectrum(train.array, standard.mean, standard.inverse, "cpu")
    expected = softmax.principal_axes(standard, train.array).variances
    np.testing.assert_allclose(np.maximum(values, 0), expected, atol=1e-5)
    points = rotated(
        train.array, standard.mean, standard.inverse, vectors.astype(np.float32), "cpu"
    )
    moment = points.astype(np.float64) @ points.T / len(train)
    np.testing.assert_allclose(moment, np.diag(values), atol=1e-4)


def test_few_points_of_many_dimensions_are_probed_there_too() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    array = (3 * np.eye(3, 100)[labels] + rng.normal(size=(60, 100))).astype(np.float32)
    points = Representations(array, np.arange(60).astype(np.str_), labels, ("a", "b", "c"))
    here, there = (
        probe.converged_probe(points, points, grid=(0.1,), device=device)
        for device in ("cpu", STAND_IN)
    )
    np.testing.assert_array_equal(here.predictions, there.predictions)


def test_the_short_probe_takes_the_same_steps(
    digits: tuple[Representations, Representations],
) -> None:
    here, there = short_probe(*digits, epochs=2), short_probe(*digits, epochs=2, device=STAND_IN)
    np.testing.assert_array_equal(here.predictions, there.predictions)


def test_without_torchdr_maps_are_opentsnes(
    digits: tuple[Representations, Representations], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, test = digits
    monkeypatch.setattr(maps, "find_spec", lambda name: None)
    few = test.array[:120]
    np.testing.assert_array_equal(tsne_map(few, device=STAND_IN), tsne_map(few))


def test_torchdrs_map_is_as_good(
    digits: tuple[Representations, Representations],
) -> None:
    pytest.importorskip("torchdr")
    _, test = digits
    few = test.take(np.arange(200))
    assert few.labels is not None
    ours, again = (exact_tsne(few.array, 20.0, 0, "cpu") for _ in range(2))
    theirs = tsne_map(few.array, perplexity=20.0)
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, again)
    for judge in (
        lambda points: class_agreement(points, few.labels, k=5).value,
        lambda points: trustworthiness(few.array, points).value,
    ):
        assert judge(ours) > judge(theirs) - 0.03
