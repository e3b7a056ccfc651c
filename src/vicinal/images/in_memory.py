"""Pictures that a Python program holds: lists, arrays, data frames, Pillow's images, iterables."""

from __future__ import annotations

import itertools
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import platformdirs
from numpy.typing import NDArray
from PIL import Image

from vicinal.errors import InputError
from vicinal.file_names import as_text
from vicinal.images.arrays import checked_pixels, refuse_ones, stacked
from vicinal.images.decoding import Decoding, Given, Span, check_size, gathered
from vicinal.images.file_formats import MOST_PIXELS, opened, reason
from vicinal.images.image_set import ImageSet
from vicinal.images.labels_and_parts import (
    IMAGES,
    coded_labels,
    columns_called,
    label_columns,
    labels_note,
)
from vicinal.images.picture_list import number_ids
from vicinal.images.skipped import BadPictureError, Skipped, refuse_too_many
from vicinal.images.store import Stored, Writer, pixel_notes, write_squares
from vicinal.progress import Counted, counted, tell

_Stream = Iterator[tuple[Given, str]]


@dataclass(frozen=True)
class Container:
    """Pictures in a container, and what it says of them."""

    images: Iterable[Any]  # the pictures, by position
    labels: list[Any] | None = None  # one for each picture; None if the container has none
    ids: list[Any] | None = None  # one for each picture; None if it has none
    classes: tuple[str, ...] = ()  # the names of numbered classes; empty where there are none
    column: str = ""  # the column of the labels


def container_of(images: Iterable[Any]) -> Container:
    """The pictures in a container, in the order of their places, whatever its own index says.

    A data frame (pandas, polars), a `datasets.Dataset` and a dict of columns are tables: one
    column holds the pictures, another perhaps labels. A dict of pictures has ids for keys.
    """
    classes = tuple(map(str, getattr(images, "classes", ())))
    if isinstance(images, Mapping):
        values = list(images.values())
        if values and all(_is_table(value) for value in values):
            first = next(iter(images))
            raise InputError(
                f"images has the parts {', '.join(map(str, images))}; give one, as "
                f"images[{first!r}]"
            )
        if all(is_picture(value) for value in values):
            return Container(values, ids=list(images))
    if isinstance(images, Mapping) or _is_table(images):
        return _of_table(images)
    return Container(images, classes=classes)


def by_position(images: Iterable[Any]) -> Iterator[Any]:
    """The items in the order of their places; one that cannot be read is a `BadPictureError`."""
    if not (isinstance(images, Sized) and hasattr(images, "__getitem__")):
        yield from _one_after_another(iter(images))
        return
    places = getattr(images, "iloc", images)  # a pandas Series is indexed by its labels
    for number in range(len(images)):
        try:
            item = places[number]
        except (OSError, Image.DecompressionBombError) as error:
            item = BadPictureError(f"image {number}", reason(error))
        yield item


def _one_after_another(images: Iterator[Any]) -> Iterator[Any]:
    """The items; what cannot be read ends an iterator, so that is no picture to be skipped."""
    for number in itertools.count():
        try:
            yield next(images)
        except StopIteration:
            return
        except (OSError, Image.DecompressionBombError) as error:
            raise InputError(
                f"image {number}: {reason(error)}, and what gives the pictures ended there; give "
                "paths, and those that cannot be read are left out"
            ) from None


def is_picture(one: object) -> bool:
    """Whether it is Pillow's image, an array (H, W) or (H, W, C), or an encoded one."""
    if isinstance(one, Mapping):
        return bool(one) and set(one) <= {"bytes", "path"}
    return isinstance(one, Image.Image | bytes | Path) or (
        isinstance(one, np.ndarray) and one.ndim in (2, 3)
    )


def _unwrapped(one: Any) -> Any:
    """The encoded bytes or the path in a cell of `datasets`; anything else stays what it is."""
    if isinstance(one, Mapping) and is_picture(one):
        content, path = one.get("bytes"), one.get("path")
        if isinstance(content, bytes) and content:
            return content
        if content is None:
            return Path(path) if isinstance(path, str | Path) and path else b""
    return one


def pair_in(item: Any) -> tuple[Any, Any]:
    """A picture and its label, or None, in what a data set gives for one place."""
    if isinstance(item, tuple) and len(item) == 2:
        return item
    if isinstance(item, Mapping) and not is_picture(item):
        image = next(iter(columns_called(IMAGES, item)), None)
        label = next(iter(label_columns([str(name) for name in item])), None)
        if image is not None:
            return item[image], item.get(label)
    return item, None


