import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vicinal.errors import InputError
from vicinal.images import decoding
from vicinal.images.decoding import Decoding
from vicinal.images.skipped import BadPictureError
from vicinal.images.store import stored


@dataclass
class Listed:
    """Pictures in memory, counting how often they are read."""

    arrays: list[np.ndarray]
    stamps: tuple[str, ...] = ("here 1 2",)
    reads: int = 0
    name: str = "listed"

    @property
    def ids(self) -> np.ndarray:
        return np.arange(len(self.arrays)).astype(str)

    def stamp(self) -> Iterator[str]:
        yield from self.stamps

    def pictures(self) -> Iterator[tuple[bytes, str]]:
        self.reads += 1
        for number, array in enumerate(self.arrays):
            file = io.BytesIO()
            Image.fromarray(array).save(file, "PNG")
            yield file.getvalue(), f"picture {number}"


def decode(picture, where, channels, size=4):
    return decoding.square(picture, where, Decoding(size, channels))


def kept(listed, folder, **changes):
    found = stored(listed, Decoding(4, **changes), folder)
    assert (len(found.bad), found.skipped) == (0, ())
    return found.pixels


def arrays(count: int, grey: bool) -> list[np.ndarray]:
    shape = (count, 4, 4) if grey else (count, 4, 4, 3)
    return list(np.random.default_rng(count).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("grey", [True, False])
def test_pixels_come_back_in_order_as_a_memory_map_of_their_own(tmp_path: Path, grey):
    pictures = arrays(1000, grey)  # several groups
    pixels = kept(Listed(pictures), tmp_path)
    assert isinstance(pixels, np.memmap)
    expected = np.stack(pictures).reshape(1000, 4, 4, -1)
    np.testing.assert_array_equal(pixels, expected)
    pixels[:] = 0  # changes this copy, never the file
    np.testing.assert_array_equal(kept(Listed(pictures), tmp_path), expected)


def test_the_second_call_decodes_nothing(tmp_path: Path):
    listed = Listed(arrays(5, grey=False))
    first = kept(listed, tmp_path)
    reads = listed.reads
    np.testing.assert_array_equal(kept(listed, tmp_path), first)
    assert listed.reads == reads


def test_one_colour_picture_makes_all_rgb(tmp_path: Path):
    pictures = [*arrays(700, grey=True), *arrays(1, grey=False)]
    pixels = kept(Listed(pictures), tmp_path)
    assert pixels.shape == (701, 4, 4, 3)
    np.testing.assert_array_equal(pixels[3], np.repeat(pictures[3][:, :, None], 3, axis=2))
    np.testing.assert_array_equal(pixels[700], pictures[700])


@pytest.mark.parametrize("side", [3, 4, 9, 40, 400])
def test_grey_pictures_repeated_are_those_decoded_as_colour(side: int):
    grey = np.random.default_rng(side).integers(0, 256, (side, side + 5), dtype=np.uint8)
    for picture in (grey, Image.fromarray(grey)):
        repeated = np.repeat(decode(picture, "p", None, 4).pixels, 3, axis=2)
        np.testing.assert_array_equal(repeated, decode(picture, "p", 3, 4).pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_asked_for(tmp_path: Path, channels):
    pictures = [*arrays(3, grey=True), *arrays(3, grey=False)]
    assert kept(Listed(pictures), tmp_path, channels=channels).shape == (6, 4, 4, channels)


def test_another_stamp_rule_or_channel_count_is_decoded_anew(tmp_path: Path):
    black, white = ([np.full((4, 4), value, np.uint8)] for value in (0, 255))
    assert kept(Listed(black), tmp_path).max() == 0
    assert kept(Listed(white, ("here 1 3",)), tmp_path).min() == 255
    assert kept(Listed(white), tmp_path, max_pixels=99).min() == 255
    assert kept(Listed(white), tmp_path, channels=1).min() == 255
    assert kept(Listed(black), tmp_path).max() == 0


@pytest.mark.parametrize("damage", [b"", b"half", None])
def test_a_damaged_file_is_replaced(tmp_path: Path, damage):
    pictures = arrays(3, grey=True)
    kept(Listed(pictures), tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-1] if damage is None else damage)
    np.testing.assert_array_equal(kept(Listed(pictures), tmp_path)[..., 0], np.stack(pictures))


def test_a_failure_half_way_leaves_nothing_behind(tmp_path: Path, monkeypatch):
    listed = Listed(arrays(600, grey=True))
    square = decoding.square

    def refuse_late(picture, where, how):
        if where == "picture 590":
            raise InputError(f"{where}: bad")
        return square(picture, where, how)

    monkeypatch.setattr(decoding, "square", refuse_late)
    with pytest.raises(InputError, match="picture 590"):
        stored(listed, Decoding(4), tmp_path)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    assert len(kept(listed, tmp_path)) == 600


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot keep decoded images in .*file.*data_dir"):
        kept(Listed(arrays(2, grey=True)), tmp_path / "file" / "store")


def test_two_hundred_openings_leave_no_file_open(tmp_path: Path):
    files = Path("/proc/self/fd")
    if not files.is_dir():
        pytest.skip("needs /proc to count open files")
    pictures = arrays(20, grey=True)
    kept(Listed(pictures), tmp_path)
    before = len(list(files.iterdir()))
    for _ in range(200):
        pixels = kept(Listed(pictures), tmp_path)
        assert pixels.sum() > 0
        del pixels
    assert len(list(files.iterdir())) <= before
    mapped = Path("/proc/self/maps").read_text("utf-8")
    assert str(tmp_path) not in mapped


@pytest.mark.parametrize("first", [0, 63, 64, 699])
def test_bad_pictures_leave_no_gap(tmp_path: Path, first: int, monkeypatch):
    pictures = [*arrays(700, grey=True), *arrays(1, grey=False)]
    bad = [first, 500]
    square = decoding.square

    def refuse_some(picture, where, how):
        if int(where.split()[1]) in bad:
            raise BadPictureError(where, "torn")
        return square(picture, where, how)

    for decoder in (refuse_some, None):  # None: the second time nothing is decoded
        monkeypatch.setattr(decoding, "square", decoder)
        found = stored(Listed(pictures), Decoding(4), tmp_path)
        assert found.bad.tolist() == sorted(bad)
        assert [one.reason for one in found.skipped] == ["torn", "torn"]
        expected = np.stack([np.broadcast_to(p.reshape(4, 4, -1), (4, 4, 3)) for p in pictures])
        np.testing.assert_array_equal(found.pixels, np.delete(expected, bad, axis=0))


def test_a_wrong_list_of_bad_pictures_is_made_anew(tmp_path: Path):
    pictures = arrays(10, grey=True)
    kept(Listed(pictures), tmp_path)
    (file,) = tmp_path.iterdir()
    file.with_suffix(".skipped.json").write_text('[[0, "a", "b"]]')
    assert len(kept(Listed(pictures), tmp_path)) == 10
