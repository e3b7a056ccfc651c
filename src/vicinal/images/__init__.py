"""Images: where they live, and how they become an ImageSet."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from vicinal.errors import InputError, option
from vicinal.images import csv_file, digits, folder, hub, numpy_file, parquet, torchvision_sets
from vicinal.images.fitting import Fitting, Listed, with_same_classes
from vicinal.images.imageset import ImageSet, Splits, hold_out, limited
from vicinal.images.iterable import from_images
from vicinal.images.names import as_text
from vicinal.images.skipped import MOST_SKIPPED, Skipped, keep_skipped, refuse_too_many

__all__ = [
    "MOST_SKIPPED",
    "SOURCES",
    "ImageSet",
    "Part",
    "Skipped",
    "Splits",
    "from_images",
    "hold_out",
    "keep_skipped",
    "limited",
    "load",
    "load_anomalies",
    "load_parts",
]

Parts = tuple[Listed | None, Listed | None]
"""Training and test part; a source that has only one part gives it as the first."""
Loader = Callable[[str, Path], Parts]
"""(what follows the colon, folder for downloads) -> parts."""

_TEST_SHARE = 0.2


def _both(splits: Splits) -> Parts:
    return splits.train, splits.test


SOURCES: dict[str, Loader] = {
    "digits": lambda _, __: _both(digits.load()),
    "cifar10": lambda _, data: _both(torchvision_sets.load("cifar10", data)),
    "cifar100": lambda _, data: _both(torchvision_sets.load("cifar100", data)),
    "mnist": lambda _, data: _both(torchvision_sets.load("mnist", data)),
    "fashion-mnist": lambda _, data: _both(torchvision_sets.load("fashion-mnist", data)),
    "parquet": lambda pattern, _: parquet.load(pattern),
    "folder": lambda path, _: folder.load(path),
    "csv": lambda path, _: csv_file.load(path),
    "numpy": lambda path, _: numpy_file.load(path),
    "hub": lambda name, data: hub.load(name, data / "hub"),
}
"""Where images can come from; those that take an argument are written ``folder:PATH``."""

_ARGUMENTS = {
    "parquet": "PATTERN",
    "folder": "PATH",
    "csv": "FILE",
    "numpy": "FILE",
    "hub": "NAME",
}


def source_names() -> list[str]:
    """Every source as one begins to write it: ``digits``, ``folder:``."""
    return [f"{name}:" if name in _ARGUMENTS else name for name in SOURCES]


def load(
    source: str,
    *,
    size: int,
    seed: int = 0,
    limit: int | None = None,
    test: str | None = None,
    data_dir: Path | None = None,
    interpolation: str = "bilinear",
) -> Splits:
    """Loads a data set as squares of ``size`` × ``size`` pixels, decoding it at most once.

    The shorter side of an image is scaled to ``size`` and the centre kept; an image of that size
    is left as it is. There is one channel if every training image is grey and three otherwise;
    test images follow. Ids are ``train/…`` and ``test/…`` with the image's number or path.
    Pictures that cannot be used are left out and listed in ``skipped`` of the result (`Splits` and
    its ImageSets); whoever writes files passes that to `keep_skipped`.

    Args:
        source: A name in ``SOURCES``, with what it takes after a colon: ``folder:PATH``,
            ``csv:FILE`` (path,label), ``parquet:PATTERN``, ``numpy:FILE`` or ``hub:NAME``.
        size: Height and width in pixels.
        seed: Seed of the held-out test set (a fifth, by class) of a source without one of its
            own, and of the draw of ``limit``.
        limit: At most so many training images, equally many of each class.
        test: Another source, whose test part (or all of it) is the test set.
        data_dir: Folder for downloads and decoded images; by default the platform's cache.
        interpolation: How pictures are scaled, one of `vicinal.images.fit.INTERPOLATIONS`.

    Raises:
        InputError: If the source is unknown, missing, empty or unreadable, or more of its pictures
            than `MOST_SKIPPED` are bad.
    """
    if limit is not None and limit < 2:
        raise InputError(f"{option('limit', limit)}: training needs 2 images or more")
    data = _data_folder(data_dir)
    train, held = _parts(source, data)
    if train is None:
        raise InputError(f"{source}: only a test part is there; add the training part")
    if test is not None:
        other, other_held = _parts(test, data)
        held = other if other_held is None else other_held
    if held is None:
        split = hold_out(_stand_in(train), _TEST_SHARE, seed)
        train, held = train.take(_positions(split.train)), train.take(_positions(split.test))
    if limit is not None:
        train = train.take(_positions(limited(_stand_in(train), limit, seed)))
    if len(train.ids) < 2:
        raise InputError(f"{source}: training needs 2 images or more, found {len(train.ids)}")
    fitting = Fitting(data, size, len(train.ids) + len(held.ids), interpolation=interpolation)
    training, _ = fitting(train, "train", channels=None)
    testing, _ = fitting(held, "test", channels=training.channels)
    splits = with_same_classes(training, testing)
    refuse_too_many(source, splits.skipped, fitting.source)
    if len(training) < 2 or not len(testing):
        raise InputError(
            f"{source}: training needs 2 images or more and testing 1, "
            f"found {len(training)} and {len(testing)} that can be used; add some"
        )
    return splits


def load_anomalies(
    source: str,
    *,
    size: int,
    channels: int,
    seed: int = 0,
    data_dir: Path | None = None,
    interpolation: str = "bilinear",
) -> ImageSet:
    """Loads images of another kind than those trained on: the source's test part, or all of it.

    Images that fit into the square are centred on black, larger ones scaled and cropped as in
    `load`. Ids are ``anomaly/…``.

    Args:
        source: As in `load`, or ``patches``: seeded patches of two photographs.
        size: Height and width in pixels.
        channels: 1 turns colour into its luminance, 3 repeats grey.
        seed: Seed of the draw of ``patches``.
        data_dir: As in `load`.
        interpolation: As in `load`.

    Raises:
        InputError: If the source is unknown, missing, empty or unreadable.
    """
    data = _data_folder(data_dir)
    if source == "patches":
        images: Listed | None = digits.load_patches(size=size, seed=seed)
    else:
        whole, held = _parts(source, data, "patches")
        images = whole if held is None else held
    assert images is not None
    fitting = Fitting(data, size, len(images.ids), pad=True, interpolation=interpolation)
    found, _ = fitting(images, "anomaly", channels=channels)
    refuse_too_many(source, found.skipped, fitting.source)
    return found


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a source, or all of it.

    Attributes:
        split: ``train`` or ``test``; None where the source has no parts of its own.
        images: The images, in the source's order.
        paths: Where each image's file lies, absolute; None for a source that is no files.
    """

    split: str | None
    images: ImageSet
    paths: tuple[str, ...] | None


