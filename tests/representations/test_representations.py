import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vicinal.errors import InputError
from vicinal.representations.representations import Representations, concatenated


def some(count: int = 7, features: int = 3, labels: bool = True) -> Representations:
    generator = np.random.default_rng(count)
    return Representations(
        array=generator.standard_normal((count, features)).astype(np.float32),
        ids=np.array([f"test/{row}" for row in range(count)]),
        labels=generator.integers(0, 2, count) if labels else None,
        class_names=("cat", "dög") if labels else (),
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 20), st.booleans())
def test_what_is_saved_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, count: int, features: int, labels: bool
) -> None:
    path = tmp_path_factory.mktemp("saved") / "representations.parquet"
    before = some(count, features, labels)
    before.save(path)
    after = Representations.load(path)
    np.testing.assert_array_equal(after.array, before.array)
    assert after.array.dtype == np.float32
    assert after.ids.tolist() == before.ids.tolist()
    assert after.class_names == before.class_names
    if labels:
        np.testing.assert_array_equal(after.labels, before.labels)
        assert after.labels is not None
        assert after.labels.dtype == np.int64
    else:
        assert after.labels is None


def test_takes_rows_in_order_and_saves_the_taken(tmp_path: Path) -> None:
    whole = some()
    part = whole.take(np.array([4, 1]))
    part.save(tmp_path / "part.parquet")
    loaded = Representations.load(tmp_path / "part.parquet")
    np.testing.assert_array_equal(loaded.array, whole.array[[4, 1]])
    assert loaded.ids.tolist() == ["test/4", "test/1"]
    assert whole.labels is not None
    assert loaded.labels is not None
    assert loaded.labels.tolist() == whole.labels[[4, 1]].tolist()
    assert len(loaded) == 2


def test_another_program_can_read_the_file(tmp_path: Path) -> None:
    saved = some()
    saved.save(tmp_path / "representations.parquet")
    table = pq.read_table(tmp_path / "representations.parquet")
    assert table.column_names == ["id", "label", "representation"]
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == saved.ids.tolist()
    np.testing.assert_array_equal([row["representation"] for row in rows], saved.array)
    assert saved.labels is not None
    assert [row["label"] for row in rows] == [saved.class_names[code] for code in saved.labels]


def test_the_order_of_classes_stays_where_it_is_no_natural_one(tmp_path: Path) -> None:
    labels = np.array([2, 0, -1])
    saved = Representations(
        np.ones((3, 2), np.float32), np.array(list("abc")), labels, ("z", "y", "x")
    )
    saved.save(tmp_path / "a.parquet")
    assert json.loads(pq.read_schema(tmp_path / "a.parquet").metadata[b"class_names"]) == [
        "z",
        "y",
        "x",
    ]
    found = Representations.load(tmp_path / "a.parquet")
    assert found.class_names == saved.class_names
    assert found.labels is not None
    assert found.labels.tolist() == labels.tolist()
    part = concatenated([found.take(np.array([1])), found.take(np.array([0, 2]))])
    assert part.class_names == saved.class_names
    assert part.labels is not None
    assert part.labels.tolist() == [0, 2, -1]


def test_a_study_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    saved = some()
    flat = pa.array(saved.array.ravel())
    columns = {
        "id": saved.ids.tolist(),
        "representation": pa.FixedSizeListArray.from_arrays(flat, saved.array.shape[1]),
        "label": saved.labels,
    }
    names = {"class_names": json.dumps(list(saved.class_names))}
    pq.write_table(pa.table(columns).replace_schema_metadata(names), tmp_path / "a.parquet")
    found = Representations.load(tmp_path / "a.parquet")
    assert found.class_names == saved.class_names
    assert found.labels is not None
    assert saved.labels is not None
    assert found.labels.tolist() == saved.labels.tolist()
    np.testing.assert_array_equal(found.array, saved.array)


def test_half_a_file_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "representations.parquet"
    old = some(5)
    old.save(path)
    seen: list[int] = []
    replace = os.replace

    def watched(source: Path, target: Path) -> None:
        seen.append(len(Representations.load(path)))  # all is written, and the old still there
        assert len(Representations.load(Path(source))) == 9
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    some(9).save(path)
    assert seen == [5]
    assert len(Representations.load(path)) == 9
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "representations.parquet"
    some(5).save(path)

    def full_disk(_: object, where: Path) -> None:
        Path(where).write_bytes(b"PAR1 and then no space left")
        raise OSError("no space left on device")

    monkeypatch.setattr(pq, "write_table", full_disk)
    with pytest.raises(OSError, match="no space left"):
        some(9).save(path)
    assert len(Representations.load(path)) == 5


@pytest.mark.parametrize("shape", [(3,), (3, 2, 2), (4, 2)])
def test_refuses_arrays_that_are_not_one_row_an_id(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="must be \\(N, F\\) with N ids"):
        Representations(np.zeros(shape, np.float32), np.array(["a", "b", "c"]))


def test_a_file_without_names_of_classes_has_none(tmp_path: Path) -> None:
    some(labels=False).save(tmp_path / "a.parquet")
    bare = pq.read_table(tmp_path / "a.parquet").replace_schema_metadata(None)
    pq.write_table(bare, tmp_path / "b.parquet")
    assert Representations.load(tmp_path / "b.parquet").class_names == ()
