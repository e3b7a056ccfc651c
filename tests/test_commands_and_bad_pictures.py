"""What commands say of pictures that cannot be used."""

from pathlib import Path

import numpy as np
from PIL import Image

from commands import answer, table, vicinal


def pictures(folder: Path, bad: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(len(folder.name))
    for number in range(30):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{number:02}.png")
    for number in range(bad):
        (folder / f"bad{number}.png").write_bytes(b"no picture")
    return folder


def test_duplicates_tells_what_it_could_not_read(tmp_path: Path) -> None:
    some, other = pictures(tmp_path / "some", 7), pictures(tmp_path / "other", 1)
    said = vicinal("duplicates", some, cwd=tmp_path).stderr
    assert f"skipped: {some}/bad0.png: not an image of a known format" in said
    assert "skipped: 2 pictures more; --out PAIRS.csv lists all beside it" in said
    said = vicinal("duplicates", some, "--out", "pairs.csv", cwd=tmp_path).stderr
    assert "7 pictures skipped, see pairs.skipped.csv" in said
    assert len(table(tmp_path / "pairs.skipped.csv")) == 7
    assert len(answer("duplicates", some, cwd=tmp_path)["skipped"]) == 7
    assert len(answer("duplicates", some, "--against", other, cwd=tmp_path)["skipped"]) == 8
