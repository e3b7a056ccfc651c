"""Images: where they live, and how they become an ImageSet."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from vicinal.errors import InputError, option
from vicinal.files import as_text
from vicinal.images import digits
from vicinal.images.decoding import Span
from vicinal.images.formats import MOST_PIXELS
from vicinal.images.imageset import ImageSet, Splits, hold_out, limited
from vicinal.images.in_memory import from_images
from vicinal.images.skipped import MOST_SKIPPED, Skipped, keep_skipped, refuse_too_many
from vicinal.images.sources import SOURCES, Parts, lists_files, named, parts_of, source_names
from vicinal.images.store import Fitting, Listed, with_same_classes
from vicinal.progress import tell

__all__ = [
    "MOST_PIXELS",
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
    "lists_files",
    "load",
    "load_anomalies",
    "load_parts",
    "named",
    "source_names",
]

_TEST_SHARE = 0.2


def load(
    source: str | os.PathLike[str],
    *,
    size: int,
    seed: int = 0,
    limit: int | None = None,
    test: str | os.PathLike[str] | None = None,
    data_dir: Path | None = None,
    interpolation: str = "bilinear",
    exclude: Sequence[str] = (),
    max_pixels: int = MOST_PIXELS,
) -> Splits:
    """Loads a data set as squares of ``size`` × ``size`` pixels, decoding it at most once.

    The shorter side of an image is scaled to ``size`` and the centre kept; an image of that size
    is left as it is. There is one channel if every training image is grey and three otherwise;
    test images follow. Ids are ``train/…`` and ``test/…`` with the image's number or path.
    Pictures that cannot be used are left out and listed in ``skipped`` of the result (`Splits` and
    its ImageSets); whoever writes files passes that to `keep_skipped`. Lines on standard error say
    where the labels are from and what of the source is not used.

    Args:
        source: A folder of image files, a .csv of paths and labels, .parquet files or a pattern
            of them, an .npy or .npz; or a name in ``SOURCES``, with what it takes after a colon:
            ``hub:NAME`` (of the Hugging Face hub, or a folder that `datasets` saved), and where
            a path does not say what it is, ``folder:``, ``csv:``, ``parquet:`` or ``numpy:``.
        size: Height and width in pixels.
        seed: Seed of the held-out test set (a fifth, by class) of a source without one of its
            own, and of the draw of ``limit``.
        limit: At most so many training images, equally many of each class.
        test: Another source, whose test part (or all of it) is the test set.
        data_dir: Folder for downloads and decoded images; by default the platform's cache.
        interpolation: How pictures are scaled, one of `vicinal.images.decoding.INTERPOLATIONS`.
        exclude: Patterns of files and folders that are left out, such as ``*_small.jpg``, see
            `vicinal.files.excluded`; of a folder or a CSV.
        max_pixels: Pixels of a picture that may be decoded; a larger one is skipped. A JPEG is
            decoded at the fraction of its size that ``size`` needs.

    Raises:
        InputError: If the source is unknown, missing, empty or unreadable, or more of its pictures
            than `MOST_SKIPPED` are bad.
    """
    if limit is not None and limit < 2:
        raise InputError(f"{option('limit', limit)}: training needs 2 images or more")
    data, patterns = _data_folder(data_dir), _patterns(exclude)
    train, held = parts_of(source, data, patterns)
    if train is None:
        raise InputError(f"{source}: only a test part is there; add the training part")
    if test is not None:
        other, other_held = parts_of(test, data, patterns if lists_files(test) else ())
        held = other if other_held is None else other_held
    train, held = _chosen(train, held, limit, seed)
    if len(train.ids) < 2:
        raise InputError(f"{source}: training needs 2 images or more, found {len(train.ids)}")
    count = len(train.ids) + len(held.ids)
    fitting = Fitting(data, size, count, interpolation=interpolation, most_pixels=max_pixels)
    return _fitted(str(source), train, held, fitting)


def _fitted(source: str, train: Listed, held: Listed, fitting: Fitting) -> Splits:
    """Both parts as squares, the test part in the way of the training part."""
    training, _ = fitting(train, "train", channels=None)
    testing, _ = fitting(held, "test", channels=training.channels, span=training.span)
    tell((*training.notes, *testing.notes))
    splits = with_same_classes(training, testing)
    listed = {*train.skipped, *held.skipped}
    refuse_too_many(source, [s for s in splits.skipped if s not in listed], fitting.source)
    if len(training) < 2 or not len(testing):
        raise InputError(
            f"{source}: training needs 2 images or more and testing 1, "
            f"found {len(training)} and {len(testing)} that can be used; add some"
        )
    return splits


def _chosen(
    train: Listed, held: Listed | None, limit: int | None, seed: int
) -> tuple[Listed, Listed]:
    """Both parts, the second held out of the first where there is none; the first limited."""
    if held is None:
        split = hold_out(_stand_in(train), _TEST_SHARE, seed)
        train, held = train.take(_positions(split.train)), train.take(_positions(split.test))
    if limit is not None:
        train = train.take(_positions(limited(_stand_in(train), limit, seed)))
    return train, held


def load_anomalies(
    source: str | os.PathLike[str],
    *,
    size: int,
    channels: int,
    seed: int = 0,
    data_dir: Path | None = None,
    interpolation: str = "bilinear",
    span: Span | None = None,
    exclude: Sequence[str] = (),
    max_pixels: int = MOST_PIXELS,
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
        span: The values of pictures of more than 8 bits that become 0 and 255, those of the
            pictures trained on (`ImageSet.span`); None for the least and the greatest of these.
        exclude: As in `load`.
        max_pixels: As in `load`.

    Raises:
        InputError: If the source is unknown, missing, empty or unreadable.
    """
    data = _data_folder(data_dir)
    if source == "patches":
        images: Listed | None = digits.load_patches(size=size, seed=seed)
    else:
        whole, held = parts_of(source, data, _patterns(exclude), "patches")
        images = whole if held is None else held
    assert images is not None
    how: dict[str, Any] = {"interpolation": interpolation, "most_pixels": max_pixels}
    fitting = Fitting(data, size, len(images.ids), pad=True, **how)
    found, _ = fitting(images, "anomaly", channels=channels, span=span)
    tell(found.notes)
    refuse_too_many(str(source), found.skipped[len(images.skipped) :], fitting.source)
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
    source: str | os.PathLike[str],
    *,
    size: int,
    channels: int | None,
    data_dir: Path | None = None,
    interpolation: str = "bilinear",
    span: Span | None = None,
    exclude: Sequence[str] = (),
    max_pixels: int = MOST_PIXELS,
    choose: Callable[[str | None, Listed], Listed] | None = None,
    whole: bool = False,
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
        span: As in `load_anomalies`.
        exclude: As in `load`.
        max_pixels: As in `load`.
        choose: Called with each part's name and the part, listed; what it returns is loaded.
        whole: Whether all of a picture is squeezed into the square, and nothing cut off.

    Raises:
        InputError: If the source is unknown, missing, empty or unreadable.
    """
    data = _data_folder(data_dir)
    train, test = parts_of(source, data, _patterns(exclude))
    both = {None: train} if train is not None and test is None else {"train": train, "test": test}
    listed = [(split, part) for split, part in both.items() if part is not None]
    count = sum(len(part.ids) for _, part in listed)
    if choose is not None:
        chosen = [(split, choose(split, part)) for split, part in listed]
        listed = [(split, part) for split, part in chosen if len(part.ids)]
    how: dict[str, Any] = {"interpolation": interpolation, "most_pixels": max_pixels}
    fitting = Fitting(data, size, count, whole=whole, **how)
    parts: list[Part] = []
    bad: list[Skipped] = []
    for split, part in listed:
        images, good = fitting(part, split, channels=channels, span=span)
        parts.append(Part(split, images, _paths(part, good)))
        bad += images.skipped[len(part.skipped) :]
        channels, span = images.channels, images.span
    tell(note for part in parts for note in part.images.notes)
    refuse_too_many(str(source), bad, fitting.source)
    return tuple(part for part in parts if len(part.images))


def source_parts(
    source: str | os.PathLike[str], data_dir: Path | None = None, exclude: Sequence[str] = ()
) -> Parts:
    """Training and test part of a source as they are listed, not decoded, see `load`.

    Raises:
        InputError: If the source is unknown, missing, empty or unreadable.
    """
    return parts_of(source, _data_folder(data_dir), _patterns(exclude))


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


def _patterns(exclude: Sequence[str]) -> tuple[str, ...]:
    """Patterns of what is left out; a single one is no list of letters."""
    return (exclude,) if isinstance(exclude, str) else tuple(exclude)


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
