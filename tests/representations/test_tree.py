"""The tree of groups beside SciPy's, and what must hold at every level."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from vicinal.evaluations.groups import DIMENSIONS, distances_to_mean, grow_tree


@pytest.mark.parametrize("count", [2, 3, 40, 260])
def test_it_is_wards_tree_where_every_image_is_a_centre(count: int) -> None:
    array = np.random.default_rng(count).normal(size=(count, 7)).astype(np.float32)
    tree, theirs = grow_tree(array), linkage(array, "ward")
    assert len(tree) == min(count, 100)
    for level in range(1, len(tree) + 1):
        groups = tree.level(level)
        assert set(groups.tolist()) == set(range(level))
        assert adjusted_rand_score(groups, fcluster(theirs, level, "maxclust")) == 1
    heights = theirs[::-1, 2][: len(tree) - 1]  # Ward's distance: the root of twice the cost
    np.testing.assert_allclose(tree.saved[1:], heights**2 / 2, rtol=1e-4)


def test_an_image_that_is_there_thrice_counts_thrice() -> None:
    array = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    array = np.concatenate([array, array[:30], array[:10]])
    tree, theirs = grow_tree(array), linkage(array, "ward")
    assert len(tree) == 60
    for level in range(2, 60):
        assert adjusted_rand_score(tree.level(level), fcluster(theirs, level, "maxclust")) == 1
    np.testing.assert_array_equal(tree.finest[:30], tree.finest[60:90])


def test_a_split_leaves_its_larger_part_the_number() -> None:
    digits = load_digits().data.astype(np.float32)
    tree = grow_tree(digits)
    assert tree.points.shape == (1797, DIMENSIONS)
    assert np.all(tree.parents[1:] < np.arange(1, 100))
    assert np.all(np.diff(tree.saved[1:]) <= 1e-6)
    for level in (1, 2, 9, 60):
        coarse, fine = tree.level(level), tree.level(level + 1)
        changed = coarse != fine
        assert set(fine[changed].tolist()) == {level}
        assert set(coarse[changed].tolist()) == {tree.parents[level]}
        assert 2 * changed.sum() <= (coarse == tree.parents[level]).sum()


def test_typical_images_are_the_nearest_to_the_mean_at_every_level() -> None:
    digits = load_digits().data[:300].astype(np.float32)
    tree = grow_tree(digits)
    typical = tree.typical(digits, 4)
    for level in (1, 2, 10, 37, 100):
        groups = tree.level(level)
        for group in range(level):
            rows = np.flatnonzero(groups == group)
            apart = np.linalg.norm(digits[rows] - digits[rows].mean(axis=0), axis=1)
            held = [shown for first, shown in typical[group] if first <= level][-1]
            np.testing.assert_allclose(
                np.sort(distances_to_mean(digits[rows]))[: len(held)], np.sort(apart)[:4], rtol=1e-4
            )
            assert set(held.tolist()) <= set(rows.tolist())


def test_a_typical_image_is_shown_once_however_many_copies_it_has() -> None:
    digits = load_digits().data[:60].astype(np.float32)
    copied = np.repeat(digits, 3, axis=0)
    tree = grow_tree(copied, finest=10)
    for group, found in enumerate(tree.typical(copied, 4)):
        for level, rows in found:
            members = np.flatnonzero(tree.level(level) == group)
            assert len(rows) == len(np.unique(rows // 3)) == min(4, len(np.unique(members // 3)))


def test_more_directions_than_are_kept_lose_little_and_a_seed_gives_the_same() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 5, 700)
    array = rng.normal(size=(5, 300))[truth] + rng.normal(size=(700, 300)) * 0.3
    tree, again = grow_tree(array.astype(np.float32)), grow_tree(array.astype(np.float32))
    assert tree.points.shape == (700, DIMENSIONS)
    assert adjusted_rand_score(tree.level(5), truth) == 1
    np.testing.assert_array_equal(tree.finest, again.finest)


def test_as_many_groups_as_are_asked_for() -> None:
    array = np.random.default_rng(1).normal(size=(900, 4)).astype(np.float32)
    assert len(grow_tree(array, finest=300)) == 300
    assert len(grow_tree(array[:290], finest=300)) == 290


def test_images_that_are_all_alike_are_one_group() -> None:
    tree = grow_tree(np.ones((20, 100), np.float32))
    assert len(tree) == 1
    assert set(tree.level(1).tolist()) == {0}
