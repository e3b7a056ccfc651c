import io
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vicinal.errors import InputError
from vicinal.images import parquet
from vicinal.images.skipped import BadPictureError


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), value).save(file, "PNG")
    return file.getvalue()


def write(path: Path, values, labels=None, names=None, column="image", binary=False, rows=1000):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [None if value is None else png(value) for value in values]
    struct = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    columns = {
        column: pa.array(cells, pa.binary())
        if binary
        else pa.array([cell and {"bytes": cell, "path": None} for cell in cells], struct)
    }
    if labels is not None:
        columns["label"] = labels if isinstance(labels, pa.Array) else pa.array(labels)
    table = pa.table(columns)
    if names is not None:
        features = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, path, row_group_size=rows)
    return path


def values(images) -> list[int]:
    return [Image.open(io.BytesIO(data)).getpixel((0, 0)) for data, _ in images.pictures()]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("column", ["image", "img"])
def test_one_file(tmp_path: Path, column, binary):
    path = write(tmp_path / "a.parquet", [5, 6, 7], column=column, binary=binary)
    images, test = parquet.load(str(path))
    assert test is None
    assert (images.name, images.labels, images.class_names) == ("a", None, ())
    assert images.ids.tolist() == ["000000", "000001", "000002"]
    assert values(images) == [5, 6, 7]


def test_split_in_the_pattern(tmp_path: Path):
    write(tmp_path / "x-train.parquet", [1, 2])
    write(tmp_path / "x-test.parquet", [3])
    train, test = parquet.load(f"{tmp_path}/x-{{split}}.parquet")
    assert (values(train), values(test)) == ([1, 2], [3])
    assert (train.name, test.name) == ("x", "x")
    (tmp_path / "x-test.parquet").unlink()
    train, test = parquet.load(f"{tmp_path}/x-{{split}}.parquet")
    assert values(train) == [1, 2]
    assert test is None


def test_glob_and_folder_join_files_in_order_and_leave_hidden_ones(tmp_path: Path):
    write(tmp_path / "b-1.parquet", [3])
    write(tmp_path / "b-0.parquet", [1, 2])
    write(tmp_path / "sub" / "c.parquet", [4])
    write(tmp_path / ".cache" / "d.parquet", [9])
    assert values(parquet.load(f"{tmp_path}/b-*.parquet")[0]) == [1, 2, 3]
    assert values(parquet.load(str(tmp_path))[0]) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("a/cifar10-{split}.parquet", "cifar10"),
        ("{split}-cats.parquet", "cats"),
        ("a/pets/{split}-*-of-*.parquet", "of"),
        ("a/pets/{split}-*.parquet", "pets"),
        ("a/pets/{split}/*.parquet", "pets"),
        ("a/pets/[0-9].parquet", "pets"),
        ("a/pets/", "pets"),
    ],
)
def test_short_names(tmp_path: Path, monkeypatch, pattern, name):
    monkeypatch.chdir(tmp_path)
    assert parquet._short_name(pattern) == name


@given(chosen=st.sets(st.integers(0, 299), min_size=1))
def test_take_gives_exactly_those_rows_over_files_and_row_groups(tmp_path_factory, chosen):
    folder = tmp_path_factory.getbasetemp() / "take"
    if not folder.exists():
        write(folder / "a.parquet", [i % 251 for i in range(200)], range(200), rows=70)
        write(folder / "b.parquet", [i % 251 for i in range(200, 300)], range(200, 300))
    index = np.array(sorted(chosen))
    part = parquet.load(str(folder))[0].take(index)
    assert values(part) == [i % 251 for i in index]
    assert part.ids.tolist() == [f"{i:06d}" for i in index]
    assert [part.class_names[label] for label in part.labels] == [str(i) for i in index]


def test_stamp_follows_the_file_and_the_choice(tmp_path: Path):
    path = write(tmp_path / "a.parquet", [1, 2])
    images, _ = parquet.load(str(path))
    before = list(images.stamp())
    assert list(images.take(np.array([1])).stamp()) != before
    os.utime(path, ns=(1, 1))
    assert list(images.stamp()) != before


NAMES = ["cat", "dog", "eel"]


@pytest.mark.parametrize(
    ("labels", "names", "codes", "class_names"),
    [
        ([2, 0, 2], NAMES, [2, 0, 2], ("cat", "dog", "eel")),
        (pa.array([2, 0, 2], pa.uint8()), NAMES, [2, 0, 2], ("cat", "dog", "eel")),
        ([10, 9, 10], None, [1, 0, 1], ("9", "10")),
        (["eel", "cat", "eel"], None, [1, 0, 1], ("cat", "eel")),
        (pa.array(["eel", "cat", "eel"]).dictionary_encode(), None, [1, 0, 1], ("cat", "eel")),
        ([-1, -1, -1], NAMES, None, ()),
        (pa.array([None, None, None], pa.int64()), NAMES, None, ()),
    ],
)
def test_labels(tmp_path: Path, labels, names, codes, class_names):
    images, _ = parquet.load(str(write(tmp_path / "a.parquet", [1, 2, 3], labels, names)))
    assert (None if images.labels is None else images.labels.tolist()) == codes
    assert images.class_names == (tuple(class_names) if codes else ())


