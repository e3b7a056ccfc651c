import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vicinal.errors import InputError
from vicinal.images import Skipped, folder
from vicinal.images.shards import write_shards


def picture(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (value, 0, 0)).save(path)
    return path


def test_folders_are_classes_when_every_image_lies_in_one(tmp_path: Path):
    for name in ("dog/b.jpg", "cat/deep/a.png", "cat/z.webp", "dog/A.JPG"):
        picture(tmp_path / "pets" / name)
    whole, test = folder.load(str(tmp_path / "pets"))
    assert test is None
    assert whole.name == "pets"
    assert whole.ids.tolist() == ["cat/deep/a.png", "cat/z.webp", "dog/A.JPG", "dog/b.jpg"]
    assert whole.class_names == ("cat", "dog")
    assert whole.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("names", [("a.png", "b.png"), ("a.png", "cat/b.png")])
def test_no_labels_where_an_image_lies_in_no_class_folder(tmp_path: Path, names):
    for name in names:
        picture(tmp_path / name)
    whole, _ = folder.load(str(tmp_path))
    assert whole.ids.tolist() == list(names)
    assert whole.labels is None
    assert whole.class_names == ()


def test_train_and_test_folders_are_the_split(tmp_path: Path):
    for name in ("train/cat/a.png", "train/dog/b.png", "test/cat/a.png", "other/c.png"):
        picture(tmp_path / name)
    train, test = folder.load(str(tmp_path))
    assert train.ids.tolist() == ["cat/a.png", "dog/b.png"]
    assert test.ids.tolist() == ["cat/a.png"]
    assert train.class_names == ("cat", "dog")


def test_hidden_and_foreign_files_are_left_out(tmp_path: Path):
    for name in ("a.png", ".hidden.png", ".thumbnails/b.png", "c/.d/e.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    whole, _ = folder.load(str(tmp_path))
    assert whole.ids.tolist() == ["a.png"]


def test_links_are_followed_but_not_round_in_circles(tmp_path: Path):
    picture(tmp_path / "elsewhere" / "a.png")
    picture(tmp_path / "here" / "cat" / "b.png")
    (tmp_path / "here" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "here" / "cat" / "loop").symlink_to(tmp_path / "here")
    whole, _ = folder.load(str(tmp_path / "here"))
    assert whole.ids.tolist() == ["cat/b.png", "dog/a.png"]


def test_a_file_name_that_is_no_utf8_still_makes_an_id(tmp_path: Path):
    source = picture(tmp_path / "a.png")
    try:
        os.rename(source, os.fsencode(tmp_path) + b"/\xff.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    whole, _ = folder.load(str(tmp_path))
    assert whole.ids.tolist() == ["\\xff.png"]
    ((path, _),) = whole.pictures()
    assert path.is_file()


def test_pictures_and_stamp_follow_the_choice(tmp_path: Path):
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / name)
    whole, _ = folder.load(str(tmp_path))
    part = whole.take(np.array([0, 2]))
    assert [path.name for path, _ in part.pictures()] == ["a.png", "c.png"]
    assert list(part.stamp()) != list(whole.stamp())


def test_stamp_follows_the_files(tmp_path: Path):
    path = picture(tmp_path / "a.png")
    whole, _ = folder.load(str(tmp_path))
    before = list(whole.stamp())
    assert list(whole.stamp()) == before
    os.utime(path, ns=(1, 1))
    assert list(whole.stamp()) != before


def test_a_file_gone_since_it_was_listed_changes_the_stamp(tmp_path: Path):
    path = picture(tmp_path / "a.png")
    whole, _ = folder.load(str(tmp_path))
    before = list(whole.stamp())
    path.unlink()
    assert list(whole.stamp()) != before


def test_bad_paths_are_refused(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "half" / "test").mkdir(parents=True)
    picture(tmp_path / "half" / "train" / "a.png")
    (tmp_path / "set.parquet").write_text("")
    write_shards({"train": iter([np.zeros((2, 8, 8, 1), np.uint8)])}, tmp_path / "shards")
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "0.tar").write_text("")
    for path, message in [
        (tmp_path / "nowhere", "no such folder"),
        (tmp_path / "empty", "no images in it; files must end in .*jpeg.*png"),
        (tmp_path / "shards", "no images in it, but shards of pixels; write shards:.*shards"),
        (tmp_path / "tars", r"no images in it, but tar files; write 'tar:.*tars/\*.tar'"),
        (tmp_path / "half", "test: no images in it"),
        (tmp_path / "half" / "train" / "a.png", "is a file, not a folder; write folder:.*train"),
        (tmp_path / "set.parquet", "is a file, not a folder; write parquet:.*set.parquet"),
    ]:
        with pytest.raises(InputError, match=message):
            folder.load(str(path))


def test_a_folder_that_cannot_be_opened_is_skipped_and_listed(tmp_path: Path, monkeypatch):
    picture(tmp_path / "a.png")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse_closed(path):  # permissions would not stop a test that runs as root
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_closed)
    whole, _ = folder.load(str(tmp_path))
    assert whole.ids.tolist() == ["a.png"]
    reason = "folder cannot be opened (Permission denied)"
    assert whole.skipped == (Skipped(str(tmp_path / "closed"), reason),)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"no images in it \(.*closed: folder cannot be opened"):
        folder.load(str(tmp_path))
