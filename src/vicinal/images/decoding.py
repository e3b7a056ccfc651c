"""From a picture of any kind to a square of pixels: decoding, ranges, alpha, colour, fitting."""

from __future__ import annotations

import errno
import threading
import warnings
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

from vicinal import cores
from vicinal.errors import InputError, number_of
from vicinal.file_names import on_one_line
from vicinal.files import read_address
from vicinal.images.file_formats import MOST_PIXELS, opened, reason, refuse_large
from vicinal.images.skipped import BadPictureError, Skipped

Picture = bytes | Path | str | NDArray[np.uint8] | Image.Image
"""An encoded file's bytes, path or address (of fsspec, a string), pixels (H, W) or
(H, W, 1, 3 or 4), or Pillow's own."""
Given = Picture | BadPictureError
"""A picture, or why there is none."""

Span = tuple[float, float]
"""The values that become 0 and 255."""

RULE = "fit 2"
"""Changes whenever the same picture would give other pixels, so that stored ones are made anew."""

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
"""How a picture can be scaled; all but nearest with antialiasing."""

_REDUCING_GAP = 3.0  # Pillow calls this "nearly indistinguishable" from not reducing first
_LARGE = 16 << 20
"""Pictures with more pixels are decoded one at a time, so that not every core holds a huge one."""
_ONE_AT_A_TIME = threading.Lock()
_OURS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # the machine's fault, not the file's
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF's orientation
_SWAP_SIDES = frozenset(_TURNS[orientation] for orientation in (5, 6, 7, 8))


class Square(NamedTuple):
    """A picture fitted to a square."""

    # array (S, S, 1 or 3) uint8; or (S, S, 1) float32, the values as they are, of a picture of
    # more than 8 bits whose set's span is not known yet
    pixels: NDArray[Any]
    width: int  # pixels of the original from left to right, upright
    height: int  # pixels of the original from top to bottom


@dataclass(frozen=True)
class Decoding:
    """How pictures become squares.

    The EXIF orientation is applied if it is one, transparency is laid on a colour that shows the
    picture (`opaque`), grey of more than 8 bits is scaled by ``span``, of an animation the first
    frame counts; every other mode becomes RGB. Then all of the picture is squeezed into a square
    of ``size`` (antialiased), so that nothing of a longer one is lost; one that already is such a
    square keeps its pixels untouched.
    """

    size: int  # height and width of the result, in pixels
    channels: int | None = None  # 1 or 3; None keeps grey pictures grey and makes all others RGB
    # whether a picture that fits into the square is centred on black instead of scaled
    pad: bool = False
    # False: the centre square alone is scaled, as encoders of before 2026-11-30 saw pictures
    whole: bool = True
    interpolation: str = "bilinear"  # how it is scaled, one of `INTERPOLATIONS`
    # the values of pictures of more than 8 bits that become 0 and 255; None leaves the pixels of
    # such a picture as float32
    span: Span | None = None
    # pixels that may be decoded; a large JPEG is decoded at a fraction
    max_pixels: int = MOST_PIXELS
    # why a picture of more than 8 bits cannot be used where there is no span; empty where it can
    no_deep: str = ""

    def __post_init__(self) -> None:
        check_size(self.size)
        if self.interpolation not in INTERPOLATIONS:
            raise InputError(
                f"interpolation={self.interpolation!r}: give {', '.join(INTERPOLATIONS)}"
            )
        if not _is_whole(self.max_pixels) or self.max_pixels < 1:
            raise InputError(f"max_pixels={self.max_pixels!r}: give a whole number, at least 1")

    @property
    def rule(self) -> str:
        """All but size and channels, by which decoded pixels are kept: other pixels, other rule."""
        scaling = "" if self.interpolation == "bilinear" else f" {self.interpolation}"
        whole = " whole" if self.whole else ""
        return f"{RULE} pad={self.pad} span={self.span} most={self.max_pixels}{scaling}{whole}"


MOST_SIDE = 4096
"""Pixels a side of a square, at most."""


def check_size(size: int) -> None:
    """Refuses what is no side of a square in pixels."""
    if not _is_whole(size) or not 1 <= size <= MOST_SIDE:
        raise InputError(f"size={size!r}: give a whole number of pixels, 1 to {MOST_SIDE:,}")


def _is_whole(number: object) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def decode(picture: Picture, where: str, **how: Any) -> NDArray[np.uint8]:
    """Decodes one picture, see `square`; without a span, its own range is its span."""
    decoding = Decoding(**how)
    pixels = plain_pixels(square(picture, where, decoding))
    channels = decoding.channels or pixels.shape[2]
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], channels)))


def plain_pixels(found: Square, span: Span | None = None) -> NDArray[np.uint8]:
    """A square's pixels as uint8; one of more than 8 bits is scaled by a span or its own range."""
    pixels = found.pixels
    return pixels if pixels.dtype == np.uint8 else eight_bits(pixels, span or span_of(pixels))