def test_files_with_other_class_lists_are_joined_by_name(tmp_path: Path):
    write(tmp_path / "a.parquet", [1, 2], [0, 1], ["cat", "dog"])
    write(tmp_path / "b.parquet", [3, 4], [0, 1], ["dog", "eel"])
    images, _ = parquet.load(str(tmp_path))
    assert images.class_names == ("cat", "dog", "eel")
    assert images.labels.tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize("metadata", [b"no json", b"[]", b'{"info": {"features": null}}'])
def test_unreadable_metadata_is_as_none(tmp_path: Path, metadata):
    path = write(tmp_path / "a.parquet", [1, 2], [0, 3])
    table = pq.read_table(path).replace_schema_metadata({b"huggingface": metadata})
    pq.write_table(table, path)
    assert parquet.load(str(path))[0].class_names == ("0", "3")


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 1, 3], NAMES, "label 3 but its metadata names 3 classes"),
        ([0.5, 1.0, 2.0], None, "must be integers or strings, found double"),
    ],
)
def test_bad_labels_are_refused(tmp_path: Path, labels, names, message):
    path = write(tmp_path / "a.parquet", [1, 2, 3], labels, names)
    with pytest.raises(InputError, match=message):
        parquet.load(str(path))


@pytest.mark.parametrize(
    ("labels", "names", "codes", "classes"),
    [
        ([0, -1, 2], NAMES, [0, -1, 2], NAMES),
        (["b", None, "a"], None, [1, -1, 0], ("a", "b")),
        (["b", " ", "a"], None, [1, -1, 0], ("a", "b")),
        ([7, None, 3], None, [1, -1, 0], ("3", "7")),
        ([7.0, float("nan"), 3.0], None, [1, -1, 0], ("3", "7")),
    ],
)
def test_a_row_may_have_no_label(tmp_path: Path, labels, names, codes, classes):
    images, _ = parquet.load(str(write(tmp_path / "a.parquet", [1, 2, 3], labels, names)))
    assert images.labels.tolist() == codes
    assert images.class_names == tuple(classes)
    assert "1 of 3 pictures has none" in images.notes[0]


def test_of_files_some_may_have_no_labels(tmp_path: Path):
    write(tmp_path / "a.parquet", [1], [0])
    write(tmp_path / "b.parquet", [2])
    images, _ = parquet.load(str(tmp_path))
    assert images.labels.tolist() == [0, -1]


def test_an_empty_file_among_others_does_no_harm(tmp_path: Path):
    write(tmp_path / "a.parquet", [], pa.array([], pa.int64()))
    write(tmp_path / "b.parquet", [2], [7])
    images, _ = parquet.load(str(tmp_path))
    assert values(images) == [2]
    assert images.class_names == ("7",)


def test_files_that_cannot_be_used_are_refused(tmp_path: Path):
    pq.write_table(pa.table({"size": [1], "label": [1]}), tmp_path / "other.parquet")
    pq.write_table(pa.table({"image": [[1, 2]]}), tmp_path / "lists.parquet")
    (tmp_path / "words.parquet").write_text("these are words")
    whole = write(tmp_path / "whole.parquet", range(100)).read_bytes()
    (tmp_path / "torn.parquet").write_bytes(whole[: len(whole) // 2])
    write(tmp_path / "none.parquet", [])
    for pattern, message in [
        (
            "other.parquet",
            r"no column `image` .*found columns: size \(int64\), label \(int64\)",
        ),
        ("lists.parquet", "no column `image`"),
        ("words.parquet", "cannot be read as parquet"),
        ("torn.parquet", "cannot be read as parquet"),
        ("none.parquet", "has no rows"),
        ("missing.parquet", "no parquet file there"),
        ("missing-*.parquet", "no parquet file there"),
        ("missing-{split}.parquet", "with neither train nor test"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            parquet.load(f"{tmp_path}/{pattern}")
        assert "\n" not in str(caught.value)


def test_a_row_without_an_image_is_a_bad_picture(tmp_path: Path):
    images, _ = parquet.load(str(write(tmp_path / "a.parquet", [1, None, 3])))
    bad = list(images.pictures())[1][0]
    assert isinstance(bad, BadPictureError)
    assert bad.path == f"{tmp_path}/a.parquet, row 1 (counted from 0)"
    assert bad.reason == "has no image"


def test_bytes_damaged_within_a_file_are_the_users_to_mend(tmp_path: Path):
    path = write(tmp_path / "a.parquet", range(200), binary=True)
    images, _ = parquet.load(str(path))
    data = bytearray(path.read_bytes())
    data[4:60] = b"\xff" * 56  # the first page's header
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read as parquet"):
        list(images.pictures())
