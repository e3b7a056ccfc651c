"""WebDataset shards: pictures in tar files, read in order and decoded as they come."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError
from vicinal.files import excluded, left_behind, literal_start, read_json, write_json
from vicinal.images import decoding
from vicinal.images.decoding import Span, eight_bits, joined, span_of
from vicinal.images.formats import MOST_PIXELS, suffixes, unread
from vicinal.images.image_stream import BLOCK, ChannelSums, ImageStream
from vicinal.progress import tell

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
        span: The values of pictures of more than 8 bits that become 0 and 255.
        exclude: Patterns of members that are left out.
        max_pixels: Pixels of a picture that may be decoded.
    """

    files: tuple[Path, ...]
    counts: tuple[int, ...]
    size: int
    channels: int
    interpolation: str = "bilinear"
    span: Span | None = None
    exclude: tuple[str, ...] = ()
    max_pixels: int = MOST_PIXELS

    def read(self, shard: int, index: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Some images of a shard, see `Shards`, decoded on all cores."""
        for squares in self.squares(shard, index):
            images = [
                one if one.dtype == np.uint8 else eight_bits(one, self.span or span_of(one))
                for one in squares
            ]
            if any(image.shape != images[0].shape for image in images):  # grey among colour
                images = [np.broadcast_to(image, (*image.shape[:2], 3)) for image in images]
            yield np.stack(images)

    def squares(self, shard: int, index: NDArray[np.int64]) -> Iterator[list[NDArray[Any]]]:
        """As `read`, the pixels of each image by itself; of more than 8 bits as they are."""
        pictures = _pictures(self.files[shard], index, self.exclude)
        with ThreadPoolExecutor(cores.cores(), "decode") as pool:
            while group := list(islice(pictures, BLOCK)):
                parts = [group[start : start + _GROUP] for start in range(0, len(group), _GROUP)]
                yield [image for part in pool.map(self._decoded, parts) for image in part]

    def _decoded(self, some: list[tuple[bytes, str]]) -> list[NDArray[Any]]:
        return [
            decoding.square(
                picture,
                where,
                size=self.size,
                channels=self.channels or None,
                pad=False,
                interpolation=self.interpolation,
                span=self.span,
                most_pixels=self.max_pixels,
            ).pixels
            for picture, where in some
        ]


def open_tar(
    pattern: str,
    *,
    size: int,
    cache: Path,
    interpolation: str = "bilinear",
    exclude: tuple[str, ...] = (),
    max_pixels: int = MOST_PIXELS,
) -> ImageStream:
    """Opens tar files of images: every member that is called like an image is one.

    The files are read through once for how many images each holds, which is kept in ``cache``.
    Mean, deviation, whether all is grey, and the range of pictures of more than 8 bits are taken
    of a sample of 4,096 images. A line says what else looks like a picture and is not read.

    Args:
        pattern: A file or a glob; ``{0000..0009}`` in it stands for these numbers.
        size: Height and width of the decoded images.
        cache: Folder for what is known of the files.
        interpolation: How pictures are scaled, one of `fit.INTERPOLATIONS`.
        exclude: Patterns of members that are left out, see `vicinal.files.excluded`.
        max_pixels: Pixels of a picture that may be decoded.

    Raises:
        InputError: If nothing matches, or a file is no tar file or has no image.
    """
    files = _files(pattern)
    stamp = [f"{path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    asked = (size, decoding.RULE, stamp, interpolation, exclude, max_pixels, suffixes())
    digest = hashlib.sha256(repr(asked).encode()).hexdigest()
    how: dict[str, Any] = {"interpolation": interpolation, "max_pixels": max_pixels}
    shards = TarShards(files, (), size, 0, exclude=exclude, **how)
    kept = cache / "tar" / f"{digest[:32]}.json"
    if not kept.is_file():
        others: Counter[str] = Counter()
        counts = tuple(sum(1 for _ in _members(path, exclude, others)) for path in files)
        for path, count in zip(files, counts, strict=True):
            if not count:
                raise InputError(
                    f"{path}: no image in it; members must end in {' '.join(suffixes())}"
                )
        mean, std, span = _sampled(replace(shards, counts=counts))
        kept.parent.mkdir(parents=True, exist_ok=True)
        known = {"counts": counts, "mean": mean, "std": std, "span": span, "others": others}
        write_json(kept, known)
    known = read_json(kept)
    channels, name = len(known["mean"]), files[0].name.partition(".")[0]
    span = None if known["span"] is None else tuple(known["span"])
    tell(_notes(name, known["others"], span))
    return ImageStream(
        name=name,
        shards=replace(shards, counts=tuple(known["counts"]), channels=channels, span=span),
        size=size,
        channels=channels,
        mean=tuple(known["mean"]),
        std=tuple(known["std"]),
        test=np.empty((0, size, size, channels), np.uint8),
        fingerprint=digest[:16],
        span=span,
    )


def _notes(name: str, others: dict[str, int], span: Span | None) -> Iterator[str]:
    """Lines for the user: what is not used, and how deep pictures are scaled."""
    if others:
        unused = ", ".join(f"{count:,} {kind}" for kind, count in others.items())
        yield f"{name}: not used: {unused}"
    if span is not None:
        yield (
            f"{name}: pictures of more than 8 bits, scaled by the range of a sample: "
            f"{span[0]:g} to {span[1]:g} became 0 to 255"
        )


def tar_pictures(pattern: str, exclude: tuple[str, ...] = ()) -> Iterator[tuple[bytes, str]]:
    """Every encoded image of tar files, see `open_tar`, and what an error message calls it."""
    for path in _files(pattern):
        with _opened(path) as tar:
            for member in _members(path, exclude, None, tar):
                file = tar.extractfile(member)
                assert file is not None
                yield file.read(), f"{path}, {member.name}"


def _files(pattern: str) -> tuple[Path, ...]:
    expanded = os.path.expanduser(pattern)
    found: list[Path] = []
    for one in _braces(expanded):
        there = os.path.isfile(one) or not glob.has_magic(one)
        matches = [one] if there else sorted(glob.glob(literal_start(one)))
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


def _members(
    path: Path,
    exclude: tuple[str, ...],
    others: Counter[str] | None = None,
    tar: tarfile.TarFile | None = None,
) -> Iterator[tarfile.TarInfo]:
    """The members that are images, in order; ``others`` counts those that only look like one."""
    if tar is None:
        with _opened(path) as opened:
            yield from _members(path, exclude, others, opened)
        return
    while (member := tar.next()) is not None:
        # Or a file of a million members would fill the memory; typeshed does not know the list.
        tar.members.clear()  # type: ignore[attr-defined]
        name = member.name.removeprefix("./")
        if not member.isfile() or left_behind(name) or excluded(name, exclude):
            continue
        if name.lower().endswith(suffixes()):
            yield member
        elif others is not None and (reason := unread(name)) is not None:
            others[f"{Path(name).suffix.lower()} ({reason})"] += 1


def _pictures(
    path: Path, index: NDArray[np.int64], exclude: tuple[str, ...]
) -> Iterator[tuple[bytes, str]]:
    """The encoded images at ``index``, ascending, and what an error message calls each."""
    wanted = iter(index.tolist())
    position = next(wanted, None)
    with _opened(path) as tar:
        for number, member in enumerate(_members(path, exclude, None, tar)):
            if position is None:
                return
            if number == position:
                file = tar.extractfile(member)
                assert file is not None
                yield file.read(), f"{path}, {member.name}"
                position = next(wanted, None)
    if position is not None:
        raise InputError(f"{path}: has fewer images than when it was counted; start again")


def _sampled(
    shards: TarShards,
) -> tuple[tuple[float, ...], tuple[float, ...], Span | None]:
    """Mean and deviation of each channel, of one if all of the sample is grey; and the span."""
    chosen = np.unique(np.linspace(0, len(shards.files) - 1, 8).astype(int)).tolist()
    each = _SAMPLED // len(chosen)
    index = {shard: np.arange(min(each, shards.counts[shard])) for shard in chosen}
    span: Span | None = None
    for shard in chosen:
        for squares in shards.squares(shard, index[shard]):
            for one in squares:
                span = span if one.dtype == np.uint8 else joined(span, span_of(one))
    sums = ChannelSums()
    scaled = replace(shards, span=span)
    for shard in chosen:
        for block in scaled.read(shard, index[shard]):
            sums.add(block)
    return *sums.statistics(), span