def square(picture: Picture, where: str, how: Decoding) -> Square:
    """Decodes a picture and fits it to a square."""
    side = int(_REDUCING_GAP * how.size)
    image, width, height = _decoded(picture, where, side, how.max_pixels)
    deep = image.mode == "F"
    if deep and how.span is None and how.no_deep:
        raise BadPictureError(where, how.no_deep)
    size, scaling = how.size, INTERPOLATIONS[how.interpolation]
    if how.channels is not None and not deep:
        image = image.convert("L" if how.channels == 1 else "RGB")
    if how.pad and max(image.size) <= size:
        image = _padded(image, size, how.span)
    elif how.whole:
        if image.size != (size, size):
            image = image.resize((size, size), scaling, reducing_gap=_REDUCING_GAP)
    else:
        image = _cropped(image, size, scaling)
    pixels = np.asarray(image)
    if deep and how.span is not None:
        pixels = eight_bits(pixels, how.span)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if deep and how.span is not None and how.channels == 3:
        pixels = np.repeat(pixels, 3, axis=2)
    return Square(pixels, width, height)


def decode_whole(
    picture: Picture,
    where: str,
    side: int,
    *,
    span: Span | None = None,
    max_pixels: int = MOST_PIXELS,
) -> Image.Image:
    """The whole picture in mode RGB, upright and opaque, at most ``side`` pixels a side."""
    image, _, _ = _decoded(picture, where, side, max_pixels)
    if image.mode == "F":
        values = np.asarray(image)
        image = Image.fromarray(eight_bits(values, span or span_of(values)))
    image = image.convert("RGB")
    image.thumbnail((side, side))
    return image


_GROUP_BYTES = 8 << 20
_GROUP_IMAGES = 64


def decoded(
    pictures: Iterator[tuple[Given, str]], how: Decoding
) -> Generator[list[Square | Skipped], None, None]:
    """Decodes group by group on all cores, in order, with few groups in memory at a time."""

    def one(picture: Given, where: str) -> Square | Skipped:
        try:
            if isinstance(picture, BadPictureError):
                raise picture
            return square(picture, where, how)
        except BadPictureError as bad:
            return Skipped(bad.path, bad.reason)

    def decode_group(group: list[tuple[Given, str]]) -> list[Square | Skipped]:
        return [one(*given) for given in group]

    workers = cores.cores()
    waiting: deque[Future[list[Square | Skipped]]] = deque()
    pool = ThreadPoolExecutor(workers, "decode")  # Pillow's decoders let each other run
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on odd files that it reads all the same
            for group in _groups(pictures, 3 * how.size * how.size):
                waiting.append(pool.submit(decode_group, group))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class Gathered(NamedTuple):
    """The squares of the pictures that can be used, in memory."""

    pixels: NDArray[np.uint8]  # array (K, S, S, 1 or 3) uint8
    sizes: NDArray[np.int32]  # array (K, 2) int32, width and height of the originals
    # the values of pictures of more than 8 bits that became 0 and 255; None without such
    span: Span | None
    good: NDArray[np.int64]  # array (K,) int64, positions of these among all pictures
    skipped: tuple[Skipped, ...]  # the others and why, in order


def gathered(pictures: Iterator[tuple[Given, str]], how: Decoding) -> Gathered:
    """Decodes pictures into memory on all cores; finds channels and span if ``how`` has none."""
    squares: list[Square] = []
    good: list[int] = []
    skipped: list[Skipped] = []
    span = how.span
    for at, one in enumerate(one for group in decoded(pictures, how) for one in group):
        if isinstance(one, Skipped):
            skipped.append(one)
            continue
        squares.append(one)
        good.append(at)
        span = widened(span, one.pixels)
    channels = how.channels or max((one.pixels.shape[2] for one in squares), default=1)
    pixels = np.empty((len(squares), how.size, how.size, channels), np.uint8)
    for row, one in enumerate(squares):  # which repeats grey among colour
        pixels[row] = plain_pixels(one, span)
    sizes = np.array([(one.width, one.height) for one in squares], np.int32).reshape(-1, 2)
    return Gathered(pixels, sizes, span, np.array(good, np.int64), tuple(skipped))


def _groups(
    pictures: Iterator[tuple[Given, str]], decoded_bytes: int
) -> Iterator[list[tuple[Given, str]]]:
    """Groups large enough to be worth a thread's while and small enough for any memory."""
    group: list[tuple[Given, str]] = []
    weight = 0
    for picture, where in pictures:
        group.append((picture, where))
        weight += decoded_bytes + (len(picture) if isinstance(picture, bytes) else 0)
        if weight >= _GROUP_BYTES or len(group) == _GROUP_IMAGES:
            yield group
            group, weight = [], 0
    if group:
        yield group


def upright(image: Image.Image) -> Image.Image:
    """The decoded picture turned as its EXIF data say, in mode L or RGB, or F if it is deep."""
    large = image.width * image.height > _LARGE
    held: AbstractContextManager[object] = _ONE_AT_A_TIME if large else nullcontext()
    with held:
        image.load()
        turn = _turn(image)
        plain = _plain(image)
        return plain if turn is None else plain.transpose(turn)


