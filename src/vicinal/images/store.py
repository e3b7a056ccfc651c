"""Decode once: the memory-mapped array of pixels behind an ImageSet."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError, StorageError
from vicinal.files import replacing

Picture = bytes | Path | NDArray[np.uint8]
Decoder = Callable[[Picture, str, int | None], NDArray[np.uint8]]
"""(picture, what to call it, channels or None) -> array (size, size, 1 or 3) uint8."""

_GROUP_BYTES = 8 << 20
_GROUP_IMAGES = 256


class Pictures(Protocol):
    """What can be decoded into the store."""

    @property
    def ids(self) -> NDArray[np.str_]:
        """(N,) strings, unique within the set."""

    def stamp(self) -> Iterator[str]:
        """Lines that change when a file, or the choice of images, does."""

    def pictures(self) -> Iterator[tuple[Picture, str]]:
        """Each picture in turn, and what an error message calls it."""


class Encoded(Pictures, Protocol):
    """Images that are listed but not decoded yet: what a loader of encoded images returns."""

    @property
    def name(self) -> str:
        """What people call the set."""

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """(N,) int64 positions in ``class_names``, or None."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes."""

    def take(self, index: NDArray[np.int64]) -> Self:
        """The images at ``index`` (K,) int64, which ascends."""


def stored(
    images: Pictures,
    decode: Decoder,
    *,
    size: int,
    channels: int | None,
    rule: str,
    folder: Path,
) -> NDArray[np.uint8]:
    """The decoded pixels, from the store if they are there, else decoded into it.

    Args:
        images: What to decode.
        decode: Makes an array of one picture.
        size: Height and width of the arrays that ``decode`` gives.
        channels: 1 or 3; None means 1 if every picture is grey and 3 otherwise.
        rule: Names what ``decode`` does; other pixels, other rule.
        folder: Where the arrays are kept.

    Returns:
        Memory map (N, size, size, channels) uint8; what is written to it never reaches the file.

    Raises:
        InputError: If a picture cannot be decoded or the folder cannot be written.
    """
    digest = hashlib.sha256(repr((size, channels, rule)).encode())
    for line in images.stamp():
        digest.update(line.encode("utf-8", "surrogateescape") + b"\0")
    path = folder / f"{digest.hexdigest()[:32]}.npy"
    count = len(images.ids)
    kept = _opened(path, count, size)
    if kept is not None:
        return kept
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            # Grey until the first colour picture shows up, which is soon if ever.
            for attempt in (1, 3) if channels is None else (channels,):
                asked = None if attempt == 1 and channels is None else attempt
                with partial.open("wb") as file:
                    _write_header(file, (count, size, size, attempt))
                    if _write_pixels(file, _decoded(images, decode, asked, size), attempt):
                        break
    except (OSError, StorageError) as error:
        reason = error.reason if isinstance(error, StorageError) else error.strerror or error
        raise InputError(
            f"cannot keep decoded images in {folder} ({reason}); "
            "name another folder with --data-dir"
        ) from None
    written = _opened(path, count, size)
    assert written is not None
    return written


def _opened(path: Path, count: int, size: int) -> NDArray[np.uint8] | None:
    """The memory map, or None where there is none or it is damaged."""
    try:
        # Copy on write: torch takes only arrays it could write to, and the file stays as it is.
        array: NDArray[np.uint8] = np.load(path, mmap_mode="c")
    except (OSError, ValueError, EOFError):
        return None
    fits = array.shape in ((count, size, size, 1), (count, size, size, 3))
    return array if fits and array.dtype == np.uint8 else None


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _write_pixels(
    file: IO[bytes], groups: Iterator[list[NDArray[np.uint8]]], channels: int
) -> bool:
    """Appends the arrays; stops and returns False at the first of other channels."""
    for group in groups:
        if any(array.shape[2] != channels for array in group):
            return False
        # Written, not mapped: a full disk is an error here, and a crash on a memory map.
        file.write(np.stack(group).tobytes())
    return True


def _decoded(
    images: Pictures, decode: Decoder, channels: int | None, size: int
) -> Iterator[list[NDArray[np.uint8]]]:
    """Decodes group by group on all cores, in order, with few groups in memory at a time."""

    def decode_group(group: list[tuple[Picture, str]]) -> list[NDArray[np.uint8]]:
        return [decode(picture, where, channels) for picture, where in group]

    workers = os.cpu_count() or 1
    waiting: deque[Future[list[NDArray[np.uint8]]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for group in _groups(images.pictures(), 3 * size * size):
            waiting.append(pool.submit(decode_group, group))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _groups(
    pictures: Iterator[tuple[Picture, str]], decoded_bytes: int
) -> Iterator[list[tuple[Picture, str]]]:
    """Groups large enough to be worth a thread's while and small enough for any memory."""
    group: list[tuple[Picture, str]] = []
    weight = 0
    for picture, where in pictures:
        group.append((picture, where))
        weight += decoded_bytes + (len(picture) if isinstance(picture, bytes) else 0)
        if weight >= _GROUP_BYTES or len(group) == _GROUP_IMAGES:
            yield group
            group, weight = [], 0
    if group:
        yield group
