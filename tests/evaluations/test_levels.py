"""The level that is shown first: the true one where there is one, and each measure's bounds."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from vicinal.evaluations import groups
from vicinal.evaluations.groups import grow_tree, level_scores, modularity, repeatability
from vicinal.representations.neighbours import nearest


def blobs(sizes: list[int], apart: float, dimension: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(len(sizes))
    truth = np.repeat(np.arange(len(sizes)), sizes)
    middle = rng.normal(size=(len(sizes), dimension)) * apart
    return (middle[truth] + rng.normal(size=(len(truth), dimension))).astype(np.float32), truth


@pytest.mark.parametrize(("sizes", "apart"), [([60] * 9, 2.0), ([200, 150, 100, 50, 25], 20.0)])
def test_the_level_of_well_separated_groups_is_best(sizes: list[int], apart: float) -> None:
    array, truth = blobs(sizes, apart)
    tree = grow_tree(array)
    scores = level_scores(tree)
    assert max(scores, key=lambda count: scores[count]) == len(sizes)
    assert adjusted_mutual_info_score(tree.level(len(sizes)), truth) == pytest.approx(1)
    assert scores == level_scores(tree)  # the same seed


def test_modularity_is_newmans() -> None:
    near = np.array([[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4]])
    assert modularity(np.array([0, 0, 0, 1, 1, 1]), near) == pytest.approx(0.5)
    assert modularity(np.zeros(6, np.int64), near) == 0
    assert modularity(np.array([0, 1, 0, 1, 0, 1]), near) < 0
    array, _ = blobs([500], 1.0)
    chance = np.random.default_rng(1).integers(0, 10, 500)
    neighbours = nearest(array, array, 10, exclude_self=True).indices
    assert abs(modularity(chance, neighbours)) < 0.03


def test_groups_of_noise_do_not_repeat_and_groups_that_are_there_do() -> None:
    array, _ = blobs([300], 1.0, dimension=40)
    noise = repeatability(array)
    assert max(value for count, value in noise.items() if count <= 20) < 0.35
    array, _ = blobs([60] * 3, 5.0)
    assert repeatability(array)[3] == pytest.approx(1)


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_few_images_still_have_a_level(count: int) -> None:
    array = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    scores = level_scores(grow_tree(array))
    assert 2 in scores
    assert all(0 <= value <= 1 and number <= count for number, value in scores.items())


def test_levels_are_compared_on_a_draw_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_DRAWN", 150)
    array, _ = blobs([100] * 4, 3.0)
    scores = level_scores(grow_tree(array))
    assert max(scores, key=lambda count: scores[count]) == 4
