"""Sharded stores: decoded pixels in .npy files of bounded size, with an index beside them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.files import read_json, replacing, write_json
from vicinal.images.decoding import Span
from vicinal.images.image_stream import BLOCK, ChannelSums, ImageStream
from vicinal.images.labels_and_parts import no_labels
from vicinal.images.picture_list import Parts, PictureList, Rows, number_ids, train_and_test

INDEX = "index.json"
SHARD_BYTES = 64 << 20
"""Pixels in a shard, at most: it is gathered in memory before it is written."""
_FORMAT = "vicinal shards 1"


@dataclass(frozen=True)
class NpyShards:
    """Arrays (n, H, W, C) uint8, each in a file."""

    files: tuple[Path, ...]
    counts: tuple[int, ...]  # images in each
    shape: tuple[int, int, int]  # height, width and channels

    def read(self, shard: int, index: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Some images of a shard, see `vicinal.images.image_stream.Shards`."""
        path, image = self.files[shard], int(np.prod(self.shape))
        if len(index) == 0:
            return
        try:
            with path.open("rb") as file:
                begin = _checked_header(file, (self.counts[shard], *self.shape), path)
                for run in np.split(index, np.nonzero(np.diff(index) != 1)[0] + 1):
                    file.seek(begin + int(run[0]) * image)
                    for start in range(0, len(run), BLOCK):
                        block = np.empty((len(run[start : start + BLOCK]), *self.shape), np.uint8)
                        if file.readinto(block.data.cast("B")) != block.nbytes:
                            raise InputError(f"{path}: cut short; write the shards again")
                        yield block
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def load(folder: str) -> Parts:
    """Lists the images of a sharded store; reads none. Ids are their numbers."""
    root, _, parts = _opened(folder)
    name = root.resolve().name
    listed = {}
    for part, held in parts.items():
        place = Rows.all(_pictures, tuple(map(str, held.files)), list(held.counts))
        if len(place.rows):
            ids = number_ids(len(place.rows))
            listed[part] = PictureList.labelled(
                name, place, ids, no_labels(name, "shards keep none")
            )
    return train_and_test(listed, name)


def _pictures(path: str, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """Some images of a shard, and what an error message calls each."""
    try:
        pixels = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); write the shards again") from None
    for row in rows.tolist():
        yield pixels[row], f"{path}, image {row}"


def is_store(folder: str | os.PathLike[str]) -> bool:
    """Whether `write_shards` wrote this folder."""
    try:
        index = read_json(Path(folder) / INDEX)
    except (OSError, ValueError):
        return False
    return isinstance(index, dict) and index.get("format") == _FORMAT


def _opened(folder: str) -> tuple[Path, dict[str, Any], dict[str, NpyShards]]:
    """The folder of a store, its index and its parts."""
    root = Path(os.path.expanduser(folder))
    if not (root / INDEX).is_file():
        raise InputError(f"shards:{folder}: no {INDEX} there; write shards with 'vicinal shard'")
    index = read_json(root / INDEX)
    if not isinstance(index, dict) or index.get("format") != _FORMAT:
        raise InputError(f"{root / INDEX}: not an index of shards; write them again")
    shape = (index["size"], index["size"], index["channels"])
    return (
        root,
        index,
        {name: _part(root, listed, shape) for name, listed in index["parts"].items()},
    )


def open_shards(folder: str, *, test_images: int) -> ImageStream:
    """Opens what `write_shards` wrote."""
    root, index, parts = _opened(folder)
    shape, train = parts["train"].shape, parts["train"]
    test = parts.get("test", NpyShards((), (), shape))
    return ImageStream(
        name=root.resolve().name,
        shards=train,
        size=index["size"],
        channels=index["channels"],
        mean=tuple(index["mean"]),
        std=tuple(index["std"]),
        test=_first(test, test_images),
        fingerprint=hashlib.sha256(json.dumps(index).encode()).hexdigest()[:16],
        span=tuple(index["span"]) if "span" in index else None,
        whole=index.get("whole", False),
    )


def write_shards(
    parts: dict[str, Iterator[NDArray[np.uint8]]],
    folder: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    span: Span | None = None,
) -> dict[str, int]:
    """Writes images into shards; the index, written last, is what makes the folder a store."""
    index: dict[str, Any] = {"format": _FORMAT, "parts": {}}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, blocks in parts.items():
            listed: list[dict[str, Any]] = []
            sums = ChannelSums()
            shape: tuple[int, ...] = ()
            for number, shard in enumerate(_regrouped(blocks, shard_bytes)):
                path = folder / f"{name}-{number:05d}.npy"
                with replacing(path) as partial, partial.open("wb") as file:
                    np.save(file, shard)
                listed.append({"file": path.name, "images": len(shard)})
                sums.add(shard)
                shape = shard.shape[1:]
            if name == "train":
                if not listed:
                    raise InputError("there is no image to write into shards")
                mean, std = sums.statistics()
                index |= {"size": shape[0], "channels": shape[2], "mean": mean, "std": std}
                index |= {"whole": True} | ({} if span is None else {"span": span})
            index["parts"][name] = listed
        write_json(folder / INDEX, index)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from None
    return {
        name: sum(shard["images"] for shard in listed) for name, listed in index["parts"].items()
    }


def _regrouped(
    blocks: Iterator[NDArray[np.uint8]], shard_bytes: int
) -> Iterator[NDArray[np.uint8]]:
    """The same images in arrays of as many as fit into ``shard_bytes``."""
    held: list[NDArray[np.uint8]] = []
    for block in blocks:
        most = max(1, shard_bytes // block[0].nbytes)
        while len(block):
            missing = most - sum(map(len, held))
            held.append(block[:missing])
            block = block[missing:]
            if sum(map(len, held)) == most:
                yield np.concatenate(held)
                held = []
    if held:
        yield np.concatenate(held)


def _part(root: Path, listed: list[dict[str, Any]], shape: tuple[int, int, int]) -> NpyShards:
    files = tuple(root / shard["file"] for shard in listed)
    for path in files:
        if not path.is_file():
            raise InputError(f"{path}: missing; put it back or write the shards again")
    return NpyShards(files, tuple(shard["images"] for shard in listed), shape)


def _first(shards: NpyShards, count: int) -> NDArray[np.uint8]:
    """The first images, at most ``count``, in memory."""
    blocks = [np.empty((0, *shards.shape), np.uint8)]
    for shard, images in enumerate(shards.counts):
        blocks += shards.read(shard, np.arange(min(images, count)))
        count -= min(images, count)
        if not count:
            break
    return np.concatenate(blocks)


def _checked_header(file: Any, shape: tuple[int, ...], path: Path) -> int:
    """Checks the header; returns the offset of the pixels."""
    try:
        version = np.lib.format.read_magic(file)
        assert version == (1, 0)
        found, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except (ValueError, AssertionError):
        raise InputError(f"{path}: not an array of pixels; write the shards again") from None
    if found != shape or fortran or dtype != np.uint8:
        raise InputError(f"{path}: holds {found} {dtype}, not {shape} uint8; write them again")
    return int(file.tell())
