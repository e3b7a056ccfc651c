"""Copies are found at any share of them, and distinct pictures are not taken for copies."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from vicinal.evaluations.duplicates import Duplicates, find_duplicates
from vicinal.representations.representations import Representations

Floats = NDArray[np.float32]


def found(array: NDArray[np.floating]) -> Duplicates:
    return find_duplicates(
        Representations(array.astype(np.float32), np.arange(len(array)).astype(str))
    )


def copied(
    array: NDArray[np.float64], copies: NDArray[np.int64], noise: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The array with so many noisy copies of each row behind it, and each row's original."""
    rng = np.random.default_rng(1)
    again = np.repeat(np.arange(len(array)), copies)
    noisy = array[again] + noise * rng.normal(size=(len(again), array.shape[1]))
    return np.concatenate([array, noisy]), np.concatenate([np.arange(len(array)), again])


def check(array: NDArray[np.float64], copies: NDArray[np.int64], noise: float) -> None:
    whole, original = copied(array, copies, noise)
    pairs = found(whole).pairs
    true = sum(int(c * (c + 1) / 2) for c in copies)
    right = int((original[pairs[:, 0]] == original[pairs[:, 1]]).sum())
    assert right == true
    assert len(pairs) - right <= 0.01 * len(pairs)


@pytest.mark.parametrize("share", [0, 0.005, 0.1, 0.3, 0.4, 0.6, 1])
@pytest.mark.parametrize("dimensions", [8, 64])
def test_every_copy_is_found_at_any_share(share: float, dimensions: int) -> None:
    array = np.random.default_rng(0).normal(size=(200, dimensions))
    check(array, (np.arange(200) < share * 200).astype(np.int64), 0.02)


@pytest.mark.parametrize("pictures", [12, 30, 100])
@pytest.mark.parametrize("largest", [1, 4, 19])
def test_every_copy_is_found_in_groups_of_any_size(pictures: int, largest: int) -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(size=(pictures, 16))
    check(array, rng.integers(1, largest + 1, size=pictures), 0.02)
    check(array, np.full(pictures, largest), 0.02)


def test_what_is_alike_by_nature_is_no_copy() -> None:
    digits = load_digits().data
    assert len(found(digits).pairs) == 0
    rng = np.random.default_rng(0)
    bursts = np.repeat(rng.normal(size=(100, 16)), 10, axis=0) + 0.4 * rng.normal(size=(1000, 16))
    assert len(found(bursts).pairs) == 0
    assert found(digits).warning() is None


def test_a_threshold_that_is_not_sure_says_so() -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(size=(300, 8))
    noise = rng.uniform(0.02, 0.6, size=(150, 1)) * rng.normal(size=(150, 8))
    unsure = found(np.concatenate([array, array[:150] + noise]))
    assert "lie within a quarter of it" in str(unsure.warning())
    tight = np.repeat(rng.normal(size=(20, 2)), 50, axis=0)
    tight += rng.uniform(0.001, 0.3, size=(1000, 1)) * rng.normal(size=(1000, 2))
    assert "tight groups" in str(found(tight).warning())
    whole, _ = copied(array, np.ones(300, np.int64), 0.01)
    assert found(whole).warning() is None
