"""Copies are found at any share of them, and distinct pictures are not taken for copies."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from vicinal.evaluations.duplicates import (
    Duplicates,
    _Law,
    _most,
    _within_gap,
    find_duplicates,
)
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


def test_a_threshold_moves_into_a_gap_that_chance_explains() -> None:
    """Behind the gap lie as many pairs as five times what chance has there, or fewer."""
    apart = np.array([2.0, 2.2, 2.5, 8.0, 9.0])
    middle = np.sqrt(2.5 * 8.0)
    moved, chance = _within_gap(10.0, 1.0, 2.0, apart)
    assert moved == pytest.approx(middle)
    assert chance == pytest.approx((middle / 10) ** 2)
    assert _within_gap(10.0, 0.1, 2.0, apart) == (10.0, 0.1)  # chance explains none of them
    even = np.array([4.0, 5.0, 6.0, 7.0, 8.0])
    assert _within_gap(10.0, 1.0, 2.0, even) == (10.0, 1.0)  # there is no gap
    assert _within_gap(10.0, 1.0, 2.0, np.array([4.0, 6.0])) == (10.0, 1.0)  # 1.5 times: none yet
    assert _within_gap(0.5, 1.0, 2.0, apart) == (0.5, 1.0)  # nothing is so near
    first = _within_gap(10.0, 9.0, 1.0, np.array([1.0, 2.0, 2.1, 9.0]))
    assert first[0] == pytest.approx(np.sqrt(2.0))  # into the first of two gaps


def test_as_many_pairs_are_allowed_as_are_a_hundredth_of_those_found() -> None:
    # One pair by chance up to 1, growing as the square; 400 pairs at .3 and 100 at .9.
    law = _Law(share=1 / (1000 * 999 / 2), at=1.0, slope=2.0)
    apart = np.concatenate([np.full(400, 0.3), np.full(100, 0.9), np.full(50, 2.0)])
    distance, chance = _most(law, apart, 1000)
    # 500 found allow 5 by chance: all up to where the law holds.
    assert (distance, chance) == (1.0, pytest.approx(1.0))
    distance, chance = _most(law, apart[:20], 1000)
    assert chance == pytest.approx(0.2)
    assert distance == pytest.approx(0.2**0.5)
    distance, chance = _most(law, np.array([0.5, 0.6]), 1000)
    assert (distance, chance) == (pytest.approx(0.1**0.5), 0.1)  # a tenth of a pair at least
