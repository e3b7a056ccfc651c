"""A corpus of all that goes wrong with picture files, and of what only looks as if it did."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vicinal.errors import InputError
from vicinal.file_names import as_path, as_text
from vicinal.images import Skipped, decoding, load, load_anomalies, load_parts
from vicinal.images.decoding import Decoding


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(height: int, width: int) -> Image.Image:
    shape = (height, width, 3)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it has that size, and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def postscript() -> bytes:
    """PostScript, which Pillow alone would hand to another program."""
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"


def with_exif(data: bytes) -> bytes:
    return encoded(Image.new("RGB", (9, 9), (10, 20, 30)), "JPEG", exif=b"Exif\x00\x00" + data)


BAD = {
    "zero.jpg": (b"", "not an image of a known format"),
    "words.png": (b"<html>not found</html>", "not an image of a known format"),
    "postscript.tif": (postscript(), "not an image of a known format"),
    "truncated.jpg": (encoded(noise(64, 64), "JPEG")[:2000], "truncated"),
    "truncated.png": (encoded(noise(64, 64))[:3000], "cannot be read as an image"),
    "truncated.webp": (encoded(noise(64, 64), "WEBP")[:300], "cannot be read as an image"),
    "bomb.png": (png_header(60_000, 60_000), "3600000000 pixels"),
    "empty.png": (png_header(5, 5), "cannot be read as an image"),
}
GOOD = {
    "1x1.png": encoded(Image.new("RGB", (1, 1), (1, 2, 3))),
    "60000x1.png": encoded(Image.new("RGB", (60_000, 1), (4, 5, 6))),
    "1x60000.gif": encoded(Image.new("RGB", (1, 60_000), (4, 5, 6)), "GIF"),
    "cmyk.jpg": encoded(Image.new("CMYK", (9, 9), (0, 0, 0, 255)), "JPEG"),
    "sixteen.png": encoded(Image.fromarray(np.full((9, 9), 257 * 77, np.uint16))),
    "alpha.png": encoded(Image.new("RGBA", (9, 9), (0, 0, 0, 0))),
    "animated.gif": encoded(
        Image.new("RGB", (9, 9), "red"),
        "GIF",
        save_all=True,
        append_images=[Image.new("RGB", (9, 9), "blue")],
    ),
    "animated.webp": encoded(
        Image.new("RGB", (9, 9), "red"),
        "WEBP",
        save_all=True,
        append_images=[Image.new("RGB", (9, 9), "blue")],
        lossless=True,
    ),
    "a png.jpg": encoded(noise(9, 9)),
    "exif words.jpg": with_exif(b"these are no data"),
    "exif nine.jpg": with_exif(
        b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x09\x00\x00\x00\x00\x00\x00"
    ),
    "exif torn.jpg": with_exif(b"II\x2a\x00\xff\xff\xff\x7f"),
    "with space.bmp": encoded(noise(9, 9), "BMP"),
    "with\nline.ppm": encoded(noise(9, 9), "PPM"),
    "üñí 图.tiff": encoded(noise(9, 9), "TIFF"),
    "=cmd|' !A0.png": encoded(noise(9, 9)),
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """The good ones four times over, so that the bad ones are few, and odd files of the system."""
    root = tmp_path / "corpus"
    for copy in "abcd":
        (root / copy).mkdir(parents=True)
        for name, data in GOOD.items():
            (root / copy / name).write_bytes(data)
    for name, (data, _) in BAD.items():
        (root / "a" / name).write_bytes(data)
    (root / "b" / "loop.png").symlink_to("loop2.png")
    (root / "b" / "loop2.png").symlink_to("loop.png")
    os.mkfifo(root / "b" / "pipe.jpg")  # whoever opens it waits for ever
    return root


def reasons(skipped: tuple[Skipped, ...]) -> dict[str, str]:
    return {Path(one.path).name: one.reason for one in skipped}


def test_bad_ones_are_skipped_with_their_reason_and_good_ones_kept(corpus: Path, tmp_path: Path):
    splits = load(f"folder:{corpus}", size=8, data_dir=tmp_path)
    found = reasons(splits.skipped)
    assert set(found) == {*BAD, "loop.png", "loop2.png", "pipe.jpg"}
    for name, (_, reason) in BAD.items():
        assert reason in found[name], name
    assert "symbolic links" in found["loop.png"]
    assert found["pipe.jpg"] == "cannot be read as an image (not a file)"
    ids = [name.partition("/")[2] for part in (splits.train, splits.test) for name in part.ids]
    assert sorted(ids) == sorted(f"{copy}/{name}" for copy in "abcd" for name in GOOD)
    assert (np.bincount([*splits.train.labels, *splits.test.labels]) == len(GOOD)).all()


def test_good_ones_have_the_pixels_that_they_show(corpus: Path, tmp_path: Path):
    (part,) = load_parts(f"folder:{corpus}", Decoding(8, 3), data_dir=tmp_path)
    pixels = dict(zip(part.images.ids.tolist(), part.images.pixels, strict=True))
    expected = {
        "1x1.png": (1, 2, 3),
        "60000x1.png": (4, 5, 6),
        "1x60000.gif": (4, 5, 6),
        "sixteen.png": (77, 77, 77),
        "alpha.png": (255, 255, 255),
        "animated.gif": (255, 0, 0),
        "animated.webp": (255, 0, 0),
    }
    for name, colour in expected.items():
        assert (pixels[f"a/{name}"] == colour).all(), name
    for name in ("exif words.jpg", "exif nine.jpg", "exif torn.jpg"):
        assert np.abs(pixels[f"a/{name}"].astype(int) - (10, 20, 30)).max() < 4, name
    assert pixels["a/cmyk.jpg"].max() < 8
    assert part.paths is not None
    assert len(part.paths) == len(part.images)
    for name, path in zip(part.images.ids, part.paths, strict=True):
        assert as_path(path) == corpus / as_path(name)
        direct = decoding.decode(as_path(path), path, size=8, channels=3, pad=False)
        np.testing.assert_array_equal(pixels[name], direct)


def test_the_store_remembers_what_was_bad(corpus: Path, tmp_path: Path, monkeypatch):
    first = load(f"folder:{corpus}", size=8, data_dir=tmp_path)
    monkeypatch.setattr(decoding, "square", None)
    again = load(f"folder:{corpus}", size=8, data_dir=tmp_path)
    assert again.skipped == first.skipped
    assert again.train.fingerprint == first.train.fingerprint
    monkeypatch.undo()
    (corpus / "a" / "zero.jpg").write_bytes(GOOD["1x1.png"])
    mended = load(f"folder:{corpus}", size=8, data_dir=tmp_path)
    assert len(mended.skipped) == len(first.skipped) - 1


def test_a_file_that_cannot_be_opened_is_skipped_until_it_can(corpus, tmp_path, monkeypatch):
    opened, access = Image.open, os.access

    def refuse(file, **options):  # permissions would not stop a test that runs as root
        if isinstance(file, Path) and file.name == "a png.jpg":
            raise PermissionError(13, "Permission denied", str(file))
        return opened(file, **options)

    with monkeypatch.context() as closed:
        closed.setattr(Image, "open", refuse)
        closed.setattr(os, "access", lambda path, mode: "a png" not in str(path))
        found = load_anomalies(f"folder:{corpus}", size=8, channels=3, data_dir=tmp_path)
    assert reasons(found.skipped)["a png.jpg"] == "cannot be read (Permission denied)"
    assert os.access is access
    found = load_anomalies(f"folder:{corpus}", size=8, channels=3, data_dir=tmp_path)
    assert "a png.jpg" not in reasons(found.skipped)


@pytest.mark.parametrize("bad", [1, 2, 3])
def test_more_than_a_fifth_bad_stops_with_one_line(tmp_path: Path, bad: int):
    (tmp_path / "set").mkdir()
    for number in range(10):
        data = b"" if number < bad else encoded(noise(8, 8))
        (tmp_path / "set" / f"{number}\n.png").write_bytes(data)
    for _ in range(2):  # decoded, and from the store
        if bad <= 2:
            assert len(load(f"folder:{tmp_path}/set", size=8, data_dir=tmp_path).skipped) == bad
            continue
        with pytest.raises(InputError, match=r"3 or more of 10 pictures.*at most 20%") as caught:
            load(f"folder:{tmp_path}/set", size=8, data_dir=tmp_path)
        assert "\n" not in str(caught.value)
        assert r".png: not an image of a known format; mend or remove" in str(caught.value)


def test_a_set_of_bad_ones_alone_stops_before_all_are_read(tmp_path: Path, monkeypatch):
    (tmp_path / "set").mkdir()
    for number in range(3000):
        (tmp_path / "set" / f"{number}.png").write_bytes(b"")
    read = []
    square = decoding.square
    monkeypatch.setattr(decoding, "square", lambda *a, **k: (read.append(1), square(*a, **k)))
    with pytest.raises(InputError, match="of 3,000 pictures cannot be used"):
        load_anomalies(f"folder:{tmp_path}/set", size=8, channels=3, data_dir=tmp_path)
    assert len(read) < 2000


def test_names_that_are_no_utf8_have_ids_of_their_own_and_lead_back(tmp_path: Path):
    names = [b"\xff.png", b"\\xff.png", b"\\x5cxff.png", b"caf\xe9.png", b"caf\xc3\xa9.png"]
    names += [b"\xe2\x82.png", b"a\\b.png", b"\\\\x41.png"]
    folder = tmp_path / "set"
    folder.mkdir()
    try:
        for number, name in enumerate(names):
            path = os.fsencode(folder) + b"/" + name
            with open(path, "wb") as file:
                file.write(encoded(Image.new("L", (8, 8), number)))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (part,) = load_parts(f"folder:{folder}", Decoding(8, 1), data_dir=tmp_path)
    found = {os.fsencode(as_path(name)): name for name in part.images.ids.tolist()}
    assert set(found) == set(names)
    assert found[b"caf\xc3\xa9.png"] == "café.png"
    assert found[b"a\\b.png"] == "a\\b.png"
    for name, pixels in zip(part.images.ids.tolist(), part.images.pixels, strict=True):
        name.encode("utf-8")
        assert (pixels == names.index(os.fsencode(as_path(name)))).all()


@pytest.mark.parametrize("name", ["", "a/b c\n", r"\x41", r"\\x41", r"\x5c", r"\x", "\\", r"\x4"])
def test_any_name_comes_back(name: str):
    assert as_path(as_text(name)) == Path(name)


@pytest.mark.parametrize(("empty", "other"), [("test", "train"), ("train", "test")])
def test_what_an_unusable_part_skipped_is_listed_by_the_part_that_is_left(
    empty: str, other: str, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    for part in (empty, other):
        (root / part).mkdir(parents=True)
    for number in range(9):
        Image.new("RGB", (8, 8), (250, 10, number)).save(root / other / f"{number}.png")
    (root / other / "bad.png").write_bytes(b"no")
    (root / empty / "worse.png").write_bytes(b"no")
    (part,) = load_parts(root, Decoding(8, None), data_dir=tmp_path)
    assert part.split == other
    assert part.images.pixels.shape == (9, 8, 8, 3)
    assert len(part.paths or ()) == 9
    skipped = [Path(one.path).relative_to(root).as_posix() for one in part.images.skipped]
    assert skipped == [f"{other}/bad.png", f"{empty}/worse.png"]
