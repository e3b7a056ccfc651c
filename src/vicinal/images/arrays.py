"""Arrays of pixels: those of NumPy's files, and what an array of pictures must be."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError, said_by
from vicinal.images.image_set import ImageSet
from vicinal.images.labels_and_parts import (
    Labels,
    coded_labels,
    label_columns,
    labels_note,
    no_labels,
)
from vicinal.images.picture_list import Index, PictureList, number_ids

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Arrays:
    """Pictures that are pixels already."""

    pixels: Pixels  # (N, H, W, C) uint8, C = 1, 3 or 4 (RGB and alpha); may be a memory map
    origin: str  # what people call the whole

    @property
    def channels(self) -> int:
        """1 (grey) or 3."""
        return 1 if self.pixels.shape[3] == 1 else 3

    def take(self, index: Index) -> Arrays:
        """The pictures at ``index``."""
        return replace(self, pixels=self.pixels[index])

    def stamp(self) -> Iterator[str]:
        """A line that changes when a pixel does."""
        digest = hashlib.sha256(repr(self.pixels.shape).encode())
        for start in range(0, len(self.pixels), _BLOCK):  # bounded memory on a memory map
            digest.update(np.ascontiguousarray(self.pixels[start : start + _BLOCK]).tobytes())
        yield digest.hexdigest()

    def pictures(self) -> Iterator[tuple[Pixels, str]]:
        """Each picture's pixels, and what an error message calls it."""
        for pixels in self.pixels:
            yield pixels, self.origin


def listed(images: ImageSet) -> PictureList:
    """The images of a set whose pixels still have to be fitted."""
    place = Arrays(images.pixels, images.name)
    return PictureList(images.name, place, images.ids, images.labels, images.class_names)


def load(path: str) -> tuple[PictureList, None]:
    """Reads an ``.npy`` of pixels, or an ``.npz`` with ``images`` and, if there are, ``labels``.

    Images are (N, H, W) or (N, H, W, C), C = 1 or 3, or 4 with alpha: whole numbers from 0 to
    255, or booleans, of which True is white; labels (N,) integers or strings. Pixels of type uint8
    in an ``.npy`` file are not read into memory. Ids are the images' numbers.
    """
    where = f"numpy:{path}"
    file = Path(os.path.expanduser(path))
    images, labels, column = _read(file, where)
    try:
        pixels = checked_pixels(stacked(images))
        refuse_ones(pixels)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if 0 in pixels.shape:
        raise InputError(f"{where}: has no images, found {pixels.shape}")
    if labels is None:
        found = no_labels(file.stem, f"no array labels beside the images, found {column}")
    elif labels.size == len(pixels) and labels.dtype.kind in "iuUbf":
        codes, names = coded_labels(labels.ravel().tolist(), (), where)
        found = no_labels(file.stem, f"the array {column} is empty, or all -1")
        if codes is not None:
            note = labels_note(file.stem, names, f"the array {column}", codes)
            found = Labels(codes, names, note)
    else:
        raise InputError(
            f"{where}: labels must be {len(pixels)} integers or strings, found "
            f"{labels.shape} of {labels.dtype}"
        )
    place = Arrays(pixels, str(file))
    return PictureList.labelled(file.stem, place, number_ids(len(pixels)), found), None


def _read(file: Path, where: str) -> tuple[NDArray[Any], NDArray[Any] | None, str]:
    """The images and the labels as they are in the file, and what the labels' array is called."""
    try:
        if file.suffix.lower() != ".npz":
            # Copy on write: torch takes only arrays it could write to, and the file stays as it is.
            return np.lib.format.open_memmap(file, mode="c"), None, "one array"
        with np.load(file, allow_pickle=False) as held:
            if "images" not in held:
                raise InputError(f"{where}: no array `images`, found {', '.join(held)}")
            column = next(iter(label_columns(list(held))), None)
            labels = None if column is None else held[column]
            return held["images"], labels, column or ", ".join(held)
    except InputError:
        raise
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        said = getattr(error, "strerror", None) or said_by(error)
        raise InputError(
            f"{where}: cannot be read ({said}); give an .npy file, or an .npz with "
            "images and labels"
        ) from None


_CHANNELS = (1, 3, 4)
_BLOCK = 1024  # pictures whose range is looked at before the next


def checked_pixels(values: NDArray[Any]) -> Pixels:
    """An array of any type as uint8, if it holds whole numbers from 0 to 255; True is white."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "O":
        with suppress(ValueError):  # lists of unequal lengths stay what they are
            values = np.array(values.tolist())
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "iuf":
        raise InputError(f"images must hold numbers from 0 to 255, found type {values.dtype}")
    if values.size and not (values.min() >= 0 and values.max() <= 255):
        negative = "Negative values in data: " if values.min() < 0 else ""  # scikit-learn's words
        raise InputError(
            f"{negative}images must hold numbers from 0 to 255, "
            f"found {values.min():g} to {values.max():g}; scale yours to that and round"
        )
    pixels = values.astype(np.uint8)
    if not np.array_equal(pixels, values):
        if values.max() <= 1:
            raise InputError(_FRACTIONS)
        raise InputError(
            "images must hold whole numbers from 0 to 255; scale yours to that and round"
        )
    return pixels


_FRACTIONS = (
    "images must hold whole numbers from 0 to 255, found numbers from 0 to 1, which would be "
    "black; multiply by 255 and round, or give booleans, of which True is white"
)


def stacked(images: NDArray[Any]) -> NDArray[Any]:
    """An array of pictures as (N, H, W, C), C = 1, 3 or 4."""
    wanted = "images must be (N, H, W) or (N, H, W, 1 or 3), or 4 with alpha"
    if images.ndim == 3 and images.shape[2] in _CHANNELS:
        raise InputError(
            f"{wanted}, found {images.shape}, which is a single picture; give it as "
            f"{(1, *images.shape)}, beside others"
        )
    if images.ndim >= 3 and 0 in images.shape[1:3]:
        raise InputError(f"{wanted}, found {images.shape}, which has no pixels")
    if images.ndim == 3:
        return images[..., None]
    if images.ndim == 4 and images.shape[3] in _CHANNELS:
        return images
    last = images.ndim == 4 and images.shape[1] in _CHANNELS
    raise InputError(f"{wanted}, found {images.shape}{'; put the channels last' if last else ''}")


def refuse_ones(pixels: Pixels) -> None:
    """Refuses a set whose brightest pixel is 1 of 255: it is meant to be white."""
    greatest = 0
    for start in range(0, len(pixels), _BLOCK):
        greatest = max(greatest, int(pixels[start : start + _BLOCK].max(initial=0)))
        if greatest > 1:
            return
    if greatest == 1:
        raise InputError(_FRACTIONS)


def dim_note(name: str, brightest: int) -> str:
    """The line that says that all pictures look black."""
    return (
        f"{name}: the brightest pixel is {brightest} of 255, so that the pictures look black; "
        "scale them to 0 to 255 if they should not"
    )
