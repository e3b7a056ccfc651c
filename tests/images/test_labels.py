"""Labels, parts and paths as other programs write them, all found, and said."""

import io
import json
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vicinal.errors import InputError
from vicinal.images import folder, hub, load, load_parts, named, parquet
from vicinal.images.decoding import Decoding
from vicinal.images.labels_and_parts import part_of

datasets = pytest.importorskip("datasets")
datasets.disable_progress_bars()


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 9), (value, 40, 90)).save(file, "PNG")
    return file.getvalue()


def files(root: Path, count: int = 10) -> list[str]:
    root.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (root / f"{number}.png").write_bytes(png(number))
    return [f"{number}.png" for number in range(count)]


@pytest.mark.parametrize(
    ("head", "separator"),
    [
        ("path,label", ","),
        ("path, label", ", "),
        ("path,Label", ","),
        ("path;label", ";"),
        ("path\tlabel", "\t"),
        ('"path","fine_label"', ","),
        ("\ufefffilename,class", ","),
        ("File Name,target", ","),
        ("image|Category", "|"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_tables_of_any_program(tmp_path: Path, capsys, head, separator, encoding):
    rows = [
        f"{name}{separator}{'ab'[at % 2]}{' ' * (at % 3 == 0)}\n"
        for at, name in enumerate(files(tmp_path))
    ]
    (tmp_path / "l.csv").write_text(head + "\n" + "".join(rows), encoding)
    splits = load(tmp_path / "l.csv", size=8, data_dir=tmp_path / "c")
    assert splits.train.class_names == ("a", "b")
    for part in (splits.train, splits.test):
        for name, label in zip(part.ids, part.labels, strict=True):
            assert label == int(Path(name).stem) % 2
    assert "l: labels from the column " in capsys.readouterr().err


def test_a_table_without_labels_says_so(tmp_path: Path, capsys):
    files(tmp_path)
    (tmp_path / "l.csv").write_text("path,size\n" + "".join(f"{n}.png,9\n" for n in range(10)))
    assert load(tmp_path / "l.csv", size=8, data_dir=tmp_path / "c").train.labels is None
    assert "l: no labels (no column label, found path, size)" in capsys.readouterr().err


@pytest.mark.parametrize("column", ["labels", "fine_label", "Label", "class", "target", "kind"])
@pytest.mark.parametrize("source", ["hub", "parquet"])
def test_columns_of_labels_in_data_sets(tmp_path: Path, capsys, column, source):
    features = datasets.Features(
        {"image": datasets.Image(), column: datasets.ClassLabel(names=["a", "b"])}
    )
    cells = [{"bytes": png(number), "path": None} for number in range(10)]
    rows = {"image": cells, column: [number % 2 for number in range(10)]}
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "set" / "train.parquet")
    place = tmp_path / "set" if source == "hub" else tmp_path / "set" / "train.parquet"
    splits = load(f"{source}:{place}", size=8, data_dir=tmp_path / "c")
    assert splits.train.class_names == ("a", "b")
    assert f"labels from the column {column}, 2 classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (pa.array([1.0, 0.0, 1.0]), ("0", "1")),
        (pa.array([True, False, True]), ("0", "1")),
        (pa.array(["b ", "a", "b"], pa.string_view()), ("a", "b")),
        (pa.array(["", "", ""]), ()),
        (pa.array([[1], [2], [3]]), ()),
    ],
)
def test_labels_of_any_type(tmp_path: Path, labels, names):
    column = "labels" if pa.types.is_list(labels.type) else "label"
    table = pa.table({"image": [png(n) for n in range(3)], column: labels})
    pq.write_table(table, tmp_path / "a.parquet")
    images, _ = parquet.load(str(tmp_path / "a.parquet"))
    assert images.class_names == names


@pytest.mark.parametrize(
    "kind",
    ["path only", "struct of path", "binary_view", "large_binary", "polars", "pandas", "paths"],
)
def test_cells_of_any_library(tmp_path: Path, kind):
    names = files(tmp_path / "i")
    data = [png(number) for number in range(10)]
    places = [{"bytes": None, "path": str(tmp_path / "i" / name)} for name in names]
    inside = [{"path": f"i/{name}"} for name in names]
    whole = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    path = tmp_path / "d.parquet"
    tables = {
        "path only": lambda: pq.write_table(pa.table({"image": pa.array(places, whole)}), path),
        "struct of path": lambda: pq.write_table(pa.table({"image": inside}), path),
        "binary_view": lambda: pq.write_table(
            pa.table({"image": pa.array(data, pa.binary_view())}), path
        ),
        "large_binary": lambda: pq.write_table(
            pa.table({"image": pa.array(data, pa.large_binary())}), path
        ),
        "polars": lambda: pl.DataFrame({"image": data}).write_parquet(path),
        "pandas": lambda: pd.DataFrame({"picture": data, "size": 9}).to_parquet(path),
        "paths": lambda: pl.DataFrame({"file_name": [f"i/{n}" for n in names]}).write_parquet(path),
    }
    tables[kind]()
    (part,) = load_parts(path, Decoding(8, 3), data_dir=tmp_path / "c")
    assert part.images.pixels[:, 0, 0, 0].tolist() == list(range(10))