def flat(labels: Any, ids: Sequence[Any] | None) -> list[Any]:
    """Labels by position: of a dict those of the ids, of a table its column of labels."""
    if isinstance(labels, Mapping) and ids is not None:
        missing = next((one for one in ids if one not in labels), None)
        if missing is not None:
            raise InputError(f"labels: none for {missing!r}; give one for every picture")
        return [labels[one] for one in ids]
    if _is_table(labels):
        names = [str(name) for name in labels.columns]
        column = next(iter([*label_columns(names), *names]))
        return list(labels[column])
    return list(labels)


def _is_table(one: object) -> bool:
    """A data frame or a `datasets.Dataset`."""
    frame = hasattr(one, "columns") and hasattr(one, "shape") and len(one.shape) == 2
    return frame or (hasattr(one, "column_names") and hasattr(one, "features"))


def _of_table(table: Any) -> Container:
    if isinstance(table, Mapping):
        names = list(table)
    else:
        names = list(getattr(table, "column_names", None) or table.columns)
    features = getattr(table, "features", None) or {}
    column = _image_column(table, names, features)
    text = [str(name) for name in names]
    declared = [name for name, kind in features.items() if hasattr(kind, "names")]
    label = next((one for one in label_columns(text, declared) if one != column), None)
    labels = None if label is None else list(table[label])
    classes = tuple(map(str, getattr(features.get(label), "names", None) or ()))
    if labels is not None and classes and all(one in (None, -1) for one in labels):
        labels = None  # as the hub's test parts have them
    return Container(table[column], labels, classes=classes, column=label or "")


def _image_column(table: Any, names: list[Any], features: Mapping[str, Any]) -> Any:
    """The column of pictures: called so, said so, or the first that holds one."""
    called = columns_called(IMAGES, names)
    said = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
    for name in dict.fromkeys((*said, *called, *names)):
        first = next(by_position(table[name]), None)
        if name in said or is_picture(first) or isinstance(first, BadPictureError):
            return name
    raise InputError(
        f"images: none of the columns {', '.join(map(str, names))} holds pictures; give one of "
        "Pillow's images, arrays or encoded bytes"
    )


Pixels = NDArray[np.uint8]


class Squares(NamedTuple):
    """Pictures fitted to squares."""

    pixels: Pixels  # array (N, S, S, 1 or 3) uint8
    # the values of pictures of more than 8 bits that became 0 and 255; None without
    span: Span | None = None


def squares(
    pictures: object,
    size: int,
    channels: int | None,
    *,
    whole: bool = True,
    interpolation: str = "bilinear",
    span: Span | None = None,
) -> Squares | None:
    """The pictures as squares; None if they are rows of numbers."""
    how = Decoding(size, channels, whole=whole, interpolation=interpolation, span=span)
    if isinstance(pictures, ImageSet):
        return Squares(_of_array(pictures.pixels, how), pictures.span)
    if isinstance(pictures, Image.Image):
        raise InputError("images must be several pictures, found one; give [image]")
    if not hasattr(pictures, "__array__"):
        if hasattr(pictures, "ndim"):  # sparse
            return None
        if not isinstance(pictures, Iterable) or isinstance(pictures, str | bytes):
            kind = type(pictures).__name__
            raise InputError(f"images must be an array or pictures, found {kind}")
        return _one_by_one(pictures, how)
    if hasattr(pictures, "columns"):  # a data frame, of pictures or of numbers
        frame: Any = pictures
        firsts = (next(by_position(frame[name]), None) for name in frame.columns)
        return _one_by_one(frame, how) if any(map(is_picture, firsts)) else None
    array = np.asarray(pictures)
    if array.ndim == 1 and array.dtype == object:
        return _one_by_one(array, how)
    if array.ndim not in (3, 4):
        return None
    return Squares(_of_array(stacked(array), how))


def shape_of_rows(features: int, size: int) -> tuple[int, int, int]:
    """Height, width and channels of pictures that lie flat in rows of so many numbers."""
    for channels in (1, 3):
        if features == channels * size * size:
            return size, size, channels
    hint = ""
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if channels * side * side == features:
            hint = f": settings=('views.size={side}',)"
    raise InputError(
        f"rows of {features} numbers are not {size}×{size} pictures, which have {size * size} "
        f"or {3 * size * size}; give (N, H, W, C), or a recipe of their size{hint}"
    )


def _one_by_one(pictures: Any, how: Decoding) -> Squares | None:
    """The pictures in a container; None if the first item is not a picture."""
    stream = by_position(container_of(pictures).images)
    nothing = object()
    first = next(stream, nothing)
    if first is nothing:
        return Squares(np.empty((0, how.size, how.size, how.channels or 3), np.uint8))
    if isinstance(first, BadPictureError):
        raise first
    if not is_picture(first):
        return None
    found = gathered(_given(chain([first], stream)), how)
    for bad in found.skipped:  # a row for each picture is what estimators promise
        raise BadPictureError(bad.path, bad.reason)
    return Squares(found.pixels, found.span)


