import gc
import io
import re
import weakref
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch
from PIL import Image

import vicinal
from vicinal.errors import InputError
from vicinal.images import decoding

PIXELS = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 3), dtype=np.uint8)


def made(images, **options):
    return vicinal.from_images(images, **options)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    return tmp_path / "vicinal" / "store"


@pytest.mark.parametrize("kind", ["list", "generator", "array", "pillow"])
def test_any_iterable_in_its_order(kind, cache: Path):
    pillow = (Image.fromarray(one) for one in PIXELS)
    images = {"list": list(PIXELS), "generator": iter(PIXELS), "array": PIXELS, "pillow": pillow}
    found = made(images[kind])
    np.testing.assert_array_equal(found.pixels, PIXELS)
    assert found.ids[[0, 69]].tolist() == ["000000", "000069"]
    assert (found.labels, found.skipped, found.name) == (None, (), "images")
    assert list(cache.iterdir()) == []  # nothing to be left behind
    found.pixels[:] = 0  # torch wants arrays that it could write to


def test_labels_and_ids_of_ones_own():
    found = made(PIXELS[:3], labels=["b", "a", "b"], ids=["x", 7, "y\udcff\ud83d"], name="mine")
    assert found.class_names == ("a", "b")
    assert found.labels.tolist() == [1, 0, 1]
    assert found.ids.tolist() == ["x", "7", r"y\xff\xed\xa0\xbd"]
    numbers = made(PIXELS[:3], labels=np.array([10, 9, 10]))
    assert (numbers.class_names, numbers.labels.tolist()) == (("9", "10"), [1, 0, 1])


class Photos(torch.utils.data.Dataset):
    """As torchvision's: by index, in pairs, with the names of its classes."""

    classes = ("cat", "dog", "eel")

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int):
        if index == 4:
            raise Image.UnidentifiedImageError("torn")
        return Image.fromarray(PIXELS[index]), index % 2


def test_a_data_set_of_pairs_with_one_that_cannot_be_read():
    found = made(Photos())
    good = [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert found.class_names == ("cat", "dog", "eel")
    assert found.labels.tolist() == [index % 2 for index in good]
    assert found.ids.tolist() == [f"{index:06d}" for index in good]
    np.testing.assert_array_equal(found.pixels, PIXELS[good])
    assert [(one.path, one.reason) for one in found.skipped] == [
        ("image 4", "not an image of a known format")
    ]


def test_torchvisions_own(tmp_path: Path):
    from torchvision.datasets import FakeData, ImageFolder

    fake = FakeData(5, (3, 16, 16), num_classes=2)
    assert made(fake, size=8).pixels.shape == (5, 8, 8, 3)
    for number in range(4):
        path = tmp_path / "set" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[number]).save(path)
    found = made(ImageFolder(tmp_path / "set"))
    assert found.class_names == ("a", "b")
    np.testing.assert_array_equal(found.pixels, PIXELS[[0, 2, 1, 3]])


def test_mixed_sizes_and_modes_become_squares_of_the_size_asked_for():
    mixed = [Image.new("L", (30, 20), 7), PIXELS[0], Image.new("P", (5, 9)), PIXELS[1, :, :, 0]]
    found = made(iter(mixed), size=6)
    assert found.pixels.shape == (4, 6, 6, 3)
    for one, pixels in zip(mixed, found.pixels, strict=True):
        direct = decoding.decode(one, "", size=6, channels=3, pad=False)
        np.testing.assert_array_equal(pixels, direct)
    assert made(mixed[:1] * 3, size=6).channels == 1


def torn(tmp_path: Path, number: int) -> Image.Image:
    file = io.BytesIO()
    Image.fromarray(PIXELS[number]).save(file, "PNG")
    path = tmp_path / f"torn{number}.png"
    path.write_bytes(file.getvalue()[:120])
    return Image.open(path)


@pytest.mark.parametrize("bad", [1, 3])
def test_torn_pictures_are_skipped_unless_there_are_too_many(tmp_path: Path, bad):
    images = [torn(tmp_path, n) if n < bad else Image.fromarray(PIXELS[n]) for n in range(10)]
    if bad == 3:
        with pytest.raises(InputError, match=r"3 or more of 10 pictures cannot be used"):
            made(images, labels=range(10))
        return
    found = made(images, labels=range(10))
    assert [found.class_names[label] for label in found.labels] == [str(n) for n in range(1, 10)]
    assert found.skipped[0].path == str(tmp_path / "torn0.png")
    assert "truncated" in found.skipped[0].reason


