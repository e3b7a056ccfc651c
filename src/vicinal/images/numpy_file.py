"""Arrays of pixels in NumPy's files."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError, said_by
from vicinal.images.decoding import checked_pixels, refuse_ones, stacked
from vicinal.images.imageset import ImageSet
from vicinal.images.skipped import Skipped
from vicinal.images.tables import coded, label_columns, labels_told, no_labels_told


@dataclass(frozen=True, eq=False)
class Transparent:
    """Arrays with alpha, which are laid on a colour one by one.

    Attributes:
        name: What people call the set.
        pixels: (N, H, W, 4) uint8: RGB and alpha.
        file: Where they are from.
        ids: (N,) strings, the images' numbers.
        labels: (N,) int64 positions in ``class_names``, or None.
        class_names: The names of the classes; empty without labels.
        skipped: Nothing.
        notes: Lines for the user: where the labels are from.
    """

    name: str
    pixels: NDArray[np.uint8]
    file: Path
    ids: NDArray[np.str_]
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    def take(self, index: NDArray[np.int64]) -> Transparent:
        """The images at ``index`` (K,) int64."""
        labels = None if self.labels is None else self.labels[index]
        return replace(self, pixels=self.pixels[index], ids=self.ids[index], labels=labels)

    def stamp(self) -> Iterator[str]:
        """Lines that change when the file, or the choice of images, does."""
        found = self.file.stat()
        yield f"{self.file.resolve()} {found.st_size} {found.st_mtime_ns}"
        yield from self.ids.tolist()

    def pictures(self) -> Iterator[tuple[NDArray[np.uint8], str]]:
        """Each image, and what an error message calls it."""
        for pixels, number in zip(self.pixels, self.ids.tolist(), strict=True):
            yield pixels, f"{self.file}, image {number}"


def load(path: str) -> tuple[ImageSet | Transparent, None]:
    """Reads an ``.npy`` of pixels, or an ``.npz`` with ``images`` and, if there are, ``labels``.

    Images are (N, H, W) or (N, H, W, C), C = 1 or 3, or 4 with alpha: whole numbers from 0 to
    255, or booleans, of which True is white; labels (N,) integers or strings. Pixels of type uint8
    in an ``.npy`` file are not read into memory. Ids are the images' numbers.

    Returns:
        All of them, and None: there is no test part.

    Raises:
        InputError: If there is no such file, it holds no such arrays, or it holds Python objects,
            which could run anything.
    """
    where = f"numpy:{path}"
    file = Path(os.path.expanduser(path))
    images, labels, column = _read(file, where)
    try:
        images = stacked(images)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if 0 in images.shape:
        raise InputError(f"{where}: has no images, found {images.shape}")
    codes: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    if labels is None:
        note = no_labels_told(file.stem, f"no array labels beside the images, found {column}")
    else:
        if labels.size != len(images) or labels.dtype.kind not in "iuUb":
            raise InputError(
                f"{where}: labels must be {len(images)} integers or strings, found "
                f"{labels.shape} of {labels.dtype}"
            )
        codes, names = coded(labels.ravel().astype(np.str_))
        note = labels_told(file.stem, len(names), f"the array {column}")
    try:
        pixels = checked_pixels(images)
        refuse_ones(pixels)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    ids = np.array([f"{number:06d}" for number in range(len(pixels))])
    if pixels.shape[3] == 4:
        return Transparent(file.stem, pixels, file, ids, codes, names, notes=(note,)), None
    return ImageSet(file.stem, pixels, ids, codes, names, notes=(note,)), None


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
