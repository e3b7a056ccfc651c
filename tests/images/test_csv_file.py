import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vicinal.errors import InputError
from vicinal.file_names import as_text
from vicinal.files import write_csv
from vicinal.images import csv_file, load, load_parts
from vicinal.images.decoding import Decoding


def pictures(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 10 * number).save(path, "PNG")


def test_paths_are_relative_to_the_file_and_labels_are_classes(tmp_path: Path, monkeypatch):
    names = [f"deep/{number}.png" for number in range(10)]
    pictures(tmp_path / "set", *names)
    labels = ["dog" if number % 2 else "cat" for number in range(10)]
    rows = zip(names, ["x"] * 10, labels, strict=True)
    write_csv(tmp_path / "set" / "pets.csv", ["path", "other", "label"], rows)
    monkeypatch.chdir(tmp_path)
    splits = load("csv:set/pets.csv", size=4, data_dir=tmp_path)
    assert splits.train.name == "pets"
    assert splits.train.class_names == ("cat", "dog")
    assert (len(splits.train), len(splits.test)) == (8, 2)
    for part in (splits.train, splits.test):
        for name, label, pixels in zip(part.ids, part.labels, part.pixels, strict=True):
            number = int(Path(name).stem)
            assert label == number % 2
            assert (pixels == 10 * number).all()


def test_all_kinds_of_paths_and_no_labels(tmp_path: Path):
    names = ["a,b.png", 'c"d.png', "=e.png", " f .png", "g\nh.png", "üñ.png"]
    pictures(tmp_path, *names)
    raw = os.fsdecode(b"\xff.png")
    (tmp_path / names[0]).rename(tmp_path / raw)
    names[0] = as_text(raw)
    pictures(tmp_path / "other", "absolute.png")
    names.append(str(tmp_path / "other" / "absolute.png"))
    write_csv(tmp_path / "list.csv", ["path"], [[name] for name in names])
    text = (tmp_path / "list.csv").read_text("utf-8")
    (tmp_path / "list.csv").write_text("\ufeff" + text, "utf-8")  # as Excel does
    (part,) = load_parts(f"csv:{tmp_path}/list.csv", Decoding(4, 1), data_dir=tmp_path)
    assert part.images.labels is None
    assert part.images.ids.tolist() == names
    assert part.images.pixels[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 50, 0]
    assert part.paths[0] == f"{tmp_path}/\\xff.png"


def test_a_row_may_have_no_label(tmp_path: Path, capsys):
    pictures(tmp_path, *(f"{number}.png" for number in range(4)))
    (tmp_path / "list.csv").write_text("path,label\n0.png,x\n1.png,\n2.png\n3.png,a\n")
    (part,) = load_parts(f"csv:{tmp_path}/list.csv", Decoding(4, 1), data_dir=tmp_path)
    assert part.images.class_names == ("a", "x")
    assert part.images.labels.tolist() == [1, -1, -1, 0]
    assert "2 classes, 2 of 4 pictures have none" in capsys.readouterr().err


def test_columns_that_are_not_used_may_share_a_name_or_have_none(tmp_path: Path):
    pictures(tmp_path, "a.png")
    (tmp_path / "list.csv").write_text(",path,,note,note,label\n0,a.png,,x,y,cat\n", "utf-8")
    whole, _ = csv_file.load(str(tmp_path / "list.csv"))
    assert whole.class_names == ("cat",)


def test_missing_files_are_skipped(tmp_path: Path):
    pictures(tmp_path, *(f"{number}.png" for number in range(9)))
    rows = [[f"{number}.png", str(number % 3)] for number in range(10)]
    write_csv(tmp_path / "list.csv", ["path", "label"], rows)
    splits = load(f"csv:{tmp_path}/list.csv", size=4, data_dir=tmp_path)
    ((path, reason),) = [(one.path, one.reason) for one in splits.skipped]
    assert path == f"{tmp_path}/9.png"
    assert reason == "cannot be read (No such file or directory)"
    assert len(splits.train) + len(splits.test) == 9
    whole = np.concatenate([splits.train.labels, splits.test.labels])
    assert np.bincount(whole).tolist() == [3, 3, 3]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "has no rows"),
        (b"path,label\n", "has no rows"),
        (b"size,label\n9,x\n", "no column path, found size, label"),
        (b"path,label\na.png,x\n,y\n", "row 2 has no path"),
        (b"path,label\na.png,x\na.png,y\n", "the path 'a.png' repeats"),
        (b"path,label,Label\na.png,x,y\n", "two columns are called label; rename or remove one"),
        (b"path\n\xff.png\n", "give a CSV file in UTF-8"),
        (b"path\n" + b"x" * 200_000 + b"\n", "field larger than field limit"),
    ],
)
def test_what_is_no_list_is_refused_in_one_line(tmp_path: Path, data, message):
    if data is not None:
        (tmp_path / "list.csv").write_bytes(data)
    with pytest.raises(InputError) as caught:
        csv_file.load(str(tmp_path / "list.csv"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cells", "codes", "classes"),
    [
        (["0", "1", "-1"], [0, 1, -1], ("0", "1")),
        (["-1", "1", "-1"], [1, 0, 1], ("1", "-1")),
        (["-1", "-1", ""], None, ()),
        (["-1", "a", "b"], [0, 1, 2], ("-1", "a", "b")),
    ],
)
def test_minus_one_among_numbers_is_no_label(tmp_path: Path, cells, codes, classes) -> None:
    for number in range(3):
        Image.new("L", (8, 8), 40 * number).save(tmp_path / f"{number}.png")
    rows = "".join(f"{number}.png,{cell}\n" for number, cell in enumerate(cells))
    (tmp_path / "list.csv").write_text("path,label\n" + rows)
    found, _ = csv_file.load(str(tmp_path / "list.csv"))
    assert (None if found.labels is None else found.labels.tolist()) == codes
    assert found.class_names == classes


@pytest.mark.parametrize("title", ["split", "Subset"])
def test_a_column_of_splits_says_which_part_a_row_is_in(
    title: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{number}.png" for number in range(10)]
    pictures(tmp_path, *names)
    cells = ["train", "TEST", "x"] * 3 + ["training"]
    write_csv(tmp_path / "a.csv", ["path", title], zip(names, cells, strict=True))
    found = load(f"csv:{tmp_path}/a.csv", size=4, data_dir=tmp_path)
    shown = [[int(Path(name).stem) for name in part.ids] for part in (found.train, found.test)]
    assert shown == [[0, 3, 6, 9], [1, 4, 7]]
    assert "not used: 3 rows of the split 'x'" in capsys.readouterr().err


def test_a_column_of_folds_names_no_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{number}.png" for number in range(10)]
    pictures(tmp_path, *names)
    rows = [(name, number % 5) for number, name in enumerate(names)]
    write_csv(tmp_path / "a.csv", ["path", "split"], rows)
    (part,) = load_parts(f"csv:{tmp_path}/a.csv", Decoding(4), data_dir=tmp_path)
    assert len(part.images) == 10
    assert "its column of splits is not used, which names no part" in capsys.readouterr().err
