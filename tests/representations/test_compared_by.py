"""Representations that are compared by cosine, and whose length tells odd pictures."""

from pathlib import Path

import numpy as np
import pytest

from vicinal.errors import InputError
from vicinal.evaluations.anomalies import rank_anomalies
from vicinal.evaluations.duplicates import find_duplicates
from vicinal.evaluations.groups import group
from vicinal.evaluations.maps import map_of
from vicinal.evaluations.retrieval import similar
from vicinal.evaluations.selection import select_pictures
from vicinal.explore.compare_pictures import compare_pictures
from vicinal.representations.build_index import build_index
from vicinal.representations.neighbours import unit_length
from vicinal.representations.pairing import load_with
from vicinal.representations.representations import Representations

COUNT = 120
COSINE = {"neighbours": "cosine"}


def of(array: np.ndarray, **origin: str) -> Representations:
    return Representations(array, np.array([f"{row:03d}" for row in range(COUNT)]), origin=origin)


@pytest.fixture
def array() -> np.ndarray:
    """Rows of very different lengths, of which the last is far from all others."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(COUNT, 8)) * rng.uniform(0.5, 2, size=(COUNT, 1))
    rows[-1] *= 10
    return rows.astype(np.float32)


def test_all_but_oddness_is_as_of_rows_of_unit_length(array: np.ndarray) -> None:
    by_cosine, unit = of(array, **COSINE), of(unit_length(array))
    np.testing.assert_array_equal(by_cosine.as_compared().array, unit.array)
    for query in ("000", "119"):
        found, expected = similar(by_cosine, query), similar(unit, query)
        np.testing.assert_array_equal(found.rows, expected.rows)
        assert found.rows.tolist() != similar(of(array), query).rows.tolist()
    np.testing.assert_array_equal(group(by_cosine, 4).assignment, group(unit, 4).assignment)
    np.testing.assert_array_equal(map_of(by_cosine, "pca").points, map_of(unit, "pca").points)
    assert find_duplicates(by_cosine).threshold == find_duplicates(unit).threshold
    chosen = [select_pictures(one, 10) for one in (by_cosine, unit)]
    np.testing.assert_array_equal(chosen[0].rows, chosen[1].rows)


def test_oddness_is_told_by_length_too(array: np.ndarray, tmp_path: Path) -> None:
    by_cosine = of(array, **COSINE)
    ranked = rank_anomalies(by_cosine)
    np.testing.assert_array_equal(ranked.scores, rank_anomalies(of(array)).scores)
    assert ranked.order[0] == COUNT - 1
    pixels = np.random.default_rng(1).integers(0, 256, (COUNT, 8, 8, 1), np.uint8)
    columns, _ = compare_pictures(by_cosine, pixels, tmp_path, false_alarms=0.05)
    assert columns["rank"].to_numpy()[-1] == 1
    unit, _ = compare_pictures(of(unit_length(array)), pixels, tmp_path, false_alarms=0.05)
    assert columns["neighbors"] == unit["neighbors"]
    assert columns["farthest"] == unit["farthest"]


def test_an_index_is_of_rows_as_they_are_compared(array: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("faiss", reason="an index needs faiss-cpu")
    by_cosine = of(array, **COSINE, encoder_sha256="abc")
    by_cosine.save(tmp_path / "all.parquet")
    build_index(tmp_path / "all.parquet", tmp_path / "index")
    whole, index = load_with(tmp_path / "all.parquet", tmp_path / "index")
    np.testing.assert_array_equal(whole.as_compared().array, unit_length(array))
    found, expected = similar(whole, "007", index=index), similar(by_cosine, "007")
    np.testing.assert_array_equal(found.rows, expected.rows)
    with pytest.raises(InputError, match="by cosine, and by this encoder odd ones are told by L2"):
        rank_anomalies(whole, index=index)