def _of_array(array: NDArray[Any], how: Decoding) -> Pixels:
    """Pictures (N, H, W, C) as `squares`, without a copy where they are that already."""
    pixels = checked_pixels(array)
    whole = how.channels or pixels.shape[3]
    fits = whole in (1, 3) and pixels.shape[1:] == (how.size, how.size, whole)
    if fits or not len(pixels):
        return pixels
    how = replace(how, channels=how.channels or (1 if pixels.shape[3] == 1 else 3))
    return gathered(_given(pixels), how).pixels


def from_images(
    images: Iterable[Any],
    labels: Iterable[int | str] | None = None,
    ids: Iterable[int | str] | None = None,
    *,
    size: int | None = None,
    name: str = "images",
    data_dir: str | os.PathLike[str] | None = None,
    max_pixels: int = MOST_PIXELS,
) -> ImageSet:
    """Makes an ImageSet of any iterable of pictures: a list, a generator, a torchvision data set.

    All cores decode, and few pictures at a time are in memory: the pixels go to a file that is
    gone when the ImageSet is. There is one channel if every picture is grey, three otherwise.
    Pictures that cannot be decoded are left out and listed in ``skipped`` of the result.

    Args:
        images: Pillow's images, encoded ones (bytes), or arrays (H, W) or (H, W, C), C = 1, 3 or 4,
            of whole numbers from 0 to 255 or booleans, each alone or as a pair (picture, label);
            in any container of `vicinal.images.in_memory`, by position whatever its index.
        labels: One for each picture, by position: names of classes, or their numbers, whose names
            are those of ``images.classes`` where there are any. By default those of the container.
        ids: One for each picture, unique; by default their numbers, or the keys of a dict.
        size: Height and width in pixels, into which all of a picture is squeezed. By default that
            of the pictures, if all are equal squares.
        name: What people call the set.
        data_dir: Folder for the pixels' file; by default the platform's cache.
        max_pixels: Of an encoded picture or one of Pillow's; a larger one is skipped.

    Raises:
        InputError: If there are no pictures or other items, sizes differ and none is given, labels
            or ids do not fit, no value is above 1, or more than `MOST_SKIPPED` are bad.
    """
    _check_given(images, size)
    held, pair_labels = container_of(images), list[object]()
    side, stream = _of_one_size(_given(_pictures(held.images, pair_labels)), size, name)
    folder = Path(data_dir or platformdirs.user_cache_path("vicinal")) / "store"
    bar = counted(f"decoding {name}", len(held.images) if isinstance(held.images, Sized) else None)
    found = _decoded_to_file(stream, Decoding(side, max_pixels=max_pixels), bar, folder)
    refuse_too_many(name, found.skipped, len(pair_labels))
    if found.facts.brightest == 1:
        refuse_ones(found.pixels)
    good = np.setdiff1d(np.arange(len(pair_labels)), found.bad)
    given = _labels(labels, held, pair_labels, name)
    codes, names = coded_labels([given[at] for at in good.tolist()], held.classes, name)
    notes = pixel_notes(name, found.facts)
    if held.column and labels is None and codes is not None:
        notes += (labels_note(name, names, f"the column {held.column}", codes),)
    tell(notes)
    return ImageSet(
        name,
        found.pixels,
        _ids(held.ids if ids is None else ids, len(pair_labels), name)[good],
        codes,
        names,
        skipped=found.skipped,
        sizes=found.sizes,
        span=found.facts.span,
        notes=notes,
    )


def _check_given(images: object, size: int | None) -> None:
    """Refuses one picture where several are wanted, and a size that is none."""
    alone = isinstance(images, str | bytes | Path) or (
        isinstance(images, Mapping) and is_picture(images)
    )
    if alone or not (isinstance(images, Iterable) or hasattr(images, "__getitem__")):
        kind = type(images).__name__
        raise InputError(f"images must be several pictures, found {kind}; give a list of them")
    if size is not None:
        check_size(size)


