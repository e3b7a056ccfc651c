from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from vicinal.errors import InputError
from vicinal.representations import neighbours
from vicinal.representations import neighbours as module
from vicinal.representations.neighbours import nearest, nearest_and_farthest, unit_length

Points = NDArray[np.float32]


def brute_force(queries: Points, gallery: Points, k: int, exclude_self: bool, sign: int):
    """Indices and distances by float64 subtraction, ties by index: the definition."""
    difference = queries[:, None].astype(np.float64) - gallery[None].astype(np.float64)
    keys = sign * (difference**2).sum(axis=2)
    if exclude_self:
        np.fill_diagonal(keys, np.inf)
    order = np.argsort(keys, axis=1, kind="stable")[:, :k]
    return order, np.sqrt(sign * np.take_along_axis(keys, order, axis=1))


def assert_exact(queries: Points, gallery: Points, k: int, exclude_self: bool = False) -> None:
    both = nearest_and_farthest(queries, gallery, k, exclude_self=exclude_self)
    alone = nearest(queries, gallery, k, exclude_self=exclude_self)
    np.testing.assert_array_equal(alone.indices, both[0].indices)
    np.testing.assert_array_equal(alone.distances, both[0].distances)
    for found, sign in zip(both, (1, -1), strict=True):
        index, distance = brute_force(queries, gallery, k, exclude_self, sign)
        np.testing.assert_allclose(found.distances, distance, rtol=1e-6)
        np.testing.assert_array_equal(found.indices, index)
        assert found.indices.dtype == np.int64
        assert found.distances.dtype == np.float32


@st.composite
def searches(draw: st.DrawFn) -> tuple[Points, Points, int]:
    seed, count = draw(st.integers(0, 2**32 - 1)), draw(st.integers(2, 60))
    features = draw(st.integers(1, 12))
    generator = np.random.default_rng(seed)
    points = generator.standard_normal((count + 7, features)) * draw(
        st.sampled_from([1e-22, 1e-3, 1.0, 1e4])
    )
    if draw(st.booleans()):
        points = points[generator.integers(0, count, size=len(points))]  # duplicates
    points += draw(st.sampled_from([0.0, 1e3]))
    points = points.astype(np.float32)
    return points[:7], points[7:], draw(st.integers(1, count - 1))


@settings(max_examples=150, deadline=None)
@given(searches())
def test_ranks_as_float64_subtraction_does(search: tuple[Points, Points, int]) -> None:
    queries, gallery, k = search
    assert_exact(queries, gallery, k)
    assert_exact(gallery, gallery, k, exclude_self=True)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 25))
