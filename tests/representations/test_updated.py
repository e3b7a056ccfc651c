"""Neighbours brought up to date are those of a search of all among all."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from vicinal.representations.neighbours import nearest_and_farthest, updated_neighbours


@pytest.mark.parametrize(
    ("held", "gone", "new"), [(700, 0, 40), (700, 3, 40), (700, 5, 0), (6, 0, 9), (30, 20, 200)]
)
def test_merged_lists_are_those_of_a_full_search(held: int, gone: int, new: int) -> None:
    digits = load_digits().data.astype(np.float32)[:, ::4]  # small integers: many ties and copies
    generator = np.random.default_rng(0)
    old = digits[:held]
    near, far = nearest_and_farthest(old, old, min(10, held - 1), exclude_self=True)
    kept = generator.permutation(held)[: held - gone]
    order = generator.permutation(held - gone + new)
    origin = np.concatenate([np.sort(kept), np.full(new, -1)])
    array = np.concatenate([old[np.sort(kept)], digits[held : held + new]])
    # Files are in the order of their names: new ones anywhere, old ones in the order they had.
    place = np.sort(order[: len(kept)])
    rows = np.full(len(order), -1)
    rows[place] = np.arange(len(kept))
    rows[rows < 0] = len(kept) + np.arange(new)
    array, origin = array[rows], origin[rows]
    k = (min(10, len(array) - 1), min(5, len(array) - 1))
    found = updated_neighbours(array, origin, near, far, k)
    expected = nearest_and_farthest(array, array, k[0], exclude_self=True)
    for one, other, count in zip(found, expected, k, strict=True):
        np.testing.assert_array_equal(one.indices, other.indices[:, :count])
        np.testing.assert_array_equal(one.distances, other.distances[:, :count])