def load_parts(
    source: str,
    *,
    size: int,
    channels: int | None,
    data_dir: Path | None = None,
    interpolation: str = "bilinear",
) -> tuple[Part, ...]:
    """Loads all images of a source, part by part; nothing is held out.

    Fitted as in `load`. Ids are those of `load` for a source with parts of its own; without,
    they are the image's number or path alone.

    Args:
        source: As in `load`.
        size: Height and width in pixels.
        channels: 1 turns colour into its luminance, 3 repeats grey; None for 1 if every image
            of the first part is grey and 3 otherwise.
        data_dir: As in `load`.
        interpolation: As in `load`.

    Raises:
        InputError: If the source is unknown, missing, empty or unreadable.
    """
    data = _data_folder(data_dir)
    train, test = _parts(source, data)
    named = {None: train} if train is not None and test is None else {"train": train, "test": test}
    listed = [(split, part) for split, part in named.items() if part is not None]
    count = sum(len(part.ids) for _, part in listed)
    fitting = Fitting(data, size, count, interpolation=interpolation)
    parts = []
    for split, part in listed:
        images, good = fitting(part, split, channels=channels)
        parts.append(Part(split, images, _paths(part, good)))
        channels = images.channels
    refuse_too_many(source, [one for part in parts for one in part.images.skipped], fitting.source)
    return tuple(part for part in parts if len(part.images))


def source_parts(source: str, data_dir: Path | None = None) -> Parts:
    """Training and test part of a source as they are listed, not decoded, see `load`.

    Raises:
        InputError: If the source is unknown, missing, empty or unreadable.
    """
    return _parts(source, _data_folder(data_dir))


def _paths(images: Listed, good: NDArray[np.int64]) -> tuple[str, ...] | None:
    """Where the files of the ``good`` ones lie, if they are files."""
    if isinstance(images, ImageSet) or not len(good):
        return None
    if not isinstance(next(images.pictures())[0], Path):
        return None
    files = (picture for picture, _ in images.take(good).pictures())
    return tuple(as_text(os.path.abspath(file)) for file in files if isinstance(file, Path))


def _data_folder(data_dir: Path | None) -> Path:
    return platformdirs.user_cache_path("vicinal") if data_dir is None else data_dir.expanduser()


def _parts(source: str, data: Path, *more: str) -> Parts:
    """Finds the loader and calls it; ``more`` are names that would have been valid too."""
    name, colon, argument = source.partition(":")
    takes_argument = name in _ARGUMENTS
    if name in SOURCES and bool(colon) == takes_argument and bool(argument) == takes_argument:
        return SOURCES[name](argument, data)
    valid = [f"{n}:{_ARGUMENTS[n]}" if n in _ARGUMENTS else n for n in SOURCES] + list(more)
    if os.path.exists(os.path.expanduser(source)):
        raise InputError(
            f"data {source!r}: for a path say what it is: folder:{source} (image files), "
            f"csv:{source} (path,label), numpy:{source} (.npy, .npz) or parquet:{source}"
        )
    if name in ("tar", "shards") and argument:
        raise InputError(
            f"data {source!r}: is read as a stream, which 'vicinal train' takes (and 'vicinal "
            "shard' takes tar files); give pictures as folder:PATH or parquet:PATTERN"
        )
    if source == "patches":
        raise InputError(f"data 'patches': these are for {option('anomalies')} only; try digits")
    close = difflib.get_close_matches(source.lower(), valid, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    raise InputError(f"data {source!r} is not known; {hint}give one of {', '.join(valid)}")


def _stand_in(images: Listed) -> ImageSet:
    """The same labels with positions for ids and no pixels to speak of: splits before decoding."""
    return ImageSet(
        name=images.name,
        pixels=np.zeros((len(images.ids), 1, 1, 1), np.uint8),
        ids=np.arange(len(images.ids)).astype(np.str_),
        labels=images.labels,
        class_names=images.class_names,
    )


def _positions(part: ImageSet) -> NDArray[np.int64]:
    return part.ids.astype(np.int64)
