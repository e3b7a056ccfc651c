"""What Python programs hold pictures in: data frames, series, data sets, dicts and arrays."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vicinal.errors import InputError
from vicinal.images.classes import label_columns, plain_name
from vicinal.images.formats import formats
from vicinal.images.opened import reason
from vicinal.images.skipped import BadPictureError

_IMAGES = ("image", "img", "images", "imgs", "picture", "pictures", "photo", "photos", "x")


@dataclass(frozen=True)
class Held:
    """Pictures in a container, and what it says of them.

    Attributes:
        images: The pictures, by position.
        labels: One for each picture; None if the container has none.
        ids: One for each picture; None if it has none.
        classes: The names of numbered classes; empty where there are none.
        column: The column of the labels.
    """

    images: Iterable[Any]
    labels: list[Any] | None = None
    ids: list[Any] | None = None
    classes: tuple[str, ...] = ()
    column: str = ""


def held_in(images: Iterable[Any]) -> Held:
    """The pictures in a container, in the order of their places, whatever its own index says.

    A data frame (pandas, polars), a `datasets.Dataset` and a dict of columns are tables: one
    column holds the pictures, another perhaps labels. A dict of pictures has ids for keys.

    Args:
        images: The container; any other iterable of pictures is what it is.

    Raises:
        InputError: If it is a dict of data sets, or a table without pictures.
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
            return Held(values, ids=list(images))
    if isinstance(images, Mapping) or _is_table(images):
        return _of_table(images)
    return Held(images, classes=classes)


def by_position(images: Iterable[Any]) -> Iterator[Any]:
    """The items in the order of their places; one that cannot be read is a `BadPictureError`."""
    if not (isinstance(images, Sized) and hasattr(images, "__getitem__")):
        yield from images
        return
    places = getattr(images, "iloc", images)  # a pandas Series is indexed by its labels
    for number in range(len(images)):
        try:
            item = places[number]
        except (OSError, Image.DecompressionBombError) as error:
            item = BadPictureError(f"image {number}", reason(error))
        yield item


def is_picture(one: object) -> bool:
    """Whether it is Pillow's image, an array (H, W) or (H, W, C), or an encoded one."""
    if isinstance(one, Mapping):
        return bool(one) and set(one) <= {"bytes", "path"}
    return isinstance(one, Image.Image | bytes | Path) or (
        isinstance(one, np.ndarray) and one.ndim in (2, 3)
    )


def opened_cell(one: Any, where: str) -> Any:
    """A cell as `datasets` writes it, encoded bytes or a path, as Pillow's image, not decoded yet.

    Anything else stays what it is; what is no picture becomes a `BadPictureError`.
    """
    if isinstance(one, Mapping) and is_picture(one):
        one = one.get("bytes") or (Path(one["path"]) if one.get("path") else b"")
    if not isinstance(one, bytes | Path):
        return one
    try:
        data = one if isinstance(one, bytes) else one.read_bytes()
        return Image.open(io.BytesIO(data), formats=formats())
    except (OSError, Image.DecompressionBombError) as error:
        return BadPictureError(where, reason(error, one))


def pair_in(item: Any) -> tuple[Any, Any]:
    """A picture and its label, or None, in what a data set gives for one place."""
    if isinstance(item, tuple) and len(item) == 2:
        return item
    if isinstance(item, Mapping) and not is_picture(item):
        plain = {plain_name(str(name)): name for name in reversed(list(item))}
        image = next((plain[name] for name in _IMAGES if name in plain), None)
        label = next(iter(label_columns([str(name) for name in item])), None)
        if image is not None:
            return item[image], item.get(label)
    return item, None


def flat(labels: Any, ids: Sequence[Any] | None) -> list[Any]:
    """Labels by position: of a dict those of the ids, of a table its column of labels.

    Raises:
        InputError: If a dict lacks an id.
    """
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


def _of_table(table: Any) -> Held:
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
    return Held(table[column], labels, classes=classes, column=label or "")


def _image_column(table: Any, names: list[Any], features: Mapping[str, Any]) -> Any:
    """The column of pictures: called so, said so, or the first that holds one."""
    plain = {plain_name(str(name)): name for name in reversed(names)}
    called = [plain[name] for name in _IMAGES if name in plain]
    said = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
    for name in dict.fromkeys((*said, *called, *names)):
        first = next(by_position(table[name]), None)
        if name in said or is_picture(first) or isinstance(first, BadPictureError):
            return name
    raise InputError(
        f"images: none of the columns {', '.join(map(str, names))} holds pictures; give one of "
        "Pillow's images, arrays or encoded bytes"
    )