@pytest.mark.parametrize("parts", [False, True])
def test_what_save_to_disk_wrote_is_read(tmp_path: Path, parts):
    rows = datasets.Dataset.from_dict(
        {"image": [{"bytes": png(n), "path": None} for n in range(10)], "labels": [0, 1] * 5},
        datasets.Features({"image": datasets.Image(), "labels": datasets.Value("int64")}),
    )
    held = datasets.DatasetDict({"train": rows, "Validation": rows}) if parts else rows
    held.save_to_disk(tmp_path / "saved")
    assert named(tmp_path / "saved") == f"hub:{tmp_path}/saved"
    splits = load(tmp_path / "saved", size=8, data_dir=tmp_path / "c")
    assert (len(splits.train), len(splits.test)) == ((10, 10) if parts else (8, 2))
    assert splits.train.class_names == ("0", "1")
    with pytest.raises(InputError, match=r"a data set that save_to_disk wrote; write hub:"):
        folder.load(str(tmp_path / "saved"))


@pytest.mark.parametrize(
    ("train", "other"),
    [("Train", "Test"), ("training", "VAL"), ("TRAIN", "Validation"), ("train", "dev")],
)
def test_parts_by_their_customary_names(tmp_path: Path, train, other):
    for name, count in ((train, 6), (other, 3)):
        files(tmp_path / "set" / name / "cat", count)
        table = pa.table({"image": [png(n) for n in range(count)], "label": ["cat"] * count})
        for place in (tmp_path / f"{name}-00000-of-00001.parquet", tmp_path / f"x_{name}.parquet"):
            pq.write_table(table, place)
    for source in (
        tmp_path / "set",
        f"{tmp_path}/*-of-*.parquet",
        f"{tmp_path}/x_{{split}}.parquet",
        f"parquet:{tmp_path}/x_*.parquet",
    ):
        splits = load(source, size=8, data_dir=tmp_path / "c")
        assert (len(splits.train), len(splits.test)) == (6, 3), source
        assert splits.test.class_names == ("cat",)
    assert part_of("trainer") is None


def test_a_labelled_validation_part_comes_before_a_test_part_without_labels(
    tmp_path: Path, monkeypatch, capsys
):
    cells = [{"bytes": png(n), "path": None} for n in range(10)]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    splits = {}
    for part in ("train", "validation", "test"):
        labels = [-1 if part == "test" else n % 2 for n in range(10)]
        splits[part] = datasets.Dataset.from_dict({"image": cells, "label": labels}, features)
        splits[part].to_parquet(tmp_path / f"{part}.parquet")
        inside = tmp_path / "set" / part
        for at in range(4):
            files(inside / "ab"[at % 2] if part != "test" else inside, 4)
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: datasets.DatasetDict(splits))
    for source in ("hub:any/set", f"{tmp_path}/{{split}}.parquet", tmp_path / "set"):
        found = load(source, size=8, data_dir=tmp_path / "c")
        assert found.test.labels is not None, source
        assert "the test part is validation, whose pictures have labels" in capsys.readouterr().err


def test_what_lies_beside_parts_is_said(tmp_path: Path, capsys):
    for name in ("train/cat", "test/cat", "extra"):
        files(tmp_path / "set" / name, 3)
    load(tmp_path / "set", size=8, data_dir=tmp_path / "c")
    assert "set: not used, beside the parts test, train: extra" in capsys.readouterr().err
    other = tmp_path / "alone"
    for name in ("train", "car"):  # a class of trains
        files(other / name, 3)
    whole, test = folder.load(str(other))
    assert (whole.class_names, test) == (("car", "train"), None)


def test_metadata_that_is_none_says_nothing(tmp_path: Path):
    table = pa.table({"image": [png(1)] * 3, "label": [0, 1, 0]})
    table = table.replace_schema_metadata({b"huggingface": json.dumps({"info": 3}).encode()})
    pq.write_table(table, tmp_path / "a.parquet")
    assert parquet.load(str(tmp_path / "a.parquet"))[0].class_names == ("0", "1")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.csv", "csv:a.csv"),
        ("a.TSV", "csv:a.TSV"),
        ("a/*.parquet", "parquet:a/*.parquet"),
        ("a-{split}.parquet", "parquet:a-{split}.parquet"),
        ("s3://b/a-*.parquet", "parquet:s3://b/a-*.parquet"),
        ("s3://b/photos", "folder:s3://b/photos"),
        ("a.npy", "numpy:a.npy"),
        ("a.npz", "numpy:a.npz"),
        ("S/{00..09}.tar", "tar:S/{00..09}.tar"),
        ("digits", "digits"),
        ("hub:a/b", "hub:a/b"),
        ("folder:a.csv", "folder:a.csv"),
        ("nothing", "nothing"),
    ],
)
def test_a_name_says_what_it_is(name, source):
    assert named(name) == source


def test_a_folder_is_one_whatever_it_is_called(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "a.parquet", "x:y"):
        files(tmp_path / name, 6)
        assert named(name) == f"folder:{name}"
        assert len(load(name, size=8, test=name, data_dir=tmp_path / "c").train) == 6
    files(tmp_path / "digits", 6)
    assert named("digits") == "digits"  # ambiguous: the prefix, or a path
    assert named("folder:digits") == "folder:digits"
    assert named("./digits") == "folder:./digits"
    assert hub.is_saved(tmp_path) is False