def test_pictures_are_not_held():
    alive: list[weakref.ref] = []
    most = 0

    def stream():
        nonlocal most
        for number in range(4000):
            picture = Image.new("L", (8, 8), number % 256)
            alive.append(weakref.ref(picture))
            if number % 200 == 0:
                most = max(most, sum(one() is not None for one in alive))
            yield picture

    assert len(made(stream())) == 4000
    gc.collect()
    assert most < 1500  # a few groups of 64, whatever comes


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([], {}, "there are no pictures"),
        (iter([]), {}, "there are no pictures"),
        (
            ["a.png"],
            {},
            "image 0: must be Pillow's image, an array (H, W, 3), encoded bytes or a Path, found s",
        ),
        ([torch.zeros(3, 8, 8)], {}, "found Tensor; a data set must not transform it to that"),
        ([PIXELS[0] / 255], {}, "whole numbers from 0 to 255"),
        ([PIXELS[0].T], {}, "image 0: an array must be (H, W) or (H, W, 1 or 3), found (3, 8, 8)"),
        ([PIXELS[0], PIXELS[1, :6, :6]], {}, "image 1: is 6 × 6 pixels, others 8 × 8; give size"),
        ([PIXELS[0, :6]], {}, "image 0: is 6 × 8 pixels"),
        (PIXELS[:2], {"labels": [1]}, "2 pictures but 1 labels"),
        (PIXELS[:2], {"labels": [1, "a"]}, "labels must be all integers or all strings"),
        (PIXELS[:2], {"ids": ["a"]}, "2 pictures but 1 ids"),
        (PIXELS[:2], {"ids": ["a", "a"]}, "ids repeat"),
    ],
)
def test_what_is_no_set_is_refused_in_one_line(images, options, message):
    with pytest.raises(InputError) as caught:
        made(images, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "codes", "classes"),
    [
        (["b", None, "a"], [1, -1, 0], ("a", "b")),
        ([7, None, 3], [1, -1, 0], ("3", "7")),
        ([float("nan"), 2.0, 1.0], [-1, 1, 0], ("1", "2")),
        ([7, -1, 3], [1, -1, 0], ("3", "7")),
        ([-1, 1, 1], [1, 0, 0], ("1", "-1")),  # a binary target
    ],
)
def test_a_picture_may_have_no_label(labels, codes, classes):
    found = made(PIXELS[:3], labels=labels)
    assert found.labels.tolist() == codes
    assert found.class_names == classes


def test_larger_pictures_are_skipped_whatever_holds_them(tmp_path: Path) -> None:
    large = Image.new("L", (40, 40), 90)
    large.save(tmp_path / "large.png")
    encoded = (tmp_path / "large.png").read_bytes()
    small = [Image.new("L", (10, 10), 30 * i) for i in range(16)]
    given = [large, encoded, tmp_path / "large.png", {"bytes": encoded, "path": None}, *small]
    found = made(given, size=8, max_pixels=1000)
    assert found.ids.tolist() == [f"{i:06}" for i in range(4, 20)]
    names = ["image 0", "image 1", str(tmp_path / "large.png"), "image 3"]
    assert [one.path for one in found.skipped] == names
    assert all("more pixels than are allowed (1600" in one.reason for one in found.skipped)
    assert len(made(given, size=8, max_pixels=1600)) == 20


@pytest.mark.parametrize("most", [0, 1.5, "12", None])
def test_a_number_of_pixels_that_is_none_is_refused(most: object) -> None:
    with pytest.raises(InputError, match=r"max_pixels=.*: give a whole number, at least 1"):
        made([Image.new("L", (8, 8))], max_pixels=most)


def test_encoded_pictures_of_one_size_need_none_given(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 90).save(tmp_path / "a.png")
    encoded = (tmp_path / "a.png").read_bytes()
    assert made([encoded, tmp_path / "a.png"]).size == 8
    Image.new("L", (9, 8)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png: is 8 × 9 pixels, others 8 × 8; give size"):
        made([encoded, tmp_path / "b.png"])


@pytest.mark.parametrize(
    ("images", "size", "message"),
    [
        (Path("a.png"), None, "images must be several pictures, found PosixPath"),
        (Image.new("L", (8, 8)), None, "several pictures, found Image"),
        ({"bytes": b"x", "path": None}, None, "several pictures, found dict"),
        ([{"bytes": PIXELS[0]}], None, "encoded bytes or a Path, found dict"),
        ([PIXELS[0]], 0, "size=0: give a whole number of pixels"),
        ([PIXELS[0]], 1.5, "size=1.5: give"),
        ([PIXELS[0]], 10**5, "size=100000: give"),
        ([PIXELS[0, :6]], None, "image 0: is 6 × 8 pixels, no square"),
    ],
)
def test_what_is_no_set_of_pictures_is_told(images, size, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        made(images, size=size)


def test_a_generator_that_breaks_off_is_no_full_disk(tmp_path: Path) -> None:
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.png")
    paths = [tmp_path / "a.png", tmp_path / "none.png"]
    with pytest.raises(InputError, match=r"image 1: cannot be read \(No such file"):
        made(Image.open(path) for path in paths)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"labels": np.zeros((3, 2))}, "labels must be one name or number a picture"),
        ({"ids": 5}, "ids=5: give one for every picture"),
    ],
)
def test_labels_and_ids_of_another_shape_are_refused(given: dict[str, object], line: str) -> None:
    with pytest.raises(InputError, match=line):
        made(PIXELS[:3], **given)


def test_a_folder_for_pixels_may_be_a_string(tmp_path: Path) -> None:
    assert len(vicinal.from_images(PIXELS[:3], data_dir=str(tmp_path))) == 3
    assert len(vicinal.load("digits", size=8, data_dir=str(tmp_path)).train) > 1000
