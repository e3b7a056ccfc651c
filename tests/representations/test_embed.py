"""Files of embeddings of folders, and what the commands that read them say."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from commands import SETTINGS, answer, refused, table, vicinal


def test_a_folder_of_pictures_keeps_paths_and_takes_strange_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    (tmp_path / "photos").mkdir()
    for i in range(18):
        picture = Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8))
        picture.save(tmp_path / "photos" / (f"{i:02d}.png" if i else "=[red]00.png"))
    asked = ("train", "folder:photos", "--run", "run", "--recipe", "digits", *SETTINGS)
    assert vicinal(*asked, "--set", "views.size=16", cwd=tmp_path).returncode == 0
    asked = ("embed", "folder:photos", "--encoder", "run", "--out", "all.parquet")
    columns = ["id", "path", "width", "height", "aspect_ratio", "representation"]
    assert answer(*asked, cwd=tmp_path)["columns"] == columns
    frame = pd.read_parquet(tmp_path / "all.parquet")
    assert sorted(Path(path).name for path in frame["path"]) == sorted(frame["id"])
    assert all(Path(path).is_file() for path in frame["path"])
    Image.open(tmp_path / "photos" / "07.png").save(tmp_path / "copy.png")
    near = ("similar", "all.parquet", "copy.png", "--k", "3")
    assert "--encoder" in refused(*near, cwd=tmp_path)
    said = answer(*near, "--encoder", "run", "--grid", "grid.png", cwd=tmp_path)
    assert said["found"][0]["id"] == "07.png"
    assert said["found"][0]["distance"] == pytest.approx(0, abs=1e-4)
    inside = answer("similar", "all.parquet", "photos/07.png", cwd=tmp_path)
    assert inside["query"] == "07.png"
    shown = vicinal("anomalies", "all.parquet", "--out", "ranked.csv", cwd=tmp_path)
    assert "=[red]00.png" in shown.stdout
    assert "'=[red]00.png" in {row["id"] for row in table(tmp_path / "ranked.csv")}


def test_what_is_no_embeddings_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no parquet")
    assert "no such file" in refused("cluster", "nowhere.parquet", cwd=tmp_path)
    assert "parquet" in refused("cluster", "text.parquet", cwd=tmp_path)
    pd.DataFrame({"id": ["a"]}).to_parquet(tmp_path / "bare.parquet")
    assert "representation" in refused("cluster", "bare.parquet", cwd=tmp_path)
    assert "image" in refused("duplicates", "bare.parquet", cwd=tmp_path)  # it takes pictures too
    lists = pd.DataFrame({"id": list("abcde"), "representation": [[i, 0.5] for i in range(5)]})
    lists.to_parquet(tmp_path / "lists.parquet")  # another tool's: lists of float64
    assert answer("duplicates", "lists.parquet", cwd=tmp_path)["pairs"] == []


def test_bad_pictures_are_listed_beside_what_is_written(tmp_path: Path) -> None:
    for number in range(12):
        path = tmp_path / "photos" / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        if number in (3, 7):
            path.write_bytes(b"no picture")
        else:
            Image.new("L", (8, 8), 20 * number).save(path)
    settings = [*SETTINGS, "--recipe", "digits"]
    done = vicinal("train", "folder:photos", "--run", "run", *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 pictures skipped, see run/skipped.csv" in done.stderr
    wanted = [
        {"path": f"photos/{number}.png", "reason": "not an image of a known format"}
        for number in ("03", "07")
    ]
    assert sorted(table(tmp_path / "run" / "skipped.csv"), key=str) == wanted
    made = ("embed", "folder:photos", "--encoder", "run", "--out", "all.parquet")
    said = vicinal(*made, "--json", cwd=tmp_path)
    assert json.loads(said.stdout)["images"] == 10
    assert "2 pictures skipped, see all.skipped.csv" in said.stderr
    assert table(tmp_path / "all.skipped.csv") == wanted
    (tmp_path / "photos" / "03.png").unlink()
    (tmp_path / "photos" / "07.png").unlink()
    (tmp_path / "all.parquet").unlink()
    assert "skipped" not in vicinal(*made, cwd=tmp_path).stderr
    assert table(tmp_path / "all.skipped.csv") == []
