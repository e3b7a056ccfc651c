"""Labels of any kind as positions in a list of class names, and where labels are found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_COLUMNS = (
    *("label", "labels", "class", "classes", "target", "targets", "category", "categories"),
    *("fine_label", "fine_labels", "label_name", "class_name", "class_label", "label_id"),
    *("class_id", "category_id", "category_name", "coarse_label", "coarse_labels", "y"),
)
"""What a column of labels is called, the likeliest first."""


def coded(
    classes: NDArray[np.str_], declared: tuple[str, ...] = ()
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class names of pictures (N,) as positions (N,) int64 in the list of names, and that list.

    Args:
        classes: The class name of each picture; blanks around a name do not count.
        declared: Names that come first, in their order; others follow sorted, numbers as numbers.
    """
    declared = tuple(name.strip() for name in declared)
    found, inverse = np.unique(np.char.strip(classes), return_inverse=True)
    names = (*declared, *in_order(set(found.tolist()) - set(declared)))
    position = {name: number for number, name in enumerate(names)}
    return np.array([position[name] for name in found.tolist()], dtype=np.int64)[inverse], names


def in_order(names: Iterable[str]) -> list[str]:
    """Class names sorted, numbers as numbers, so that class 10 comes after class 9."""
    return sorted(names, key=_numbers_first)


def label_columns(names: Sequence[str], declared: Collection[str] = ()) -> list[str]:
    """The columns that may hold labels, the likeliest first: by their names, then declared ones.

    Args:
        names: All columns.
        declared: Those that a data set itself calls labels.
    """
    by_name = {plain_name(name): name for name in reversed(names)}
    known = [by_name[name] for name in _COLUMNS if name in by_name]
    return list(dict.fromkeys((*known, *(name for name in names if name in declared))))


def plain_name(column: str) -> str:
    """A column's name as names are compared: ``" Fine-Label"`` is ``fine_label``."""
    return column.strip().strip("\ufeff\"' ").lower().replace(" ", "_").replace("-", "_")


def labels_told(name: str, count: int, origin: str) -> str:
    """The line that says where labels are from.

    Args:
        name: What people call the set.
        count: How many classes there are.
        origin: Where they are from, such as ``the column label``.
    """
    return f"{name}: labels from {origin}, {count:,} class{'' if count == 1 else 'es'}"


def no_labels_told(name: str, why: str) -> str:
    """The line that says that there are no labels, and why not."""
    return f"{name}: no labels ({why})"


def _numbers_first(name: str) -> tuple[bool, int, str]:
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