def _decoded(
    picture: Picture, where: str, side: int, max_pixels: int
) -> tuple[Image.Image, int, int]:
    """The upright picture in mode L, RGB or F, at least ``side`` pixels, and its original size."""
    if isinstance(picture, np.ndarray):
        flat = picture.ndim == 3 and picture.shape[2] == 1
        image = _plain(Image.fromarray(picture[:, :, 0] if flat else picture))
        return image, *image.size
    try:
        if isinstance(picture, Image.Image):
            refuse_large(picture.size, picture.size, max_pixels)
            image = upright(picture)
            return image, *image.size
        if isinstance(picture, str):
            picture = read_address(picture)
        with opened(picture, side, max_pixels) as (held, (width, height)):
            image = upright(held)
            lying = _turn(held) in _SWAP_SIDES
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        if isinstance(error, OSError) and error.errno in _OURS:
            raise InputError(
                f"{on_one_line(where)}: {error.strerror}; free some and go on"
            ) from None
        raise BadPictureError(where, reason(error, picture)) from None
    return image, *((height, width) if lying else (width, height))


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The turn that the EXIF data ask for, or None."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # the EXIF data are damaged; the picture itself is not
        return None


def _plain(image: Image.Image) -> Image.Image:
    """Any mode to L or RGB, or to F where there are more than 8 bits."""
    if image.mode == "F" or image.mode.startswith("I"):  # 16 or 32 bits, or floating point
        return _as_float(image)
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        image = opaque(image)
    return image.convert("L" if grey else "RGB")


def _padded(image: Image.Image, size: int, span: Span | None) -> Image.Image:
    """The picture on black, which of deep ones is the least value."""
    black = (span or span_of(np.asarray(image)))[0] if image.mode == "F" else 0
    square = Image.new(image.mode, (size, size), black)
    square.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return square


def _cropped(image: Image.Image, size: int, how: Image.Resampling) -> Image.Image:
    """The centre square, scaled; cropped first, so that a very long picture costs no more."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    if side == size:
        return image.crop(box)
    return image.resize((size, size), how, box=box, reducing_gap=_REDUCING_GAP)


_TIFF_BITS, _TIFF_KIND, _UNSIGNED = 258, 339, 1


def _as_float(image: Image.Image) -> Image.Image:
    """A deep picture in Pillow's mode F."""
    values = np.asarray(image)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and values.dtype == np.int32:
        tags = image.tag_v2
        if tags.get(_TIFF_BITS) == (32,) and tags.get(_TIFF_KIND, (_UNSIGNED,)) == (_UNSIGNED,):
            values = values.view(np.uint32)  # which Pillow reads as signed
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinity")
    return Image.fromarray(values)


def span_of(values: NDArray[np.float32]) -> Span:
    """The least and the greatest of the values."""
    return float(values.min()), float(values.max())


def widened(span: Span | None, pixels: NDArray[Any]) -> Span | None:
    """The span that also holds the values of a picture, if that has more than 8 bits."""
    if pixels.dtype == np.uint8:
        return span
    low, high = span_of(pixels)
    return (low, high) if span is None else (min(span[0], low), max(span[1], high))


def eight_bits(values: NDArray[np.float32], span: Span) -> NDArray[np.uint8]:
    """The values as uint8: the span's ends become 0 and 255, what lies beyond becomes its ends.

    A span of one value says nothing; whole numbers of 16 bits then keep their place among those.
    """
    low, high = span
    if high <= low:
        low, high = (0.0, 65535.0) if 0 <= low <= 65535 else (low - 1, low + 1)
    share = (values.astype(np.float64) - low) / (high - low)
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)


def depth_note(name: str, count: int, span: Span, flat: int) -> str:
    """The line that says how deep pictures became ones of 8 bits, and how many lost all by it."""
    pictures = f"{number_of(count, 'picture')} of more than 8 bits"
    line = (
        f"{name}: {pictures}, scaled by the range of the set: {span[0]:g} to {span[1]:g} "
        "became 0 to 255"
    )
    if flat:
        line += f"; {flat:,} of them became one shade: give pictures of each range in a set apart"
    return line


_SEEN = 48.0
"""Mean difference from white, of 255, from which on a picture can be seen on it."""
_SAMPLED = 64  # pixels a side of the picture that the colour is chosen by, about


def opaque(image: Image.Image) -> Image.Image:
    """A picture with transparency as RGB: on white, or on black if it would vanish on white.

    What counts is how far its colours are from white on average, each pixel by its alpha. The
    same picture gets the same colour wherever it comes from.
    """
    colour = image.convert("RGBA")
    ground = Image.new("RGBA", colour.size, "white" if _seen_on_white(colour) else "black")
    return Image.alpha_composite(ground, colour).convert("RGB")


def _seen_on_white(colour: Image.Image) -> bool:
    weighted = colour.convert("RGBa")  # what a transparent pixel's colour is does not count
    small = weighted.reduce(max(1, max(colour.size) // _SAMPLED))
    values = np.asarray(small, dtype=np.float64)
    alpha = values[:, :, 3]
    if not alpha.any():
        return True
    away = np.abs(alpha[:, :, None] - values[:, :, :3]).mean(axis=2)
    return bool(away.sum() >= _SEEN / 255 * alpha.sum())
