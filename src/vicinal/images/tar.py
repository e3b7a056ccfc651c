"""WebDataset shards: pictures in tar files, listed, or read in order and decoded as they come."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.file_names import as_text, literal_start
from vicinal.files import file_stamp, read_json, write_json
from vicinal.images.decoding import RULE, Decoding, Span, Square, decoded, plain_pixels, widened
from vicinal.images.file_formats import suffixes
from vicinal.images.folder import Found, classes_by_folder
from vicinal.images.image_stream import ChannelSums, ImageStream
from vicinal.images.picture_list import PictureList, Rows
from vicinal.images.skipped import Skipped, refuse_too_many
from vicinal.progress import tell

_SAMPLED = 4096
"""Images, from the front of up to 8 shards, of which mean and deviation are taken."""
_STAND_INS = 16  # pictures of a shard that take the places of its bad ones
_LOOKED = 64  # pictures from the front of a shard among which these are sought


def load(pattern: str, exclude: tuple[str, ...] = ()) -> tuple[PictureList, None]:
    """Lists the images in tar files; decodes none.

    Every member that is called like an image is one. Its id is its path in the file, with the
    file's name before it where paths repeat; folders in the files are classes as in
    `vicinal.images.folder.load`.
    """
    files, found = _files(pattern), Found()
    names = [
        [as_text(member.name.removeprefix("./")) for _, member in _members(path, exclude, found)]
        for path in files
    ]
    counts = [len(inside) for inside in names]
    _refuse_empty(files, counts)
    name = _name(files)
    paths = [path for inside in names for path in inside]
    ids = np.array(paths)
    if len(np.unique(ids)) < len(ids):
        stems = [as_text(os.path.basename(file).partition(".")[0]) for file in files]
        places = zip(np.repeat(stems, counts).tolist(), paths, strict=True)
        ids = np.array([f"{stem}/{path}" for stem, path in places])
    return PictureList.labelled(
        name,
        Rows.all(partial(_pictures, exclude=exclude), files, counts),
        ids,
        classes_by_folder(paths, name),
        found.skipped,
        found.notes(name),
    ), None


@dataclass(frozen=True)
class TarShards:
    """Tar files of encoded images."""

    files: tuple[str, ...]
    counts: tuple[int, ...]  # images in each
    # size and channels of the decoded images and the like; channels None while not known
    how: Decoding
    exclude: tuple[str, ...] = ()  # patterns of members that are left out
    # pictures that cannot be used, by what people call them, as they are met
    bad: dict[str, Skipped] = field(default_factory=dict)
    # of each shard that has such pictures, what takes their places
    stand_ins: dict[int, list[NDArray[np.uint8]]] = field(default_factory=dict)

    def read(self, shard: int, index: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Some images of a shard, see `Shards`, decoded on all cores.

        A picture that cannot be used is replaced by one of the first good ones of its shard,
        always the same: batches stay full, and a training that goes on sees what it had seen.
        """
        done = 0
        for group in decoded(_pictures(self.files[shard], index, self.exclude), self.how):
            images = []
            for at, one in zip(index[done:].tolist(), group, strict=False):
                if isinstance(one, Skipped):
                    self._note(one)
                    others = self._stand_ins(shard)
                    images.append(others[at % len(others)])
                else:
                    images.append(plain_pixels(one))
            yield _stacked(images, self.how.channels)
            done += len(group)

    def squares(self, shard: int, index: NDArray[np.int64]) -> Iterator[list[Square]]:
        """As `read`, but only the good pictures, each by itself, deep ones as they are."""
        for group in decoded(_pictures(self.files[shard], index, self.exclude), self.how):
            for one in group:
                if isinstance(one, Skipped):
                    self.bad[one.path] = one
            yield [one for one in group if isinstance(one, Square)]

    def _note(self, one: Skipped) -> None:
        if one.path not in self.bad:
            self.bad[one.path] = one
            refuse_too_many(_name(self.files), tuple(self.bad.values()), sum(self.counts))

    def _stand_ins(self, shard: int) -> list[NDArray[np.uint8]]:
        if shard not in self.stand_ins:
            index = np.arange(min(_LOOKED, self.counts[shard]))
            good = [plain_pixels(s) for g in self.squares(shard, index) for s in g]
            if not good:
                raise InputError(
                    f"{self.files[shard]}: none of its first {len(index)} pictures can be used; "
                    "mend it or take it out"
                )
            self.stand_ins[shard] = good[:_STAND_INS]
        return self.stand_ins[shard]


def _stacked(images: Sequence[NDArray[np.uint8]], channels: int | None) -> NDArray[np.uint8]:
    """Squares as one array; grey ones among colour ones become colour ones."""
    channels = channels or max(image.shape[2] for image in images)
    return np.stack([np.broadcast_to(one, (*one.shape[:2], channels)) for one in images])


