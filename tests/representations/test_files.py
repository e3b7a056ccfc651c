"""Embeddings in one file and in parts: what is told of a picture, what is read, what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vicinal.errors import InputError
from vicinal.evaluations.leaks import holds_embeddings
from vicinal.representations.embed_in_pieces import claim, part_names, write_plan
from vicinal.representations.representations import (
    Representations,
    batches,
    embedding_files,
    origin_of,
)

PLAN = {"source": "x", "encoder_sha256": "e", "plan": "1", "finished": False, "parts": 3}


def some(count: int = 5, **more: Any) -> Representations:
    array = np.arange(count * 2, dtype=np.float32).reshape(count, 2)
    return Representations(array, np.array([f"n{i}" for i in range(count)]), **more)


def test_a_run_of_explore_stands_for_its_embeddings(tmp_path: Path) -> None:
    some().save(tmp_path / "embeddings.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "duplicates.parquet")
    with pytest.raises(InputError, match="needs columns representation and id"):
        Representations.load(tmp_path)  # some folder
    (tmp_path / "pictures").mkdir()  # thumbnails, which are not what is compared
    assert not holds_embeddings(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    assert len(Representations.load(tmp_path)) == 5
    assert holds_embeddings(tmp_path)


def test_what_is_told_of_a_picture_is_what_there_is() -> None:
    bare, full = some(), some(paths=np.array(list("vwxyz")), labels=np.array(list("aabbb")))
    assert bare.columns() == list(bare.describe(0)) == ["id"]
    assert full.columns() == ["id", "path", "label"]
    assert full.describe(3) == {"id": "n3", "path": "y", "label": "b"}
    assert full.classes() == ["a", "b"]
    assert (full.labelled_count, bare.labelled_count) == (5, 0)


def test_columns_origin_and_empty_cells_go_there_and_back(tmp_path: Path) -> None:
    splits, labels = np.array(["train", "test", "", "", ""]), np.array(["a", "", "b", "b", ""])
    saved = some(splits=splits, labels=labels, paths=np.full(5, ""), origin={"seed": 3})
    saved.save(tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column_names == ["id", "path", "label", "split", "representation"]
    assert table["split"].to_pylist() == ["train", "test", None, None, None]
    assert table.schema.field("representation").type == pa.list_(pa.float32(), 2)
    found = Representations.load(tmp_path / "a.parquet")
    assert found.splits is not None
    assert found.labels is not None
    assert found.labels.tolist() == [0, -1, 1, 1, -1]
    assert found.label_names is not None
    assert (found.splits.tolist(), found.label_names.tolist()) == (splits.tolist(), labels.tolist())
    assert found.paths is None  # every cell is empty
    assert found.origin == origin_of(tmp_path / "a.parquet") == {"seed": 3}
    ids = Representations.load(tmp_path / "a.parquet", vectors=False)
    assert ids.array.shape == (5, 0)
    assert ids.array.dtype == np.float32


def test_a_folder_is_read_by_name_and_its_own_name_says_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "label=wrong"
    folder.mkdir()
    whole = some()
    for name, rows in (("b", slice(2, 5)), ("a", slice(0, 2))):
        Representations(whole.array[rows], whole.ids[rows]).save(folder / f"{name}.parquet")
    (folder / ".hidden.parquet").write_bytes(b"nothing")
    found = Representations.load(folder)
    assert found.ids.tolist() == whole.ids.tolist()
    assert found.labels is None
    np.testing.assert_array_equal(found.array, whole.array)
    pieces = list(batches(folder, rows=2))
    assert [len(ids) for ids, _ in pieces] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([array for _, array in pieces]), whole.array)


def test_another_tools_file_needs_representations_and_a_path(tmp_path: Path) -> None:
    table = pa.table(
        {
            "path": ["a.jpg", "b.jpg", "c.jpg"],
            "representation": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
            "label": [1, None, 0],
        }
    )
    said = {"vicinal": "[1]", "class_names": '["cat", "dog"]'}
    pq.write_table(table.replace_schema_metadata(said), tmp_path / "other.parquet")
    found = Representations.load(tmp_path / "other.parquet")
    assert found.ids.tolist() == ["a.jpg", "b.jpg", "c.jpg"]
    assert found.label_names is not None
    assert found.label_names.tolist() == ["dog", "", "cat"]
    assert found.origin == {}
    ((ids, array),) = batches(tmp_path / "other.parquet")
    assert ids.tolist() == found.ids.tolist()
    assert array.tolist() == [[1, 2], [3, 4], [5, 6]]


def write(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def two_encoders(folder: Path) -> Path:
    for name in "ab":
        origin = {"encoder_sha256": name}
        Representations(np.ones((1, 2), np.float32), np.array([name]), origin=origin).save(
            folder / f"{name}.parquet"
        )
    return folder


def unfinished(folder: Path) -> Path:
    write_plan(str(folder), PLAN)
    some().save(folder / "part-000000.parquet")
    return folder


def damaged(folder: Path) -> Path:
    (folder / "embed.json").write_text("[]")
    return folder


def misfits(folder: Path) -> Path:
    write(folder / "a.parquet", id=["a"], representation=[[1.0]])
    write(folder / "b.parquet", id=["b"], representation=["text"])
    return folder


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda t: t / "none", "{}/none: no such file; `vicinal embed` makes one"),
        (lambda t: t, "{}: no parquet file in this folder; `vicinal embed` makes one"),
        (two_encoders, "{}: its files were made by different encoders; keep them apart"),
        (unfinished, "{}: unfinished, 1 of 3 parts; the same `vicinal embed` goes on with it"),
        (damaged, "{0}/embed.json: damaged; remove {0}, and embed anew"),
        (misfits, "{}: its files do not fit together ("),
        (lambda t: write(t / "x", id=["a", "b", "a"], representation=[[1.0]] * 3),
         "{}/x: the id 'a' repeats; make ids unique"),
        (lambda t: write(t / "x", name=["a"], representation=[[1.0]]),
         "{}/x: needs columns representation and id (or path), found name, representation; "
         "`vicinal embed` makes such a file"),
        (lambda t: write(t / "x", id=["a"], representation=[1.0]),
         "{}/x: representation must hold lists of numbers, found double"),
        (lambda t: write(t / "x", id=["a"], representation=[["text"]]),
         "{}/x: representation must hold numbers, found list<"),
        (lambda t: write(t / "x", id=["a", "b"], representation=[[1.0], [1.0, 2.0]]),
         "{}/x: representations must be equally long and there must be some, "
         "found lengths ['1', '2']"),
        (lambda t: write(t / "x", id=["a"], representation=[[float("nan")]]),
         "{}/x: a representation holds NaN or infinity; leave that row out"),
        (lambda t: (t / "x").write_bytes(b"text") and t / "x",
         "{}/x: cannot be read as parquet ("),
    ],
)  # fmt: skip
def test_what_is_no_set_of_embeddings_is_this_line(
    make: Callable[[Path], Path], line: str, tmp_path: Path
) -> None:
    place = make(tmp_path)
    with pytest.raises(InputError) as caught:
        Representations.load(place)
    assert str(caught.value).startswith(line.format(tmp_path))
    assert line.endswith(("(", "<")) or str(caught.value) == line.format(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_finished_set_of_parts_is_all_its_parts_and_nothing_else(tmp_path: Path) -> None:
    unfinished(tmp_path)
    some().save(tmp_path / "mine.parquet")
    write_plan(str(tmp_path), {**PLAN, "finished": True, "parts": 1})
    assert embedding_files(tmp_path) == [tmp_path / "part-000000.parquet"]
    write_plan(str(tmp_path), {**PLAN, "finished": True, "parts": 2})
    with pytest.raises(InputError, match="unfinished, 1 of 2 parts"):
        embedding_files(tmp_path)


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    claim(str(out), PLAN, "out")
    assert (out / "embed.json").read_bytes() == (json.dumps(PLAN, indent=1) + "\n").encode()
    claim(str(out), PLAN, "out")  # begun by the same: it goes on
    claim(str(out), PLAN | {"plan": "2"}, "out")  # and with other pictures
    assert json.loads((out / "embed.json").read_text())["plan"] == "2"
    refused = "out='out': is there already"
    for before, after, line in (
        ({}, {"source": "y"},
         f"{refused}, begun from another source or encoder; remove it or give another name"),
        ({"finished": True, "parts": 0}, {},
         f"{refused}, finished; remove it or give another name"),
    ):  # fmt: skip
        write_plan(str(out), PLAN | before)
        with pytest.raises(InputError) as caught:
            claim(str(out), PLAN | after, "out")
        assert str(caught.value) == line
    write_plan(str(out), PLAN | {"finished": True})
    claim(str(out), PLAN, "out")  # its parts are lost: it goes on
    for content in ("", "[]"):
        (out / "embed.json").write_text(content)
        with pytest.raises(InputError, match=r"its embed\.json is damaged; remove the folder"):
            claim(str(out), PLAN, "out")
    (tmp_path / "empty").mkdir()
    claim(str(tmp_path / "empty"), PLAN, "empty")
    (tmp_path / "full").mkdir()
    for taken in (tmp_path / "full" / "file", tmp_path / "file"):
        taken.write_text("mine")
        place = tmp_path / taken.relative_to(tmp_path).parts[0]
        with pytest.raises(InputError) as caught:
            claim(str(place), PLAN, "out")
        assert str(caught.value) == f"{refused}; remove it or give another name"


def test_parts_are_named_in_order_and_halves_cleared_away(tmp_path: Path) -> None:
    parts, mine = ["part-000000.parquet", "part-000001.parquet"], ["a.parquet", "b.1.partial"]
    for name in (*reversed(parts), "part-000002.parquet.h.1.partial", "embed.json", *mine):
        (tmp_path / name).write_text("")
    assert part_names(str(tmp_path)) == parts
    assert {one.name for one in tmp_path.iterdir()} == {*parts, *mine, "embed.json"}
