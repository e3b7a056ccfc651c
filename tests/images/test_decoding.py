import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vicinal.errors import InputError
from vicinal.images.decoding import decode


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def fitted(picture, size=4, channels=None, **how):
    return decode(picture, "the picture", size=size, channels=channels, **how)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    shape = (height, width, 3) if channels == 3 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), size=st.integers(1, 24), pad=st.booleans()
)
def test_every_shape_becomes_the_square(height, width, size, pad):
    assert fitted(noise(height, width), size, pad=pad).shape == (size, size, 3)
    assert fitted(noise(height, width, 1), size, pad=pad).shape == (size, size, 1)


def test_a_picture_of_the_size_is_untouched():
    pixels = noise(8, 8)
    np.testing.assert_array_equal(fitted(encoded(Image.fromarray(pixels)), 8), pixels)


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize(("height", "width"), [(8, 13), (13, 8)])
def test_a_side_of_the_size_is_cropped_at_the_centre_without_resampling(height, width, pad):
    pixels = noise(height, width)
    top, left = (height - 8) // 2, (width - 8) // 2
    np.testing.assert_array_equal(
        fitted(pixels, 8, pad=pad, whole=False), pixels[top : top + 8, left : left + 8]
    )


def test_scaling_agrees_with_torchvision_resize_and_centre_crop():
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    y, x = np.mgrid[:60, :90]
    smooth = np.stack([2 * x, 3 * y, x + y], -1).astype(np.uint8)
    reference = functional.center_crop(
        functional.resize(Image.fromarray(smooth), 20, antialias=True), 20
    )
    found = fitted(smooth, 20, whole=False)
    difference = np.abs(found.astype(int) - np.asarray(reference).astype(int))
    assert difference[1:-1, 1:-1].max() <= 2  # the border sees the crop's edge


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize(("height", "width"), [(60, 90), (90, 60), (20, 90), (7, 31)])
def test_all_of_a_picture_is_squeezed_into_the_square(height, width, pad):
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([2 * x, 255 * y // height, x + y], -1).astype(np.uint8)
    reference = functional.resize(Image.fromarray(smooth), [20, 20], antialias=True)
    difference = np.abs(fitted(smooth, 20, pad=pad).astype(int) - np.asarray(reference).astype(int))
    assert difference.max() <= 2


def test_a_large_jpeg_decoded_at_a_fraction_is_close_to_one_decoded_in_full():
    y, x = np.mgrid[:512, :512]
    smooth = np.stack([x // 2, y // 2, (x + y) // 4], -1).astype(np.uint8)
    small = fitted(encoded(Image.fromarray(smooth), "JPEG", quality=95), 16).astype(int)
    reference = np.asarray(Image.fromarray(smooth).resize((16, 16), Image.Resampling.BILINEAR))
    assert np.abs(small - reference.astype(int)).max() <= 4


def test_padding_centres_on_black_and_leaves_the_pixels():
    pixels = noise(28, 28, 1)
    square = fitted(encoded(Image.fromarray(pixels)), 32, channels=3, pad=True)
    for channel in range(3):
        np.testing.assert_array_equal(square[2:30, 2:30, channel], pixels)
    square = square.copy()
    square[2:30, 2:30] = 0
    assert not square.any()


def test_padding_leaves_no_black_around_a_larger_picture():
    assert fitted(np.full((50, 40, 3), 200, np.uint8), 32, pad=True).min() == 200


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_asked_for(channels):
    colour = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    grey = np.full((4, 4), 90, np.uint8)
    of_colour, of_grey = fitted(colour, channels=channels), fitted(grey, channels=channels)
    assert of_colour.shape == of_grey.shape == (4, 4, channels)
    assert (of_grey == 90).all()
    if channels == 1:
        assert (of_colour == round(0.299 * 255)).all()  # ITU-R 601 luminance


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (Image.new("L", (4, 4), 7), "PNG", (7,)),
        (Image.new("1", (4, 4), 1), "PNG", (255,)),
        (Image.new("LA", (4, 4), (0, 0)), "PNG", (255,)),
        (Image.new("LA", (4, 4), (9, 255)), "PNG", (9,)),
        (Image.new("I;16", (4, 4), 65535), "PNG", (255,)),
        (Image.new("I;16", (4, 4), 32768), "PNG", (128,)),
        (Image.new("I;16", (4, 4), 257 * 50), "TIFF", (50,)),
        (Image.new("I", (4, 4), 257 * 60), "TIFF", (60,)),
        (Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", (1, 2, 3)),
        (Image.new("RGBA", (4, 4), (1, 2, 3, 255)), "PNG", (1, 2, 3)),
        (Image.new("RGBA", (4, 4), (1, 2, 3, 0)), "PNG", (255, 255, 255)),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 51)), "PNG", (204, 204, 204)),
        (Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF", (255, 0, 0)),
        (Image.new("RGB", (4, 4), (5, 200, 30)).quantize(2), "PNG", (5, 200, 30)),
        (Image.new("RGB", (4, 4), (5, 200, 30)).quantize(2), "GIF", (5, 200, 30)),
    ],
)
def test_every_mode_becomes_grey_or_rgb(image, kind, expected):
    pixels = fitted(encoded(image, kind))
    assert pixels.shape == (4, 4, len(expected))
    assert (pixels == expected).all(), pixels[0, 0]


def test_a_transparent_palette_entry_is_laid_over_white():
    image = Image.new("RGB", (4, 4), (5, 200, 30)).quantize(2)
    index = image.getpixel((0, 0))
    assert (fitted(encoded(image, transparency=index)) == 255).all()


def test_cmyk_jpeg_becomes_rgb():
    pixels = fitted(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"), 16)
    assert pixels.shape == (16, 16, 3)
    assert np.abs(pixels.astype(int) - (255, 0, 0)).max() < 8


def test_of_an_animation_the_first_frame_counts():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    file = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (fitted(file) == (255, 0, 0)).all()


def test_exif_orientation_is_applied():
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4] = 255  # white left half; turned a quarter clockwise: white upper half
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = fitted(encoded(Image.fromarray(pixels), exif=exif), 8)
    assert (turned[:4] == 255).all()
    assert (turned[4:] == 0).all()


def test_paths_are_read(tmp_path: Path):
    pixels = noise(4, 4)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(fitted(tmp_path / "a.png"), pixels)


def bomb() -> bytes:
    """A PNG that says it is 60,000 × 60,000."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (b"", "not an image of a known format"),
        (b"these are words", "not an image of a known format"),
        (encoded(Image.fromarray(noise(64, 64)))[:3000], "cannot be read as an image .*truncated"),
        (encoded(Image.fromarray(noise(64, 64)), "JPEG")[:1500], "cannot be read .*truncated"),
        (bomb(), "more pixels than Pillow's safety limit allows .3600000000 pixels.*--max-meg"),
        (Path("nowhere.png"), r"cannot be read \(No such file or directory\)"),
        (Path("/dev/zero"), "not a file"),
        (encoded(Image.new("F", (4, 4), float("nan")), "TIFF"), "NaN or infinity"),
    ],
)
def test_what_cannot_be_decoded_is_refused_in_one_line_by_name(picture, message):
    with pytest.raises(InputError, match=f"^the picture: .*{message}") as caught:
        fitted(picture)
    assert "\n" not in str(caught.value)
    assert "BytesIO" not in str(caught.value)
