"""The hub's loader on data sets that lie on the disk, as `datasets.load_dataset` takes them too."""

import builtins
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vicinal.errors import InputError
from vicinal.images import hub, load, load_parts
from vicinal.images.decoding import Decoding

datasets = pytest.importorskip("datasets")


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), value).save(file, "PNG")
    return file.getvalue()


def rows(count: int, **more):
    cells = [{"bytes": png(number), "path": None} for number in range(count)]
    features = datasets.Features(
        {"photo": datasets.Image()} | {name: kind for name, (kind, _) in more.items()}
    )
    columns = {"photo": cells} | {name: values for name, (_, values) in more.items()}
    return datasets.Dataset.from_dict(columns, features=features)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def test_a_set_with_parts_and_named_classes(tmp_path: Path):
    classes = datasets.ClassLabel(names=["cat", "dog"])
    for split, count in (("train", 10), ("test", 4)):
        labels = [number % 2 for number in range(count)]
        (tmp_path / "pets").mkdir(exist_ok=True)
        rows(count, label=(classes, labels)).to_parquet(tmp_path / "pets" / f"{split}.parquet")
    splits = load(f"hub:{tmp_path}/pets", size=4, data_dir=tmp_path / "cache")
    assert splits.train.class_names == splits.test.class_names == ("cat", "dog")
    assert splits.train.labels.tolist() == [0, 1] * 5
    assert splits.train.pixels[:, 0, 0, 0].tolist() == list(range(10))
    assert splits.test.ids.tolist() == [f"test/{number:06d}" for number in range(4)]
    part = load(f"hub:{tmp_path}/pets", size=4, limit=4, data_dir=tmp_path / "cache").train
    assert [int(name[6:]) for name in part.ids] == part.pixels[:, 0, 0, 0].tolist()
    again = load(f"hub:{tmp_path}/pets", size=4, data_dir=tmp_path / "cache")
    assert again.train.fingerprint == splits.train.fingerprint
    assert len(list((tmp_path / "cache" / "store").iterdir())) == 3


def served(monkeypatch, **splits) -> None:
    """What the hub answers."""
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: datasets.DatasetDict(splits))


@pytest.mark.parametrize("name", ["validation", "valid"])
def test_a_validation_part_stands_for_a_test_part(tmp_path: Path, monkeypatch, name):
    served(monkeypatch, **{name: rows(3), "train": rows(5)})
    train, test = hub.load("any/set", tmp_path)
    assert (len(train.ids), len(test.ids), train.labels) == (5, 3, None)


def test_one_part_alone_is_all_and_strings_are_classes(tmp_path: Path, monkeypatch):
    labels = (datasets.Value("string"), ["b", "a", "b"])
    served(monkeypatch, test=rows(3, labels=labels))
    whole, none = hub.load("any/set", tmp_path)
    assert none is None
    assert whole.class_names == ("a", "b")
    assert whole.labels.tolist() == [1, 0, 1]


def test_bad_rows_are_skipped(tmp_path: Path, monkeypatch):
    held = rows(10)
    cells = [{"bytes": png(number), "path": None} for number in range(10)]
    cells[3], cells[7] = {"bytes": b"no picture", "path": None}, None
    held = datasets.Dataset.from_dict({"photo": cells}, features=held.features, split="train")
    served(monkeypatch, train=held)
    (part,) = load_parts("hub:any/set", Decoding(4, 1), data_dir=tmp_path)
    assert part.images.pixels[:, 0, 0, 0].tolist() == [0, 1, 2, 4, 5, 6, 8, 9]
    assert part.images.ids.tolist() == [f"{row:06d}" for row in (0, 1, 2, 4, 5, 6, 8, 9)]
    assert [(one.path, one.reason) for one in part.images.skipped] == [
        ("hub:any/set, train row 3 (counted from 0)", "not an image of a known format"),
        ("hub:any/set, train row 7 (counted from 0)", "has no image"),
    ]


def test_image_files_are_read_from_where_they_lie(tmp_path: Path):
    for name in ("cat/a.png", "dog/b.png"):
        path = tmp_path / "pets" / "train" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(png(ord(name[0])))
    whole, _ = hub.load(str(tmp_path / "pets"), tmp_path / "cache")
    assert whole.class_names == ("cat", "dog")
    assert [picture.name for picture, _ in whole.pictures()] == ["a.png", "b.png"]
    np.testing.assert_array_equal(whole.take(np.array([1])).labels, [1])


def test_what_cannot_be_had_is_refused_in_one_line(tmp_path: Path, monkeypatch):
    with pytest.raises(InputError, match="hub:nobody/nothing: could not be loaded") as caught:
        hub.load("nobody/nothing", tmp_path)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *a, **k: {"train": datasets.Dataset.from_dict({"x": [1]})}
    )
    with pytest.raises(InputError, match=r"no column of images .*found columns: x \(Value\)"):
        hub.load("any/set", tmp_path)
    served(monkeypatch, train=rows(2, label=(datasets.Value("float64"), [1.5, None])))
    with pytest.raises(InputError, match="must be integers or strings"):
        hub.load("any/set", tmp_path)


@pytest.mark.parametrize("named", [False, True])
def test_a_row_may_have_no_label(tmp_path: Path, monkeypatch, named):
    kind = datasets.ClassLabel(names=["cat", "dog"]) if named else datasets.Value("int64")
    served(monkeypatch, train=rows(3, label=(kind, [1, None, 0])))
    images, _ = hub.load("any/set", tmp_path)
    assert images.labels.tolist() == [1, -1, 0]
    assert images.class_names == (("cat", "dog") if named else ("0", "1"))


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path, monkeypatch):
    found = builtins.__import__

    def refuse(name, *arguments, **named):
        if name == "datasets":
            raise ImportError(name)
        return found(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"pip install 'vicinal\[hub\]'"):
        hub.load("any/set", tmp_path)
