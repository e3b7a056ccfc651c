"""A picture is found by its id, whatever its position was."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vicinal.runs.pictures import write_pictures


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (8, 3), (32, 3)])
def test_tiles_come_back_by_id(side: int, channels: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (50, side, side, channels), dtype=np.uint8)
    ids = [f"test/{i:03d}" for i in rng.permutation(50)]
    write_pictures(tmp_path, ids, pixels)
    index = pq.read_table(tmp_path / "index.parquet").to_pylist()
    assert {row["id"] for row in index} == set(ids)
    for row in index:
        with Image.open(tmp_path / row["sheet"]) as sheet:
            box = (row["x"], row["y"], row["x"] + row["size"], row["y"] + row["size"])
            tile = np.asarray(sheet.convert("RGB").crop(box))
        expected = pixels[ids.index(row["id"])]
        np.testing.assert_array_equal(tile, np.broadcast_to(expected, (side, side, 3)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_long_picture_has_its_shape_on_white(channels: int, tmp_path: Path) -> None:
    pixels = np.full((3, 32, 32, channels), 50, np.uint8)
    sizes = np.array([[200, 100], [30, 900], [7, 7]], np.int32)
    write_pictures(tmp_path, ["wide", "high", "square"], pixels, sizes)
    shapes = {}
    for row in pq.read_table(tmp_path / "index.parquet").to_pylist():
        with Image.open(tmp_path / row["sheet"]) as sheet:
            tile = np.asarray(
                sheet.convert("L").crop((row["x"], row["y"], row["x"] + 32, row["y"] + 32))
            )
        assert set(np.unique(tile)) <= {50, 255}
        down, across = np.nonzero(tile == 50)
        shapes[row["id"]] = (np.ptp(across) + 1, np.ptp(down) + 1)
        assert abs(across.mean() - 15.5) <= 0.5
        assert abs(down.mean() - 15.5) <= 0.5
    assert shapes == {"wide": (32, 16), "high": (8, 32), "square": (32, 32)}  # a quarter at least


def test_many_tiles_take_several_sheets_of_bounded_size(tmp_path: Path) -> None:
    pixels = np.zeros((5000, 32, 32, 3), np.uint8)
    write_pictures(tmp_path, [str(i) for i in range(5000)], pixels)
    sheets = sorted(tmp_path.glob("sheet-*.webp"))
    assert len(sheets) == 2
    for path in sheets:
        with Image.open(path) as sheet:
            assert max(sheet.size) <= 2048
