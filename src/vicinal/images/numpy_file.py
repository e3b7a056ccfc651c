"""Arrays of pixels in NumPy's files."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError, said_by
from vicinal.images.classes import coded
from vicinal.images.imageset import ImageSet
from vicinal.images.in_memory import checked_pixels


def load(path: str) -> tuple[ImageSet, None]:
    """Reads an ``.npy`` of pixels, or an ``.npz`` with ``images`` and, if there are, ``labels``.

    Images are (N, H, W) or (N, H, W, 1 or 3), whole numbers from 0 to 255; labels (N,) integers or
    strings. Pixels of type uint8 in an ``.npy`` file are not read into memory. Ids are the images'
    numbers.

    Returns:
        All of them, and None: there is no test part.

    Raises:
        InputError: If there is no such file, it holds no such arrays, or it holds Python objects,
            which could run anything.
    """
    where = f"numpy:{path}"
    file = Path(os.path.expanduser(path))
    images, labels = _read(file, where)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise InputError(
            f"{where}: images must be (N, H, W) or (N, H, W, 1 or 3), found {images.shape}"
        )
    if 0 in images.shape:
        raise InputError(f"{where}: has no images, found {images.shape}")
    codes: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    if labels is not None:
        if labels.size != len(images) or labels.dtype.kind not in "iuUb":
            raise InputError(
                f"{where}: labels must be {len(images)} integers or strings, found "
                f"{labels.shape} of {labels.dtype}"
            )
        codes, names = coded(labels.ravel().astype(np.str_))
    try:
        pixels = checked_pixels(images)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    ids = np.array([f"{number:06d}" for number in range(len(pixels))])
    return ImageSet(file.stem, pixels, ids, codes, names), None


def _read(file: Path, where: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The arrays as they are in the file."""
    try:
        if file.suffix.lower() != ".npz":
            # Copy on write: torch takes only arrays it could write to, and the file stays as it is.
            return np.lib.format.open_memmap(file, mode="c"), None
        with np.load(file, allow_pickle=False) as held:
            if "images" not in held:
                raise InputError(f"{where}: no array `images`, found {', '.join(held)}")
            return held["images"], held.get("labels")
    except InputError:
        raise
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        said = getattr(error, "strerror", None) or said_by(error)
        raise InputError(
            f"{where}: cannot be read ({said}); give an .npy file, or an .npz with "
            "images and labels"
        ) from None
