"""Which files are pictures, and opening one within limits."""

from __future__ import annotations

import importlib.util
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePath
from typing import IO

from PIL import Image, UnidentifiedImageError, features

from vicinal.errors import said_by

_READ = {
    "BMP": ".bmp .dib",
    "DDS": ".dds",
    "DIB": "",
    "GIF": ".gif",
    "ICNS": ".icns",
    "ICO": ".ico",
    "JPEG": ".jfif .jpe .jpeg .jpg .mpo",
    "PCX": ".pcx",
    "PNG": ".apng .png",
    "PPM": ".pbm .pfm .pgm .pnm .ppm",
    "PSD": ".psd",
    "QOI": ".qoi",
    "SGI": ".bw .rgb .rgba .sgi",
    "TGA": ".icb .tga .vda .vst",
    "TIFF": ".tif .tiff",
    "WEBP": ".webp",
}
_PERHAPS = {
    "AVIF": ".avif .avifs",
    "HEIF": ".heic .heics .heif .heifs .hif",
    "JPEG2000": ".j2c .j2k .jp2 .jpc .jpf .jpx",
}
"""Formats that Pillow, or pillow-heif, reads on some machines."""
_MENDS = {
    "AVIF": "AVIF, which this Pillow does not read: pip install -U pillow",
    "HEIF": "HEIC, which Pillow alone does not read: pip install 'vicinal[heif]'",
    "JPEG2000": "JPEG 2000, which this Pillow was built without: pip install -U pillow",
}
_RAW = (
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .gpr .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef "
    ".raf .raw .rw2 .rwl .sr2 .srf .srw .x3f"
)
_OTHERS = {
    _RAW: "a camera's raw file, which is not read: export it as TIFF or JPEG",
    ".ai .cdr .emf .eps .ps .svg .svgz .wmf": "a drawing without pixels: export it as PNG",
    ".dcm .dicom .mha .mhd .nii .nrrd": "a scanner's format: export 16-bit PNG or TIFF files",
    ".czi .lif .lsm .nd2 .ndpi .oib .svs .vsi": "a microscope's format: export it as TIFF",
    ".exr .fits .fts .hdr": "numbers without a usual range: export it as TIFF",
    ".afphoto .clip .kra .psb .sketch .xcf": "an editor's own format: export it as PNG",
    ".jxl": "JPEG XL, which Pillow does not read: convert it to PNG or JPEG",
    ".bpg .cin .cur .dcx .djvu .dpx .fli .flif .hdp .jng .jxr .mng .pcd .pct .pict .ras .sun "
    ".wbmp .wdp .xbm .xpm": "a format that is not read: convert it to PNG",
}
_UNREAD = {suffix: reason for suffixes, reason in _OTHERS.items() for suffix in suffixes.split()}
_RAWS = frozenset(_RAW.split())


@cache
def formats() -> tuple[str, ...]:
    """The formats that Pillow may open; for some others it would run a program."""
    return (*_READ, *(name for name in _PERHAPS if _there(name)))


@cache
def suffixes() -> tuple[str, ...]:
    """How the names of pictures that are read end, in lower case."""
    known = _READ | {name: _PERHAPS[name] for name in formats() if name in _PERHAPS}
    return tuple(sorted(suffix for listed in known.values() for suffix in listed.split()))


def unread(name: str, head: bytes = b"") -> str | None:
    """Why a file that looks like a picture is not read, and what helps; None for any other file."""
    suffix = PurePath(name).suffix.lower()
    for kind, listed in _PERHAPS.items():
        if kind not in formats() and (suffix in listed.split() or kind == _sniffed(head)):
            return _MENDS[kind]
    return _UNREAD.get(suffix) or _UNREAD.get(_sniffed(head) or "")


def is_picture(head: bytes) -> bool:
    """Whether a file's first bytes are those of a common kind of picture, whatever its name."""
    starts = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*")
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(starts) or webp or _sniffed(head) in _PERHAPS


def is_raw(name: str) -> bool:
    """Whether a file is a camera's raw one, of which Pillow would open a tiny preview."""
    return PurePath(name).suffix.lower() in _RAWS


