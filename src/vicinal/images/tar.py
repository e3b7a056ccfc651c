"""WebDataset shards: pictures in tar files, read in order and decoded as they come."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError
from vicinal.files import read_json, write_json
from vicinal.images import fit
from vicinal.images.folder import SUFFIXES
from vicinal.images.stream import BLOCK, ChannelSums, ImageStream

_SAMPLED = 4096
"""Images, from the front of up to 8 shards, of which mean and deviation are taken."""
_GROUP = 16


@dataclass(frozen=True)
class TarShards:
    """Tar files of encoded images.

    Attributes:
        files: The files.
        counts: Images in each.
        size: Height and width of the decoded images.
        channels: 1 or 3; 0 while it is not known, which keeps grey pictures grey.
        interpolation: How pictures are scaled, one of `fit.INTERPOLATIONS`.
    """

    files: tuple[Path, ...]
    counts: tuple[int, ...]
    size: int
    channels: int
    interpolation: str = "bilinear"

    def read(self, shard: int, index: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Some images of a shard, see `vicinal.images.stream.Shards`; decoded on all cores."""
        path = self.files[shard]
        with ThreadPoolExecutor(cores.cores(), "decode") as pool:
            group: list[tuple[bytes, str]] = []
            for picture in _pictures(path, index):
                group.append(picture)
                if len(group) == BLOCK:
                    yield self._decoded(pool, group)
                    group = []
            if group:
                yield self._decoded(pool, group)

    def _decoded(
        self, pool: ThreadPoolExecutor, group: list[tuple[bytes, str]]
    ) -> NDArray[np.uint8]:
        def decode(some: list[tuple[bytes, str]]) -> list[NDArray[np.uint8]]:
            return [
                fit.decode(
                    picture,
                    where,
                    size=self.size,
                    channels=self.channels or None,
                    pad=False,
                    interpolation=self.interpolation,
                )
                for picture, where in some
            ]

        parts = [group[start : start + _GROUP] for start in range(0, len(group), _GROUP)]
        images = [image for part in pool.map(decode, parts) for image in part]
        if any(image.shape != images[0].shape for image in images):  # grey among colour
            images = [np.broadcast_to(image, (*image.shape[:2], 3)) for image in images]
        return np.stack(images)


def open_tar(
    pattern: str, *, size: int, cache: Path, interpolation: str = "bilinear"
) -> ImageStream:
    """Opens tar files of images: every member that is called like an image is one.

    The files are read through once for how many images each holds, which is kept in ``cache``.
    Mean, deviation and whether all is grey are taken of a sample of 4,096 images.

    Args:
        pattern: A file or a glob; ``{0000..0009}`` in it stands for these numbers.
        size: Height and width of the decoded images.
        cache: Folder for what is known of the files.
        interpolation: How pictures are scaled, one of `fit.INTERPOLATIONS`.

    Raises:
        InputError: If nothing matches, or a file is no tar file or has no image.
    """
    files = _files(pattern)
    stamp = [f"{path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    digest = hashlib.sha256(repr((size, fit.RULE, stamp)).encode()).hexdigest()
    kept = cache / "tar" / f"{digest[:32]}.json"
    if not kept.is_file():
        counts = tuple(sum(1 for _ in _members(path)) for path in files)
        for path, count in zip(files, counts, strict=True):
            if not count:
                raise InputError(
                    f"{path}: no image in it; members must end in {' '.join(SUFFIXES)}"
                )
        mean, std = _sampled(TarShards(files, counts, size, 0))
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, {"counts": counts, "mean": mean, "std": std})
    known = read_json(kept)
    channels = len(known["mean"])
    return ImageStream(
        name=files[0].name.partition(".")[0],
        shards=TarShards(files, tuple(known["counts"]), size, channels, interpolation),
        size=size,
        channels=channels,
        mean=tuple(known["mean"]),
        std=tuple(known["std"]),
        test=np.empty((0, size, size, channels), np.uint8),
        fingerprint=digest[:16],
    )


def tar_pictures(pattern: str) -> Iterator[tuple[bytes, str]]:
    """Every encoded image of tar files, see `open_tar`, and what an error message calls it."""
    for path in _files(pattern):
        with _opened(path) as tar:
            for member in _members(path, tar):
                file = tar.extractfile(member)
                assert file is not None
                yield file.read(), f"{path}, {member.name}"


def _files(pattern: str) -> tuple[Path, ...]:
    expanded = os.path.expanduser(pattern)
    found: list[Path] = []
    for one in _braces(expanded):
        matches = sorted(glob.glob(one)) if glob.has_magic(one) else [one]
        found += [Path(match) for match in matches]
    if not found:
        raise InputError(f"tar:{pattern}: no tar file there; give a file or a pattern")
    for path in found:
        if not path.is_file():
            raise InputError(f"{path}: no such file; check the pattern tar:{pattern}")
    return tuple(found)


def _braces(pattern: str) -> list[str]:
    """``a{08..10}`` -> ``a08``, ``a09``, ``a10``; several braces give every combination."""
    match = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if match is None:
        return [pattern]
    low, high = match.groups()
    return [
        whole
        for number in range(int(low), int(high) + 1)
        for whole in _braces(
            f"{pattern[: match.start()]}{number:0{len(low)}d}{pattern[match.end() :]}"
        )
    ]


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:*") as tar:
            yield tar
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as a tar file ({error}); replace it") from None


def _members(path: Path, tar: tarfile.TarFile | None = None) -> Iterator[tarfile.TarInfo]:
    """The members that are images, in order."""
    if tar is None:
        with _opened(path) as opened:
            yield from _members(path, opened)
        return
    while (member := tar.next()) is not None:
        # Or a file of a million members would fill the memory; typeshed does not know the list.
        tar.members.clear()  # type: ignore[attr-defined]
        hidden = Path(member.name).name.startswith(".")
        if member.isfile() and not hidden and member.name.lower().endswith(SUFFIXES):
            yield member


def _pictures(path: Path, index: NDArray[np.int64]) -> Iterator[tuple[bytes, str]]:
    """The encoded images at ``index``, ascending, and what an error message calls each."""
    wanted = iter(index.tolist())
    position = next(wanted, None)
    with _opened(path) as tar:
        for number, member in enumerate(_members(path, tar)):
            if position is None:
                return
            if number == position:
                file = tar.extractfile(member)
                assert file is not None
                yield file.read(), f"{path}, {member.name}"
                position = next(wanted, None)
    if position is not None:
        raise InputError(f"{path}: has fewer images than when it was counted; start again")


def _sampled(shards: TarShards) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel; of one channel if all of the sample is grey."""
    chosen = np.unique(np.linspace(0, len(shards.files) - 1, 8).astype(int)).tolist()
    each = _SAMPLED // len(chosen)
    sums = ChannelSums()
    for shard in chosen:
        for block in shards.read(shard, np.arange(min(each, shards.counts[shard]))):
            sums.add(block)
    return sums.statistics()
