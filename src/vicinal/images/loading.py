"""Loading a data set: from any source to ImageSets of squares, decoded at most once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from vicinal.errors import InputError, option
from vicinal.images.arrays import listed
from vicinal.images.decoding import Decoding, Span
from vicinal.images.file_formats import MOST_PIXELS
from vicinal.images.image_set import ImageSet, Splits, held_out, limited, with_same_classes
from vicinal.images.named_sets import load_patches
from vicinal.images.picture_list import PictureList
from vicinal.images.skipped import Skipped, refuse_too_many
from vicinal.images.sources import lists_files, parts_of
from vicinal.images.store import decoded_set
from vicinal.progress import tell

_TEST_SHARE = 0.2


def load(
    source: str | os.PathLike[str],
    *,
    size: int,
    seed: int = 0,
    limit: int | None = None,
    test: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    interpolation: str = "bilinear",
    exclude: Sequence[str] = (),
    max_pixels: int = MOST_PIXELS,
) -> Splits:
    """Loads a data set as squares of ``size`` × ``size`` pixels, decoding it at most once.

    All of an image is squeezed into the square; an image of that size is left as it is. There is
    one channel if every training image is grey and three otherwise; test images follow. Ids are
    ``train/…`` and ``test/…`` with the image's number or path.
    Pictures that cannot be used are left out and listed in ``skipped`` of the result (`Splits` and
    its ImageSets); `keep_skipped` writes them into a file. Lines on standard error say
    where the labels are from and what of the source is not used.

    Args:
        source: A folder of image files, a .csv of paths and labels, .parquet files or a pattern
            of them, an .npy, .npz or .tar; or a name in ``SOURCES``, with what it takes after a
            colon: ``shards:FOLDER``, ``hub:NAME`` (of the Hugging Face hub, or a folder that
            `datasets` saved), and where a path does not say what it is, ``folder:``, ``csv:``,
            ``parquet:``, ``numpy:`` or ``tar:``. Folders and parquet files may be addresses.
        size: Height and width in pixels.
        seed: Seed of the held-out test set (a fifth, by class) of a source without one of its
            own, and of the draw of ``limit``.
        limit: At most so many training images, equally many of each class.
        test: Another source, whose test part (or all of it) is the test set.
        data_dir: Folder for downloads and decoded images; by default the platform's cache.
        interpolation: How pictures are scaled, one of `vicinal.images.decoding.INTERPOLATIONS`.
        exclude: Patterns of files and folders that are left out, such as ``*_small.jpg``, see
            `vicinal.file_names.excluded`; of a folder or a CSV.
        max_pixels: Pixels of a picture that may be decoded; a larger one is skipped. A JPEG is
            decoded at the fraction of its size that ``size`` needs.

    Raises:
        InputError: If the source is unknown, missing, empty or unreadable, or more of its pictures
            than `MOST_SKIPPED` are bad.
    """
    _check(limit, seed)
    data, patterns = data_folder(data_dir), _patterns(exclude)
    train, held = parts_of(source, data, patterns)
    if train is None:
        raise InputError(f"{source}: only a test part is there; add the training part")
    if test is not None:
        other, other_held = parts_of(test, data, patterns if lists_files(test) else ())
        held = other if other_held is None else other_held
    train = _labelled_throughout(train, "training")
    parts = held_out(train, _TEST_SHARE, seed) if held is None else (train, held)
    train, held = parts[0], _labelled_throughout(parts[1], "test")
    train = train if limit is None else limited(train, limit, seed)
    if len(train) < 2:
        raise InputError(f"{source}: training needs 2 images or more, found {len(train)}")
    how = Decoding(size, interpolation=interpolation, max_pixels=max_pixels)
    return _both(source, *_decoded(source, [("train", train), ("test", held)], how, data))


def _check(limit: int | None, seed: int) -> None:
    if limit is not None and not (isinstance(limit, int) and limit >= 2):
        raise InputError(f"{option('limit', limit)}: give a whole number, 2 images or more")
    if seed < 0:
        raise InputError(f"{option('seed', seed)}: give 0 or more")


def _labelled_throughout(images: PictureList, part: str) -> PictureList:
    """The list without labels where not every picture has one, for probes need them all."""
    if images.labels is None or images.throughout:
        return images
    note = (
        f"{images.name}: labels of the {part} pictures are not used here, where each needs one; "
        "label the others or leave them out"
    )
    return replace(images, labels=None, class_names=(), notes=(*images.notes, note))


def _both(
    source: str | os.PathLike[str],
    train: tuple[ImageSet, NDArray[np.int64]],
    test: tuple[ImageSet, NDArray[np.int64]],
) -> Splits:
    (training, _), (testing, _) = train, test
    if len(training) < 2 or not len(testing):
        raise InputError(
            f"{source}: training needs 2 images or more and testing 1, "
            f"found {len(training)} and {len(testing)} that can be used; add some"
        )
    return with_same_classes(training, testing)


def _decoded(
    source: str | os.PathLike[str],
    parts: Sequence[tuple[str | None, PictureList]],
    how: Decoding,
    data: Path,
    count: int | None = None,
) -> list[tuple[ImageSet, NDArray[np.int64]]]:
    """The good images of each part and their positions, in the way of the first that has any."""
    count = sum(len(images) for _, images in parts) if count is None else count
    found: list[tuple[ImageSet, NDArray[np.int64]]] = []
    bad: list[Skipped] = []
    for prefix, images in parts:
        decoded, good = decoded_set(images, prefix, how, data / "store", count)
        found.append((decoded, good))
        bad += decoded.skipped[len(images.skipped) :]
        if len(decoded):  # none says nothing of the others' colour
            how = replace(how, channels=decoded.channels, span=decoded.span)
    tell(note for decoded, _ in found for note in decoded.notes)
    refuse_too_many(str(source), bad, count)
    return found


def load_anomalies(
    source: str | os.PathLike[str],
    *,
    size: int,
    channels: int,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
    interpolation: str = "bilinear",
    span: Span | None = None,
    exclude: Sequence[str] = (),
    max_pixels: int = MOST_PIXELS,
) -> ImageSet:
    """Loads images of another kind than those trained on: the source's test part, or all of it.

    Images that fit into the square are centred on black, larger ones squeezed into it as in
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
    data = data_folder(data_dir)
    if source == "patches":
        images: PictureList | None = listed(load_patches(size=size, seed=seed))
    else:
        whole, held = parts_of(source, data, _patterns(exclude), "patches")
        images = whole if held is None else held
    assert images is not None
    how = Decoding(
        size, channels, pad=True, interpolation=interpolation, span=span, max_pixels=max_pixels
    )
    ((found, _),) = _decoded(source, [("anomaly", images)], how, data)
    return found


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a source, or all of it."""

    split: str | None  # ``train`` or ``test``; None where the source has no parts of its own
    images: ImageSet  # the images, in the source's order
    # where each image's file lies, absolute; None if the pictures are not files
    paths: tuple[str, ...] | None


def load_parts(
    source: str | os.PathLike[str],
    how: Decoding | None = None,
    *,
    size: int | None = None,
    channels: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    exclude: Sequence[str] = (),
    choose: Callable[[str | None, PictureList], PictureList] | None = None,
) -> tuple[Part, ...]:
    """Loads all images of a source, part by part; nothing is held out.

    ``size`` and ``channels`` stand for ``Decoding(size, channels)`` where ``how`` is left out.
    Fitted as in `load`. Ids are those of `load` for a source with parts of its own; without,
    they are the image's number or path alone. A part of which no picture can be used is left out,
    and what it skipped is listed by the first part that is not, so that it is said once; of no
    usable picture at all the first part stays, empty, with everything that was skipped.
    """
    if how is None:
        if size is None:
            raise TypeError("load_parts: give size, the pixels a side that pictures are to have")
        how = Decoding(size, channels)
    data = data_folder(data_dir)
    parts = source_parts(source, data, exclude)
    count = sum(len(images) for _, images in parts)
    if choose is not None:
        chosen = [(split, choose(split, images)) for split, images in parts]
        parts = [(split, images) for split, images in chosen if len(images)]
    made = [
        Part(split, found, images.take(good).paths())
        for (split, images), (found, good) in zip(
            parts, _decoded(source, parts, how, data, count), strict=True
        )
    ]
    usable = [part for part in made if len(part.images)] or made[:1]
    if not usable:
        return ()
    first = usable[0]
    empty = (part for part in made if part not in usable)
    skipped = (*first.images.skipped, *(one for part in empty for one in part.images.skipped))
    return (replace(first, images=replace(first.images, skipped=skipped)), *usable[1:])


def source_parts(
    source: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    exclude: Sequence[str] = (),
) -> list[tuple[str | None, PictureList]]:
    """The parts of a source as they are listed, not decoded: ``train`` and ``test``, or all."""
    train, test = parts_of(source, data_folder(data_dir), _patterns(exclude))
    if train is not None and test is None:
        return [(None, train)]
    return [(name, part) for name, part in (("train", train), ("test", test)) if part is not None]


def data_folder(data_dir: str | os.PathLike[str] | None) -> Path:
    """The folder for downloads and decoded images; by default the platform's cache."""
    if data_dir is None:
        return platformdirs.user_cache_path("vicinal")
    return Path(data_dir).expanduser()


def _patterns(exclude: Sequence[str]) -> tuple[str, ...]:
    """The patterns as a tuple; a string is a single pattern."""
    return (exclude,) if isinstance(exclude, str) else tuple(exclude)