def test_agrees_with_scikit_learn(seed: int, features: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    gallery = generator.standard_normal((200, features)).astype(np.float32)
    queries = generator.standard_normal((30, features)).astype(np.float32)
    outside = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(gallery.astype(np.float64))
    distance, index = outside.kneighbors(queries.astype(np.float64))
    found = nearest(queries, gallery, k)
    np.testing.assert_array_equal(found.indices, index)
    np.testing.assert_allclose(found.distances, distance, rtol=1e-5, atol=1e-6)


def near_duplicates(generator: np.random.Generator) -> Points:
    """Clusters so tight, far from the origin and each other, that float32 cannot expand them."""
    centres = generator.integers(-4, 5, size=(4, 16)) * 500.0 + 1000
    points = np.repeat(centres, 60, axis=0) + generator.standard_normal((240, 16)) * 1e-2
    return points.astype(np.float32)


def planes(generator: np.random.Generator) -> Points:
    """A collapsed encoder's representations: two directions and next to nothing else."""
    plane = generator.standard_normal((400, 2)) @ generator.standard_normal((2, 32))
    return (plane + 1e-6 * generator.standard_normal((400, 32))).astype(np.float32)


def constants(generator: np.random.Generator) -> Points:
    return np.full((300, 8), generator.standard_normal(), dtype=np.float32)


def grid(generator: np.random.Generator) -> Points:
    """More equal distances than there are spare candidates."""
    return generator.integers(0, 3, size=(400, 4)).astype(np.float32)


@pytest.mark.parametrize("make", [near_duplicates, planes, constants, grid])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_exact_where_float32_cannot_tell(
    make: Callable[[np.random.Generator], Points], k: int
) -> None:
    points = make(np.random.default_rng(0))
    assert_exact(points[:50], points, k)
    assert_exact(points, points, k, exclude_self=True)


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    points = near_duplicates(np.random.default_rng(1))
    whole = nearest_and_farthest(points, points, 5, exclude_self=True)
    for read in (module, neighbours):
        monkeypatch.setattr(read, "BLOCK", 600)  # two or three rows of 240
    blocked = nearest_and_farthest(points, points, 5, exclude_self=True)
    for one, other in zip(whole, blocked, strict=True):
        np.testing.assert_array_equal(one.indices, other.indices)
        np.testing.assert_array_equal(one.distances, other.distances)


@settings(max_examples=100, deadline=None)
@given(
    columns=st.integers(1, 700),
    count=st.integers(1, 30),
    levels=st.sampled_from([3, 50, 10**6]),
    end=st.sampled_from(["nearest", "farthest"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_groups_hold_the_extremes_of_their_rows(
    columns: int, count: int, levels: int, end: module.End, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    rough = generator.integers(0, levels, size=(5, columns)).astype(np.float32)
    rough[0, generator.integers(columns)] = np.inf  # as a row itself is marked
    count = min(count, columns)
    last, where = module._extremes(torch.from_numpy(rough), count, end)
    ordered = np.sort(rough, axis=1)[:, :: -1 if end == "farthest" else 1][:, :count]
    np.testing.assert_array_equal(last, ordered[:, -1])
    assert all(len(set(row)) == count for row in where.tolist())
    found = np.take_along_axis(rough, where.numpy(), axis=1)
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(ordered, axis=1))


def test_many_columns_rank_as_scikit_learn_does() -> None:
    generator = np.random.default_rng(0)
    gallery = generator.standard_normal((5_003, 8)).astype(np.float32)
    for k, exclude_self in ((1, False), (5, True), (40, True)):
        asked = gallery if exclude_self else gallery[:50] + 1
        found = nearest(asked, gallery, k, exclude_self=exclude_self)
        judge = NearestNeighbors(n_neighbors=k + exclude_self, algorithm="brute")
        distance, index = judge.fit(gallery.astype(np.float64)).kneighbors(asked)
        np.testing.assert_array_equal(found.indices, index[:, exclude_self:])
        np.testing.assert_allclose(found.distances, distance[:, exclude_self:], rtol=1e-4)


def test_the_bound_of_rounding_is_highams() -> None:
    single = neighbours.rounding(np.array([3.0, 0.0], np.float32), 10, np.float32)
    np.testing.assert_allclose(single, 26 * (np.array([9, 0]) * 2.0**-24 + 2.0**-126), rtol=1e-12)
    double = neighbours.rounding(np.array([3.0]), 10, np.float64)
    np.testing.assert_allclose(double, 26 * 9 * 2.0**-53, rtol=1e-12)
    centre, rows = np.array([1.0, 2.0]), np.array([[4, 6], [1, 2]], np.float32)
    rough, error = neighbours.rough_float64(np.array([[0.0, 5.0]]), rows, centre)
    np.testing.assert_allclose(rough, [[9 + 1, 25]])  # from (1, 7) to (4, 6) and (1, 2)
    np.testing.assert_allclose(error, 18 * (5 + 5) ** 2 * 2.0**-53, rtol=1e-12)


def test_a_row_is_dropped_by_its_index_and_its_duplicate_kept() -> None:
    points = np.array([[1.0, 2], [5, 5], [1, 2], [9, 9]], dtype=np.float32)
    alone = nearest(points, points, 1, exclude_self=True)
    assert alone.indices[:, 0].tolist() == [2, 0, 0, 1]
    assert alone.distances[[0, 2], 0].tolist() == [0, 0]
    with_self = nearest(points, points, 1)
    assert with_self.indices[:, 0].tolist() == [0, 1, 0, 3]  # of two at distance 0, the first


def test_read_only_and_strided_arrays_are_welcome() -> None:
    points = np.random.default_rng(0).standard_normal((40, 6))
    expected = nearest(points.astype(np.float32), points.astype(np.float32), 3)
    frozen = points.astype(np.float32)
    frozen.flags.writeable = False
    strided = np.repeat(points.astype(np.float32), 2, axis=1)[:, ::2]
    for other in (frozen, strided, np.asfortranarray(points.astype(np.float32))):
        np.testing.assert_array_equal(nearest(other, other, 3).indices, expected.indices)


def test_no_queries_have_no_neighbours() -> None:
    found = nearest(np.empty((0, 3), np.float32), np.ones((4, 3), np.float32), 2)
    assert found.indices.shape == found.distances.shape == (0, 2)


def test_unit_length_has_length_one_and_leaves_zeros() -> None:
    unit = unit_length(np.array([[3, 4], [0, 0], [1e-30, 0]], dtype=np.float32))
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0, 0], [1, 0]], rtol=1e-6)
    assert unit.dtype == np.float32


POINTS = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    ("queries", "gallery", "k", "exclude_self", "message"),
    [
        (POINTS, POINTS, 3, False, "k=3 neighbours but only 2 images: lower k"),
        (POINTS, POINTS, 2, True, "k=2 neighbours but only 1 images beside the query itself"),
        (POINTS, POINTS, 0, False, "k=0 must be at least 1"),
        (POINTS, POINTS[:, :2], 1, False, "as many features"),
        (POINTS[0], POINTS, 1, False, "as many features"),
        (POINTS[:, :0], POINTS[:, :0], 1, False, "as many features"),
        (POINTS[:1], POINTS, 1, True, "1 queries are not the gallery's 2 rows"),
        (POINTS * np.nan, POINTS, 1, False, "queries have values that are not finite"),
        (POINTS, POINTS + np.inf, 1, False, "gallery have values that are not finite"),
    ],
)
def test_refuses_in_one_line(
    queries: Points, gallery: Points, k: int, exclude_self: bool, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        nearest(queries, gallery, k, exclude_self=exclude_self)
    assert "\n" not in str(caught.value)