def _decoded_to_file(stream: _Stream, how: Decoding, bar: Counted, folder: Path) -> Stored:
    """Decodes pictures into a file without a name, so that nothing of it can be left behind."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            writer = Writer(file, how.size, None, folder)
            with bar as advance:
                bad = dict(write_squares(writer, stream, how, advance))
            facts = writer.finish()
            at = np.array(list(bad), dtype=np.int64)
            skipped = tuple(bad.values())
            return Stored(writer.mapped(), writer.sizes(), facts, at, skipped)
    except OSError as error:
        raise InputError(f"cannot keep images in {folder} ({error}); give data_dir") from None


def _labels(labels: Any, held: Container, pair_labels: list[object], name: str) -> list[object]:
    """Each picture's label, or None: given, of the container, or beside the pictures in it."""
    found = held.labels or pair_labels if labels is None else flat(labels, held.ids)
    if any(isinstance(label, np.ndarray | list) for label in found):
        raise InputError(f"{name}: labels must be one name or number a picture, found rows of them")
    if len(found) != len(pair_labels):
        raise InputError(f"{name}: {len(pair_labels)} pictures but {len(found)} labels")
    return found


def _pictures(images: Iterable[Any], labels: list[object]) -> Iterator[Any]:
    """Each picture, whose label, or None, joins ``labels``."""
    if isinstance(images, np.ndarray) and images.dtype != object:
        images = stacked(images)
    for item in by_position(images):
        picture, label = pair_in(item)
        labels.append(label)
        yield picture


def _given(pictures: Iterable[Any]) -> _Stream:
    """Each picture, and what an error message calls it."""
    for number, one in enumerate(pictures):
        where = f"image {number}"
        picture = _unwrapped(one)
        if isinstance(picture, np.ndarray):
            picture = checked_pixels(picture)
            if picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (1,), (3,), (4,)):
                raise InputError(
                    f"{where}: an array must be (H, W) or (H, W, 1 or 3), found {picture.shape}"
                )
        elif not isinstance(picture, Image.Image | bytes | Path | BadPictureError):
            raise InputError(
                f"{where}: must be Pillow's image, an array (H, W, 3), encoded bytes or a Path, "
                f"found {type(picture).__name__}; a data set must not transform it to that"
            )
        if isinstance(picture, np.ndarray | Image.Image) and 0 in _shape(picture):
            raise InputError(f"{where}: has no pixels; leave it out")
        file = picture if isinstance(picture, Path) else getattr(picture, "filename", "")
        yield picture, as_text(file) if file and isinstance(file, str | Path) else where


def _of_one_size(stream: _Stream, size: int | None, name: str) -> tuple[int, _Stream]:
    """The side and the pictures; without ``size`` all must be squares of one size."""
    if size is not None:
        first = next(stream, None)
        if first is None:
            raise InputError(f"{name}: there are no pictures")
        return size, chain([first], stream)
    looked = (_looked_at(picture, where) for picture, where in stream)
    bad: list[tuple[Given, str, tuple[int, int]]] = []
    for one in looked:
        if not isinstance(one[0], BadPictureError):
            break
        bad.append(one)
    else:
        skipped = [Skipped(p.path, p.reason) for p, *_ in bad if isinstance(p, BadPictureError)]
        refuse_too_many(name, skipped, len(skipped))
        raise InputError(f"{name}: there are no pictures")
    height, width = one[2]
    if height != width:
        raise InputError(
            f"{one[1]}: is {height} × {width} pixels, no square; give size, and all become squares"
        )

    def alike() -> _Stream:
        for picture, where, shape in chain([*bad, one], looked):
            if not isinstance(picture, BadPictureError) and shape != (height, height):
                raise InputError(
                    f"{where}: is {' × '.join(map(str, shape))} pixels, others "
                    f"{height} × {width}; give size, and all become squares of it"
                )
            yield picture, where

    return height, alike()


def _looked_at(picture: Given, where: str) -> tuple[Given, str, tuple[int, int]]:
    """The picture, or why it cannot be opened; what it is called; its height and width."""
    if isinstance(picture, bytes | Path):
        try:
            with opened(picture, 1, sys.maxsize) as (_, (width, height)):
                return picture, where, (height, width)
        except Exception as error:  # Pillow's decoders raise whatever they stumble over
            picture = BadPictureError(where, reason(error, picture))
    return picture, where, _shape(picture)


def _shape(picture: Any) -> tuple[int, int]:
    """Height and width; 0 and 0 of what has none."""
    if isinstance(picture, Image.Image):
        return picture.height, picture.width
    height, width = getattr(picture, "shape", (0, 0))[:2]
    return height, width


def _ids(ids: Iterable[int | str] | None, count: int, name: str) -> NDArray[np.str_]:
    """The ids as text that is valid UTF-8; an ImageSet checks that they are unique."""
    if ids is None:
        return number_ids(count)
    if not isinstance(ids, Iterable):
        raise InputError(f"{name}: ids={ids!r}: give one for every picture")
    given = [as_text(str(one)) for one in ids]
    if len(given) != count:
        raise InputError(f"{name}: {count} pictures but {len(given)} ids")
    return np.array(given)
