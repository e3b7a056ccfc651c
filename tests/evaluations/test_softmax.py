"""The classifier behind the probes by its definition, in blocks, and how its penalty is chosen."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from vicinal.evaluations import clusters, collapse, on_gpu, probe, softmax
from vicinal.evaluations.clusters import silhouette
from vicinal.evaluations.probe import converged_probe, short_probe
from vicinal.representations.representations import Representations

Array = NDArray[np.float32]


def spread(count: int, features: int) -> Array:
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(count, features)) @ rng.normal(size=(features, features)) + 5
    return mixed.astype(np.float32)


@pytest.mark.parametrize(("count", "features"), [(30, 4), (5, 8)])
@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_axes_in_blocks_are_those_of_the_correlation(
    count: int, features: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((softmax, "_BLOCK"), (on_gpu, "_ROWS")):
        monkeypatch.setattr(module, name, 7)
    array = spread(count, features)
    standard = softmax.standardisation(array)
    true = (array - array.mean(axis=0, dtype=float)) / array.std(axis=0, dtype=float)
    np.testing.assert_allclose(standard.apply(array), true, atol=1e-5)
    assert standard.apply(array).dtype == np.float32
    axes = softmax.principal_axes(standard, array, device)
    size = min(count, features)
    assert axes.basis.shape == (features, size)
    np.testing.assert_allclose(axes.basis.T @ axes.basis, np.eye(size), atol=1e-5)
    expected = np.linalg.eigvalsh(true.T @ true / count)[-size:]
    np.testing.assert_allclose(axes.variances, np.maximum(expected, 0), atol=1e-4)
    assert (axes.variances >= 0).all()
    points = axes.rotate(standard, array, device)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points, (true @ axes.basis).T, atol=1e-5)


def test_a_constant_dimension_is_0_whatever_rounding_makes_of_its_mean() -> None:
    array = np.full((1000, 2), 0.1, np.float32)
    array[:, 1] = np.arange(1000)
    standard = softmax.standardisation(array)
    assert standard.inverse[0] == 0
    assert standard.inverse[1] == pytest.approx(1 / np.arange(1000).std())


def fitted(rows: slice, **more: Any) -> NDArray[np.float64]:
    array, targets = spread(90, 3), np.arange(90) % 3
    array[:, 0] += 3 * targets
    standard = softmax.standardisation(array)
    axes = softmax.principal_axes(standard, array)
    points = np.ascontiguousarray(axes.rotate(standard, array)[:, rows])
    return softmax.fit_softmax(points, targets[rows], axes.variances, 0.05, **more)


def test_the_optimum_is_scikit_learns_from_wherever_it_starts() -> None:
    array, targets = spread(90, 3), np.arange(90) % 3
    array[:, 0] += 3 * targets
    standard = softmax.standardisation(array)
    axes = softmax.principal_axes(standard, array)
    points = axes.rotate(standard, array)
    weights = fitted(slice(None))
    judge = LogisticRegression(C=1 / (90 * 0.05), tol=1e-10, max_iter=9999).fit(
        points.T.astype(float), targets
    )
    np.testing.assert_allclose(weights[:-1].T, judge.coef_, atol=1e-3)
    biases = weights[-1] - weights[-1].mean()  # a shift of all changes nothing
    np.testing.assert_allclose(biases, judge.intercept_ - judge.intercept_.mean(), atol=1e-3)
    shares = softmax.probabilities(weights, points)
    np.testing.assert_allclose(shares, judge.predict_proba(points.T.astype(float)), atol=1e-3)
    assert shares.dtype == np.float64
    np.testing.assert_array_equal(
        softmax.answers(weights, points), judge.predict(points.T.astype(float))
    )
    again = fitted(slice(None), start=weights + 0.3)
    np.testing.assert_allclose(again[:-1], weights[:-1], atol=1e-3)
    there = fitted(slice(None), device="cpu:0")
    np.testing.assert_allclose(there[:-1], weights[:-1], atol=1e-3)


def test_points_that_are_not_counted_have_no_say() -> None:
    counted = np.arange(90) < 40
    for device in ("cpu", "cpu:0"):
        some = fitted(slice(None), counted=counted, device=device)
        alone = fitted(slice(0, 40))
        np.testing.assert_allclose(some[:-1], alone[:-1], atol=1e-3)


def test_a_loose_tolerance_that_ends_too_early_is_told() -> None:
    with pytest.warns(
        UserWarning, match=r"the probe stopped at a gradient of .* with penalty 0.05"
    ):
        fitted(slice(None), tolerance=0.5)


def images(count: int, labels: NDArray[np.int64]) -> Representations:
    names = tuple("abc")
    return Representations(spread(count, 3), np.arange(count).astype(np.str_), labels, names)


@pytest.mark.parametrize(
    ("holdout", "enough", "folds", "turns"),
    [(0.25, 200, 4, 4), (0.9, 200, 2, 2), (0.25, 12, 4, 1), (0.25, 13, 4, 2), (0.25, 25, 4, 3)],
)
def test_folds_are_held_out_in_turn_until_they_held_enough(
    holdout: float, enough: int, folds: int, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_HELD_OUT", enough)
    labels = np.sort(np.arange(48) % 3)
    told: list[tuple[float, Any, Any, float]] = []
    fit = probe.fit_softmax

    def watched(*given: Any, **more: Any) -> Any:
        told.append((given[3], more.get("counted"), more.get("start"), more.get("tolerance", 1e-5)))
        return fit(*given, **more)

    monkeypatch.setattr(probe, "fit_softmax", watched)
    data = images(48, labels)
    found = converged_probe(data, data, holdout=holdout, grid=(0.01, 1.0, 0.1))
    *chosen, last = told
    assert last == (found.regularisation, None, None, 1e-5)  # all of them, run to its optimum
    assert [one[0] for one in chosen] == [1.0, 0.1, 0.01] * turns
    assert [one[2] is None for one in chosen] == [True, False, False] * turns
    assert {one[3] for one in chosen} == {1e-4}
    held = [~one[1] for one in chosen[::3]]
    assert sum(part.sum() for part in held) == 48 * turns // folds
    assert np.maximum.reduce(held).sum() == 48 * turns // folds  # none is held out twice
    for part in held:
        assert part.sum() == 48 // folds
        each = np.bincount(labels[part], minlength=3)
        assert each.max() - each.min() <= 1  # its part of every class


def test_the_penalty_is_the_one_most_often_right_and_the_strongest_of_equals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = np.arange(48) % 3
    data = images(48, labels)
    right = {1.0: 3, 0.1: 9, 0.01: 9}  # of the 12 that are held out

    def fit(*given: Any, counted: Any = None, **_: Any) -> tuple[float, Any]:
        return given[3], counted

    def answers(weights: tuple[float, Any], points: Array) -> NDArray[np.int64]:
        penalty, counted = weights
        said = labels.copy()
        if counted is not None and points.shape[1] == 48:
            wrong = np.flatnonzero(~counted)[right[penalty] :]
            said[wrong] = (said[wrong] + 1) % 3
            said[counted] = 0 if penalty == 0.01 else labels[counted]  # has no say
        return said

    monkeypatch.setattr(probe, "fit_softmax", fit)
    monkeypatch.setattr(probe, "answers", answers)
    assert converged_probe(data, data, grid=(0.01, 0.1, 1.0)).regularisation == 0.1


def test_results_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    array, assignment = spread(60, 4), np.arange(60) % 3
    wholes = [silhouette(array, assignment, device=device).value for device in ("cpu", "cpu:0")]
    some = silhouette(array, assignment, sample=20).value
    spectrum = collapse.collapse(array).spectrum
    monkeypatch.setattr(clusters, "_TILE", 7)
    monkeypatch.setattr(on_gpu, "_ENTRIES", 7 * 60)
    monkeypatch.setattr(collapse, "_BLOCK", 7)
    for device, whole in zip(("cpu", "cpu:0"), wholes, strict=True):
        blocked = silhouette(array, assignment, device=device).value
        assert blocked == pytest.approx(whole, abs=1e-6)
    assert silhouette(array, assignment, sample=20).value == pytest.approx(some, abs=1e-6)
    np.testing.assert_allclose(collapse.collapse(array).spectrum, spectrum, rtol=1e-9)


def test_a_sampled_silhouettes_interval_ends_where_silhouettes_do() -> None:
    line = np.repeat([0.0, 2.5, 9.0], [40, 10, 50])[:, None].astype(np.float32)
    near = np.repeat([0, 1], 50)
    found = [silhouette(line, near, sample=2, seed=seed) for seed in range(30)]
    found += [silhouette(line, np.arange(100) % 2, sample=40, seed=seed) for seed in range(3)]
    ends = np.array([score.interval for score in found])
    values = np.array([score.value for score in found])
    assert ends.min() >= -1
    assert ends.max() == 1
    free = ends[:, 1] < 1
    assert free[30:].all()
    np.testing.assert_allclose(ends[free].mean(axis=1), values[free])  # as far down as up


def test_the_short_probe_takes_what_a_file_holds_and_leaves_the_callers_draws_alone() -> None:
    data = images(40, np.arange(40) % 3)
    frozen = np.asfortranarray(data.array.astype(np.float64))
    frozen.flags.writeable = False
    held = Representations(frozen, data.ids, data.labels, data.class_names)  # type: ignore[arg-type]
    torch.manual_seed(3)
    drawn = torch.rand(3)
    torch.manual_seed(3)
    one = short_probe(data, data, epochs=3, learning_rate=0.1, batch_size=16)
    assert torch.equal(torch.rand(3), drawn)
    other = short_probe(held, held, epochs=3, learning_rate=0.1, batch_size=16)
    np.testing.assert_array_equal(one.predictions, other.predictions)
    mapped = data.array.copy()  # as a memory map is, of which torch would warn
    mapped.flags.writeable = False
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            short_probe(Representations(mapped, data.ids, data.labels, data.class_names), data)
    finally:
        torch.set_warn_always(False)
    assert not mapped.flags.writeable


def test_the_short_probe_is_torchs_linear_layer_under_adam() -> None:
    data = images(40, np.arange(40) % 3)
    found = short_probe(data, data, epochs=4, learning_rate=0.05, batch_size=16, seed=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        layer = torch.nn.Linear(3, 3)
    adam = torch.optim.Adam(layer.parameters(), lr=0.05)
    points, targets = torch.from_numpy(data.array), torch.from_numpy(data.labels)
    for epoch in range(4):
        order = np.random.default_rng((2, epoch)).permutation(40)
        for batch in (order[:16], order[16:32], order[32:]):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(layer(points[batch]), targets[batch]).backward()
            adam.step()
    np.testing.assert_array_equal(found.predictions, layer(points).argmax(dim=1).numpy())
    assert found.train_accuracy.value == found.accuracy.value
