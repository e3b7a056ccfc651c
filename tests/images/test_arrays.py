from pathlib import Path

import numpy as np
import pytest

from vicinal.errors import InputError
from vicinal.images import arrays, load, load_parts
from vicinal.images.decoding import Decoding

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)


def test_an_npy_of_the_size_is_not_copied(tmp_path: Path):
    np.save(tmp_path / "set.npy", PIXELS)
    images, _ = arrays.load(str(tmp_path / "set.npy"))
    assert isinstance(images.place.pixels, np.memmap)
    images.place.pixels[:] = 0  # never reaches the file
    (part,) = load_parts(f"numpy:{tmp_path}/set.npy", Decoding(8, 3), data_dir=tmp_path)
    np.testing.assert_array_equal(part.images.pixels, PIXELS)
    assert part.images.ids[[0, -1]].tolist() == ["000000", "000019"]
    assert (part.images.labels, part.images.name, part.paths) == (None, "set", None)
    assert not (tmp_path / "store").exists()


def test_size_and_channels_stand_for_how_pictures_are_decoded(tmp_path: Path):
    np.save(tmp_path / "set.npy", PIXELS)
    (by_name,) = load_parts(tmp_path / "set.npy", size=4, channels=1, data_dir=tmp_path)
    (by_decoding,) = load_parts(tmp_path / "set.npy", Decoding(4, 1), data_dir=tmp_path)
    np.testing.assert_array_equal(by_name.images.pixels, by_decoding.images.pixels)
    with pytest.raises(TypeError, match="give size"):
        load_parts(tmp_path / "set.npy")


@pytest.mark.parametrize(
    ("labels", "names", "codes"),
    [
        (np.array([10, 9] * 10), ("9", "10"), [1, 0] * 10),
        (np.array(["b", "a"] * 10), ("a", "b"), [1, 0] * 10),
        (np.arange(20)[:, None] % 2, ("0", "1"), [0, 1] * 10),
        (np.array([-1, 1] * 10), ("1", "-1"), [1, 0] * 10),  # a binary target
        (np.array([3.0, 7.0] * 10), ("3", "7"), [0, 1] * 10),
    ],
)
def test_an_npz_has_labels(tmp_path: Path, labels, names, codes):
    np.savez_compressed(tmp_path / "set.npz", images=PIXELS, labels=labels)
    images, _ = arrays.load(str(tmp_path / "set.npz"))
    assert images.class_names == names
    assert images.labels.tolist() == codes
    splits = load(f"numpy:{tmp_path}/set.npz", size=4, data_dir=tmp_path)
    assert (len(splits.train), len(splits.test), splits.train.size) == (16, 4, 4)


@pytest.mark.parametrize(
    ("labels", "names", "codes"),
    [
        (np.array([-1, 0, 5, 5] * 5), ("0", "5"), [-1, 0, 1, 1] * 5),
        (np.array([np.nan, 0, 5, 5] * 5), ("0", "5"), [-1, 0, 1, 1] * 5),
        (np.array(["b", "", "a", " "] * 5), ("a", "b"), [1, -1, 0, -1] * 5),
    ],
)
def test_of_an_npz_some_may_have_no_label(tmp_path: Path, labels, names, codes):
    np.savez_compressed(tmp_path / "set.npz", images=PIXELS, labels=labels)
    images, _ = arrays.load(str(tmp_path / "set.npz"))
    assert images.class_names == names
    assert images.labels.tolist() == codes
    assert "of 20 pictures have none" in images.notes[0]
    assert load(f"numpy:{tmp_path}/set.npz", size=4, data_dir=tmp_path).train.labels is None


@pytest.mark.parametrize("labels", [np.full(20, -1), np.full(20, " "), np.full(20, np.nan)])
def test_an_npz_of_empty_labels_has_none(tmp_path: Path, labels):
    np.savez_compressed(tmp_path / "set.npz", images=PIXELS, labels=labels)
    images, _ = arrays.load(str(tmp_path / "set.npz"))
    assert images.labels is None
    assert "no labels (the array labels is empty, or all -1)" in images.notes[0]


@pytest.mark.parametrize(
    "pixels", [PIXELS[..., 0], PIXELS[..., :1], PIXELS[..., 0].astype(np.float64)]
)
def test_grey_and_whole_floats(tmp_path: Path, pixels):
    np.save(tmp_path / "set.npy", pixels)
    (part,) = load_parts(f"numpy:{tmp_path}/set.npy", Decoding(8, 1), data_dir=tmp_path)
    np.testing.assert_array_equal(part.images.pixels[..., 0], PIXELS[..., 0])


def write(path: Path, content: object) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        with path.open("wb") as file:
            np.savez(file, **content)
    elif content is not None:
        with path.open("wb") as file:
            np.save(file, content, allow_pickle=True)


class Opens:
    """A Python object that says when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("opened"),)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", None, "No such file"),
        ("a.npy", b"", "cannot be read"),
        ("a.npy", b"no array", "cannot be read"),
        ("a.npz", b"no archive", "cannot be read"),
        ("a.npy", np.array([Opens()], object), "cannot be read (Array can't be memory-mapped"),
        ("a.npz", {"images": np.array([Opens()], object)}, "Object arrays cannot be loaded"),
        ("a.npz", {"pictures": PIXELS}, "no array `images`, found pictures"),
        ("a.npz", {"images": PIXELS, "labels": np.arange(3)}, "labels must be 20 integers"),
        ("a.npz", {"images": PIXELS, "labels": np.full(20, 0.5)}, "labels must be all integers"),
        ("a.npy", PIXELS[0, 0], "found (8, 3)"),
        ("a.npy", PIXELS.transpose(0, 3, 1, 2), "found (20, 3, 8, 8); put the channels last"),
        ("a.npy", PIXELS[0], "found (8, 8, 3), which is a single picture; give it as (1, 8, 8, 3)"),
        ("a.npy", PIXELS % 2, "numbers from 0 to 1, which would be black"),
        ("a.npy", PIXELS[:0], "has no images"),
        ("a.npy", PIXELS / 255, "whole numbers from 0 to 255"),
        ("a.npy", PIXELS.astype(np.int16) * 9, "numbers from 0 to 255, found 0 to"),
        ("a.npy", PIXELS.astype("U3"), "must hold numbers"),
    ],
)
def test_what_is_no_set_is_refused_in_one_line(tmp_path: Path, monkeypatch, name, content, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name, content)
    with pytest.raises(InputError) as caught:
        arrays.load(name)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"numpy:{name}: ")
    assert "\n" not in str(caught.value)
    assert not Path("opened").exists()


def test_a_torn_file_is_refused(tmp_path: Path):
    for name, save in (("a.npy", np.save), ("a.npz", np.savez)):
        path = tmp_path / name
        save(path, images=PIXELS) if name == "a.npz" else save(path, PIXELS)
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(InputError, match="cannot be read"):
            arrays.load(str(path))
