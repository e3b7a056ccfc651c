"""Measures without labels: a perfect case, one at chance, and plain arithmetic beside."""

import numpy as np
import pytest

from vicinal import InputError
from vicinal.evaluations.own_view import lidar, neighbour_stability, own_view


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_views_that_agree_find_each_other() -> None:
    array = normal(60, 8)
    near = array + 0.01 * normal(60, 8, seed=1)
    found = own_view(array, near)
    assert found.value == 1.0
    assert found.interval == (1.0, 1.0)
    assert neighbour_stability(array, array * 3).value == 1.0  # a length is no direction


def test_views_that_have_nothing_in_common_are_at_chance() -> None:
    found = own_view(normal(500, 8), normal(500, 8, seed=1))
    assert found.chance == 1 / 500
    assert found.value < 0.02
    stable = neighbour_stability(normal(500, 8), normal(500, 8, seed=1), k=10)
    assert stable.value == pytest.approx(stable.chance, abs=0.01)


def test_all_alike_is_not_told_apart() -> None:
    same = np.ones((20, 4), np.float32)
    assert own_view(same, same).value == 0.0
    assert lidar(np.ones((20, 3, 4), np.float32)).value == 0.0


def test_own_view_as_counted_one_by_one() -> None:
    first, second = normal(40, 3), normal(40, 3) + 0.7 * normal(40, 3, seed=1)
    cosine = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in second] for a in first]
    right = [int(np.argmax(row)) == i for i, row in enumerate(cosine)]
    assert 0 < sum(right) < 40
    assert own_view(first, second).value == np.mean(right)


@pytest.mark.parametrize("width", [5, 60])  # fewer and more numbers than views
def test_lidar_is_its_papers_formula(width: int) -> None:
    views = normal(12, 1, width) * np.linspace(0.1, 3, width, dtype=np.float32)
    views = views + 0.3 * normal(12, 4, width, seed=1)
    exact = views.astype(np.float64)
    means = exact.mean(axis=1)
    within = sum(np.outer(e, e) for e in (exact - means[:, None]).reshape(-1, width)) / 48
    between = sum(np.outer(m, m) for m in means - means.mean(axis=0)) / 12
    values, axes = np.linalg.eigh(within + 1e-4 * np.eye(width))
    root = (axes / np.sqrt(values)) @ axes.T
    share = np.linalg.eigvalsh(root @ between @ root).clip(0)
    share = share[share > 1e-12 * share.max()] / share.sum()
    assert lidar(views).value == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-5)


def test_lidar_counts_directions_that_tell_pictures_apart() -> None:
    noise = 0.01 * normal(200, 4, 16, seed=1)
    two = np.zeros((200, 1, 16), np.float32)
    two[:, :, :2] = normal(200, 1, 2)
    assert lidar(two + noise).value == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (lambda: own_view(normal(4, 2), normal(5, 2)), "same two pictures"),
        (lambda: own_view(normal(4, 2) * np.nan, normal(4, 2)), "own view"),
        (lambda: neighbour_stability(normal(4, 2), normal(4, 2), k=4), "k=4"),
        (lambda: lidar(normal(4, 1, 2)), "LiDAR needs"),
    ],
)
def test_what_cannot_be_is_one_line(measure, said: str) -> None:
    with pytest.raises(InputError, match=said):
        measure()
