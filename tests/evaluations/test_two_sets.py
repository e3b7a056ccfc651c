"""Two sets: p-values uniform on halves of one, small where they differ, and what is new in one."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import kstest
from sklearn.datasets import load_digits

from vicinal.errors import InputError
from vicinal.evaluations import two_sets
from vicinal.evaluations.score import Score
from vicinal.evaluations.two_sets import (
    Comparison,
    New,
    TwoSample,
    new_images,
    two_sample,
)
from vicinal.representations.representations import Representations

IMAGES, LABELS = load_digits(return_X_y=True)
ARRAY = IMAGES.astype(np.float32)


def test_p_values_of_halves_of_one_set_are_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_sets, "_told_apart", lambda *_: None)  # of no consequence here
    rng = np.random.default_rng(0)
    values = []
    for seed in range(150):
        rows = rng.permutation(len(ARRAY))[:160]
        values.append(
            two_sample(ARRAY[rows[:90]], ARRAY[rows[90:]], permutations=99, seed=seed).p_value
        )
    assert kstest(values, "uniform").pvalue > 0.01
    assert np.mean(np.array(values) <= 0.05) < 0.11


def test_the_discrepancy_is_that_of_its_definition() -> None:
    points = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    kernel = two_sets._kernel(points)
    first = np.arange(12) < 5
    within, beyond = kernel[np.ix_(first, first)], kernel[np.ix_(~first, ~first)]
    expected = (
        within.sum() / (5 * 4) + beyond.sum() / (7 * 6) - 2 * kernel[np.ix_(first, ~first)].mean()
    )
    assert two_sets._discrepancy(kernel, first[:, None])[0] == pytest.approx(expected)
    median = np.median(cdist(points, points)[np.triu_indices(12, 1)] ** 2)
    gauss = np.exp(-(cdist(points, points) ** 2) / median)
    np.fill_diagonal(gauss, 0)
    np.testing.assert_allclose(kernel, gauss, rtol=1e-5)


def test_a_missing_class_is_noticed_and_its_pictures_are_named() -> None:
    rows = np.random.default_rng(0).permutation(len(ARRAY))
    known = rows[:900][LABELS[rows[:900]] != 4]
    later = rows[900:]
    test = two_sample(ARRAY[known], ARRAY[later])
    assert test.p_value <= 0.01
    assert test.told_apart.value > 0.52
    new = new_images(ARRAY[later], ARRAY[known])
    flagged = new.p_values <= 0.01
    fours = LABELS[later] == 4
    assert flagged[fours].mean() > 0.3
    assert flagged[~fours].mean() < 0.04
    apart = cdist(ARRAY[later], ARRAY[known])
    assert (apart.argmin(axis=1) == new.nearest).mean() > 0.99
    np.testing.assert_allclose(new.scores, np.sort(apart, axis=1)[:, :2].mean(axis=1), rtol=1e-5)


def test_false_alarms_are_as_few_as_asked_for() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(20):
        known, images = rng.normal(size=(2, 200, 5)).astype(np.float32)
        shares.append((new_images(images, known).p_values <= 0.1).mean())
    assert 0.06 < np.mean(shares) < 0.115


def test_a_picture_that_both_have_is_not_new() -> None:
    assert (new_images(ARRAY[:50], ARRAY).p_values > 0.01).mean() > 0.9
    assert np.isnan(new_images(ARRAY[:5], np.zeros((9, 64), np.float32)).times).all()


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (ARRAY[:1], ARRAY, "at least 2"),
        (ARRAY, np.full_like(ARRAY, np.nan), "NaN"),
    ],
)
def test_what_cannot_be_compared_is_refused(one: np.ndarray, other: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        two_sample(one, other)
    with pytest.raises(InputError, match="at least 3 known"):
        new_images(ARRAY, ARRAY[:2])


@pytest.mark.parametrize(("p_value", "said"), [(0.05, "not alike"), (0.051, "no difference found")])
def test_what_is_found_in_a_few_lines(p_value: float, said: str) -> None:
    a, b = (
        Representations(rows, np.arange(len(rows)).astype(np.str_)) for rows in (ARRAY[:30], ARRAY)
    )
    told_apart = Score("told_apart", 0.625, 0.0, 1.0, "lower", 0.5, 90)
    flagged = np.full(len(ARRAY), 0.5)
    flagged[:7] = 0.01
    new = New(np.zeros(1797, np.float32), np.ones(1797), flagged, np.zeros(1797, np.int64))
    few = New(np.zeros(30, np.float32), np.ones(30), np.ones(30), np.zeros(30, np.int64))
    test = TwoSample(p_value, 0.1, told_apart, (30, 60), 499)
    lines = Comparison(test, (a, b), ("x", "y"), (few, new), 0.01).summary()
    assert lines[0] == (
        f"{said}: p = {p_value} (499 permutations of 30 and 60 pictures); a classifier tells them "
        "apart with AUROC 0.625 (0.5: not at all, 1: always)"
    )
    assert lines[1] == (
        "no picture of B can be flagged at a rate of 0.01: A has only 30 pictures, enough for "
        "0.032 or more"
    )
    assert lines[2] == ("0 of 30 pictures of A are like nothing in B; 0 would be by chance")
    lines = Comparison(test, (b, b), ("x", "y"), (new, new), 0.01).summary()
    assert lines[1] == ("7 of 1,797 pictures of B are like nothing in A; 18 would be by chance")