def _there(kind: str) -> bool:
    if kind != "HEIF":
        return bool(features.check({"AVIF": "avif", "JPEG2000": "jpg_2000"}[kind]))
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    import pillow_heif  # the extra `heif`

    Image.init()
    pillow_heif.register_heif_opener()
    return True


def _sniffed(head: bytes) -> str | None:
    """The format by the first bytes of a file: a name of `_PERHAPS` or a suffix."""
    if head[4:8] == b"ftyp":
        avif = head[8:12] in (b"avif", b"avis")
        heif = head[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
        return "AVIF" if avif else "HEIF" if heif else None
    if head[:2] == b"\xff\x0a" or head[4:8] == b"JXL ":
        return ".jxl"
    if head[128:132] == b"DICM":
        return ".dcm"
    text = head[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    return ".svg" if text.startswith(b"<svg") or b"<svg" in text else None


MOST_PIXELS = 178_956_970
"""Pixels that a picture may have, as it is decoded, by default: Pillow's own limit."""
# Not `option`: skipped.csv and the store keep the reason, and others than the caller read them.
_RAISED_BY = "--max-megapixels or max_pixels raises it"
_HEAD = 256  # bytes by which formats are known


class TooManyPixelsError(ValueError):
    """A picture whose pixels would fill more memory than it may."""


@contextmanager
def opened(
    file: bytes | Path, side: int, most_pixels: int = MOST_PIXELS
) -> Iterator[tuple[Image.Image, tuple[int, int]]]:
    """The picture in a file, not decoded yet, and its size; a large JPEG comes at a fraction."""
    if isinstance(file, Path):
        if not stat.S_ISREG(os.stat(file).st_mode):
            raise ValueError("not a file")  # a pipe would wait for ever
        if is_raw(file.name):
            raise UnidentifiedImageError
    with _opened(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
        size = image.size
        image.draft(None, (side, side))
        # All coefficients of a progressive JPEG lie in memory, at whatever fraction.
        refuse_large(size, size if image.info.get("progressive") else image.size, most_pixels)
        yield image, size


def refuse_large(size: tuple[int, int], decoded: tuple[int, int], most_pixels: int) -> None:
    """Raises `TooManyPixelsError` for a picture of ``size`` that would be ``decoded`` too large."""
    if decoded[0] * decoded[1] > most_pixels:
        whose = "Pillow's safety limit allows" if most_pixels == MOST_PIXELS else "are allowed"
        raise TooManyPixelsError(
            f"has more pixels than {whose} ({size[0] * size[1]} pixels, at most {most_pixels}; "
            f"{_RAISED_BY})"
        )


def reason(error: Exception, file: object = None) -> str:
    """Why a picture cannot be decoded, in a few words without a path in them."""
    if isinstance(error, UnidentifiedImageError):
        name = file.name if isinstance(file, Path) else ""
        known = unread(name, head(file))
        return f"is {known}" if known else "not an image of a known format"
    if isinstance(error, TooManyPixelsError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return f"has more pixels than Pillow's safety limit allows ({error})"
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return f"cannot be read as an image ({said_by(error)})"


@contextmanager
def _opened(file: IO[bytes] | Path) -> Iterator[Image.Image]:
    """As Pillow opens it, without its limit, which holds before a JPEG is reduced."""
    try:
        image = Image.open(file, formats=formats())
    except Image.DecompressionBombError:
        with file.open("rb") if isinstance(file, Path) else file as stream:
            yield _by_its_format(stream)
        return
    with image:
        yield image


def _by_its_format(stream: IO[bytes]) -> Image.Image:
    """The picture as the first of the formats that knows its head opens it."""
    stream.seek(0)
    head = stream.read(16)
    for name in formats():
        factory, accepts = Image.OPEN[name]
        if accepts is not None and accepts(head) is True:
            stream.seek(0)
            return factory(stream, "")
    raise UnidentifiedImageError


def head(file: object) -> bytes:
    """The first bytes of a file, by which formats are known; empty if it cannot be read."""
    if isinstance(file, bytes):
        return file[:_HEAD]
    if not isinstance(file, Path):
        return b""
    try:
        if not file.is_file():  # a pipe would wait for ever
            return b""
        with file.open("rb") as opened:
            return opened.read(_HEAD)
    except OSError:
        return b""
