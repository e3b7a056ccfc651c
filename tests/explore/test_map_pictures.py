import numpy as np

from vicinal.explore.map_pictures import map_trust
from vicinal.representations.neighbours import nearest


def clusters() -> np.ndarray:
    """Three far apart heaps of 50 points in 8 dimensions."""
    generator = np.random.default_rng(0)
    centres = 20 * np.eye(8, dtype=np.float32)[np.repeat([0, 1, 2], 50)]
    return centres + generator.normal(size=(150, 8)).astype(np.float32)


def test_the_true_positions_are_trusted_and_random_ones_are_not() -> None:
    array = clusters()
    near = nearest(array, array, 10, exclude_self=True)
    plane = np.random.default_rng(1).normal(size=(150, 2)).astype(np.float32)
    assert map_trust(array, plane, near).mean() < 0.1
    assert (
        map_trust(
            array[:, :2], array[:, :2], nearest(array[:, :2], array[:, :2], 10, exclude_self=True)
        ).min()
        > 0.999
    )


def test_a_point_put_among_strangers_is_found() -> None:
    array = clusters()
    near = nearest(array, array, 10, exclude_self=True)
    plane = array[:, :2] + np.float32([0, 0])
    plane[100:] = array[100:, 2:4]  # the third heap has a place of its own
    plane[100:, 1] += 40
    before = map_trust(array, plane, near)
    plane[0] = plane[60]
    after = map_trust(array, plane, near)
    assert before[0] > 0.8
    assert after[0] < 0.1
    assert np.abs(after[100:] - before[100:]).max() == 0


def test_equal_pictures_cannot_be_misplaced() -> None:
    array = np.ones((12, 4), np.float32)
    near = nearest(array, array, 5, exclude_self=True)
    plane = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    assert (map_trust(array, plane, near) == 1).all()
