"""Sizes and shapes of the originals: columns, and a reason why a picture is odd."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vicinal.evaluations.two_sets import compare_sets
from vicinal.explore import show_two_sets
from vicinal.explore.reasons import odd_shapes, reasons
from vicinal.files import read_json
from vicinal.representations.representations import Representations


def many(width: int, height: int, *others: tuple[int, int]) -> np.ndarray:
    return np.array([(width, height)] * 200 + list(others), np.int32)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ((1800, 270), "wide"),
        ((270, 1800), "tall"),
        ((40, 30), "small"),
        ((4000, 3000), "large"),
        ((80, 10), "small and wide"),
    ],
)
def test_the_odd_one_is_said(other, words):
    said = odd_shapes(many(800, 600, other), 201)
    assert said[:200] == [""] * 200
    width, height = other
    assert said[200] == (
        f"It is unusually {words}: {width:,} × {height:,} pixels, usual here are 800 × 600."
    )


def test_a_panorama_among_upright_and_lying_pictures():
    sizes = np.concatenate([many(800, 600), many(600, 800), [[4000, 500]]]).astype(np.int32)
    assert [row for row, text in enumerate(odd_shapes(sizes, 401)) if "wide" in text] == [400]


def test_nothing_is_odd_where_all_differ_or_nobody_knows():
    drawn = np.random.default_rng(0).integers(300, 900, (300, 2)).astype(np.int32)
    assert odd_shapes(drawn, 300) == [""] * 300
    assert odd_shapes(many(32, 32), 200) == [""] * 200
    assert odd_shapes(None, 3) == [""] * 3


def test_a_shape_is_a_reason():
    said = reasons(
        np.ones(4, np.float32),
        np.ones(4),
        [[]] * 4,
        np.zeros(4, np.int64),
        ["", "", "", "It is unusually wide."],
    )
    assert said[3].endswith(" It is unusually wide.")
    assert "unusually" not in said[0]


def test_sizes_are_columns_of_embeddings(tmp_path):
    ids = np.array(["a", "b"])
    sizes = np.array([[400, 300], [50, 100]], np.int32)
    held = Representations(np.ones((2, 3), np.float32), ids, sizes=sizes)
    held.save(tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column_names == held.table_columns()
    assert table.column("width").to_pylist() == [400, 50]
    assert table.column("aspect_ratio").to_pylist() == pytest.approx([4 / 3, 0.5])
    np.testing.assert_array_equal(Representations.load(tmp_path / "a.parquet").sizes, sizes)


def test_two_sets_of_long_pictures_are_held_against_each_other_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [f"{number:02}.png" for number in range(24)]
    sets = []
    for name in "AB":
        (tmp_path / name).mkdir()
        for one in ids:
            noise = rng.integers(0, 256, (2, 8, 3), dtype=np.uint8)
            picture = Image.fromarray(noise).resize((400, 100), Image.Resampling.NEAREST)
            picture.save(tmp_path / name / one)
        paths = np.array([str(tmp_path / name / one) for one in ids])
        array = rng.standard_normal((24, 8)).astype(np.float32)
        sizes = np.full((24, 2), (400, 100), np.int32)
        sets.append(Representations(array, np.array(ids), paths=paths, sizes=sizes))
    found = compare_sets(*sets, permutations=99)
    show_two_sets(found, tmp_path / "page")
    figures = read_json(tmp_path / "page" / "explore.json")
    assert figures["duplicates"]["pairs"] == 0  # not all of them alike by margins that were added
    assert figures["data"]["whole"]
