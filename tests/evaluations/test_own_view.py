import numpy as np
import pytest
from sklearn.datasets import load_digits

from vicinal.errors import InputError
from vicinal.evaluations.own_view import own_view, views_of


def test_equal_views_are_found_and_shuffled_ones_are_not() -> None:
    array = np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32)
    perfect = own_view(array, 3 * array)
    assert perfect.value == 1
    assert perfect.chance == 1 / 200
    assert own_view(array, array[::-1]).value == 0


def test_unrelated_views_are_found_by_chance_and_a_collapse_finds_nothing() -> None:
    first, second = np.random.default_rng(0).standard_normal((2, 400, 16)).astype(np.float32)
    assert own_view(first, second).value < 0.02
    assert own_view(np.ones_like(first), np.ones_like(second)).value == 0


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        own_view(np.full((3, 2), np.nan, np.float32), np.ones((3, 2), np.float32))


def test_views_of_pictures_are_pictures_that_pixels_know_again() -> None:
    digits = (load_digits().images[:100] * 15).astype(np.uint8)[..., None]
    first, second = views_of(digits)
    assert first.shape == second.shape == digits.shape
    assert first.dtype == np.uint8
    assert not np.array_equal(first, second)
    found = own_view(*(v.reshape(100, -1).astype(np.float32) for v in (first, second)))
    assert found.value > 0.05  # five times chance