def open_tar(
    pattern: str, how: Decoding, *, cache: Path, exclude: tuple[str, ...] = ()
) -> ImageStream:
    """Opens tar files of images: every member that is called like an image is one.

    Counts, mean, deviation, channels and span (of a sample of 4,096) are kept in ``cache``.
    """
    files = _files(pattern)
    stamp = [file_stamp(path) for path in files]
    identity = (how.size, RULE, stamp, how.interpolation, exclude, how.max_pixels, suffixes())
    digest = hashlib.sha256(repr(identity).encode()).hexdigest()
    kept = cache / "tar" / f"{digest[:32]}.json"
    if not kept.is_file():
        found = Found()
        counts = tuple(sum(1 for _ in _members(path, exclude, found)) for path in files)
        _refuse_empty(files, counts)
        mean, std, span = _sampled(TarShards(files, counts, how, exclude))
        kept.parent.mkdir(parents=True, exist_ok=True)
        known = {
            "counts": counts,
            "mean": mean,
            "std": std,
            "span": span,
            "others": found.unread_kinds(),
        }
        write_json(kept, known)
    known = read_json(kept)
    channels, name = len(known["mean"]), _name(files)
    span = None if known["span"] is None else tuple(known["span"])
    tell(_notes(name, known["others"], span))
    how = replace(how, channels=channels, span=span)
    shards = TarShards(files, tuple(known["counts"]), how, exclude)
    return ImageStream(
        name=name,
        shards=shards,
        size=how.size,
        channels=channels,
        mean=tuple(known["mean"]),
        std=tuple(known["std"]),
        test=np.empty((0, how.size, how.size, channels), np.uint8),
        fingerprint=digest[:16],
        span=span,
        bad=shards.bad,
    )


def _name(files: Sequence[str]) -> str:
    return os.path.basename(files[0]).partition(".")[0]


def _refuse_empty(files: Sequence[str], counts: Sequence[int]) -> None:
    for path, count in zip(files, counts, strict=True):
        if not count:
            raise InputError(f"{path}: no image in it; members must end in {' '.join(suffixes())}")


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


def _files(pattern: str) -> tuple[str, ...]:
    """The tar files that a pattern stands for."""
    expanded = os.path.expanduser(pattern)
    found: list[str] = []
    for one in _braces(expanded):
        there = os.path.isfile(one) or not glob.has_magic(one)
        matches = [one] if there else sorted(glob.glob(literal_start(one)))
        found += matches
    if not found:
        raise InputError(f"tar:{pattern}: no tar file there; give a file or a pattern")
    for path in found:
        if not os.path.isfile(path):
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
def _opened(path: str) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:*") as tar:
            yield tar
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as a tar file ({error}); replace it") from None


def _members(
    path: str, exclude: tuple[str, ...], found: Found | None = None
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The file, open, and each member that is an image, in order; ``found`` notes the others."""
    found = found or Found()
    with _opened(path) as tar:
        while (member := tar.next()) is not None:
            # Or a file of a million members would fill the memory; typeshed has no such list.
            tar.members.clear()  # type: ignore[attr-defined]
            name = member.name.removeprefix("./")
            if not member.isfile() or found.leaves_out(name, exclude):
                continue
            if found.takes(name, f"{path}, {name}"):
                yield tar, member


def _pictures(
    path: str, index: NDArray[np.int64], exclude: tuple[str, ...]
) -> Iterator[tuple[bytes, str]]:
    """The encoded images at ``index``, ascending, and what an error message calls each."""
    wanted = iter(index.tolist())
    position = next(wanted, None)
    for number, (tar, member) in enumerate(_members(path, exclude)):
        if position is None:
            return
        if number == position:
            file = tar.extractfile(member)
            assert file is not None
            yield file.read(), f"{path}, {member.name}"
            position = next(wanted, None)
    if position is not None:
        raise InputError(f"{path}: has fewer images than when it was counted; start again")


def _sampled(shards: TarShards) -> tuple[tuple[float, ...], tuple[float, ...], Span | None]:
    """Mean and deviation of each channel, of one if all of the sample is grey; and the span."""
    chosen = np.unique(np.linspace(0, len(shards.files) - 1, 8).astype(int)).tolist()
    each = _SAMPLED // len(chosen)
    index = {shard: np.arange(min(each, shards.counts[shard])) for shard in chosen}

    def squares(how: Decoding) -> Iterator[list[Square]]:
        for shard in chosen:
            yield from replace(shards, how=how).squares(shard, index[shard])

    span: Span | None = None
    for group in squares(shards.how):
        for one in group:
            span = widened(span, one.pixels)
    count = sum(map(len, index.values()))
    refuse_too_many(_name(shards.files), tuple(shards.bad.values()), count)
    sums = ChannelSums()
    for group in squares(replace(shards.how, span=span)):
        if group:
            sums.add(_stacked([one.pixels for one in group], None))
    return *sums.statistics(), span
