"""Labels of pictures and parts of data sets: how tables and folders customarily name them."""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError, number_of

TRAIN = ("train", "training", "trn")
TEST = ("test", "testing", "tst")
VALIDATION = ("validation", "valid", "val", "dev", "development", "eval", "evaluation")
"""Customary names, in lower case; any case counts."""


def part_of(name: str) -> str | None:
    """``train``, ``test`` or ``validation`` for a customary name of it; None for any other."""
    plain = name.strip().lower()
    parts = {"train": TRAIN, "test": TEST, "validation": VALIDATION}
    return next((part for part, names in parts.items() if plain in names), None)


def parted_files(paths: Sequence[str]) -> dict[str, list[str]]:
    """Files by the part that a word of their paths names; empty unless every path names one."""
    parts: dict[str, list[str]] = {}
    for path in paths:
        words = {part_of(word) for word in re.split(r"[^A-Za-z]+", path)} - {None}
        if len(words) != 1:
            return {}
        parts.setdefault(str(words.pop()), []).append(path)
    return parts if "train" in parts and len(parts) > 1 else {}


def chosen_test(labelled: Mapping[str, bool], name: str) -> tuple[str | None, tuple[str, ...]]:
    """Which part is the test part, and lines about the choice; one with labels is preferred."""
    others = [part for part in ("test", "validation") if part in labelled]
    if not others:
        return None, ()
    chosen = others[0]
    if labelled.get("train"):
        chosen = next((part for part in others if labelled[part]), chosen)
    unused = [part for part in others if part != chosen]
    if not unused:
        return chosen, ()
    why = "" if chosen == others[0] else ", whose pictures have labels, unlike those of test"
    return chosen, (f"{name}: the test part is {chosen}{why}; {unused[0]} is not used",)


def case_forms(names: Iterable[str]) -> list[str]:
    """Each name in lower case, with a capital, and in capitals."""
    return [form for name in names for form in (name, name.capitalize(), name.upper())]


_COLUMNS = (
    *("label", "labels", "class", "classes", "target", "targets", "category", "categories"),
    *("fine_label", "fine_labels", "label_name", "class_name", "class_label", "label_id"),
    *("class_id", "category_id", "category_name", "coarse_label", "coarse_labels", "y"),
)
"""Customary names of a column of labels, the likeliest first."""


_SPLITS = ("split", "subset", "partition")
PATHS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path", "image_path", "image"),
    *("img_path", "img", "image_name", "picture", "photo", "paths", "files", "images"),
)
"""Customary names of a column of files."""
IMAGES = (
    *("image", "img", "images", "imgs", "picture", "pictures", "photo", "photos"),
    *("pixels", "bytes", "data", "content", "x"),
)
"""Customary names of a column of pictures."""


def coded(
    classes: NDArray[np.str_], declared: tuple[str, ...] = ()
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class names of pictures (N,) as positions (N,) int64 in the list of names, and that list.

    A picture whose name is empty has no class: its position is −1.
    """
    declared = tuple(name.strip() for name in declared)
    found, inverse = np.unique(np.char.strip(classes), return_inverse=True)
    names = (*declared, *in_order(set(found.tolist()) - {*declared, ""}))
    position = {"": -1} | {name: number for number, name in enumerate(names)}
    return np.array([position[name] for name in found.tolist()], dtype=np.int64)[inverse], names


def class_of_each(codes: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.str_]:
    """The class name of each picture (N,), empty for none: `coded` undone."""
    found: NDArray[np.str_] = np.array([*names, ""], np.str_)[codes]
    return found


def coded_labels(
    labels: Sequence[Any], declared: tuple[str, ...], name: str
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Labels of any kind as `coded` has them; None where there are none.

    None, NaN, pandas' NA, an empty string and −1 are no label; but −1 beside nothing but 1 is a
    class, as a binary target has it.
    """
    given = {at: label for at, label in enumerate(labels) if not _is_none(label)}
    texts = np.full(len(labels), "", object)
    if all(isinstance(label, str) for label in given.values()):
        texts[list(given)] = list(given.values())
    else:
        try:
            numbers = {at: _whole(label) for at, label in given.items()}
        except TypeError:
            raise InputError(f"{name}: labels must be all integers or all strings") from None
        if declared or set(numbers.values()) != {-1, 1}:
            numbers = {at: number for at, number in numbers.items() if number != -1}
        known = numbers and 0 <= min(numbers.values()) <= max(numbers.values()) < len(declared)
        for at, number in numbers.items():
            texts[at] = declared[number] if known else str(number)
        if known:
            return coded(texts.astype(np.str_), declared)
    codes, names = coded(texts.astype(np.str_))
    return (codes, names) if names else (None, ())


def _is_none(label: Any) -> bool:
    """Whether a label is missing: None, NaN or pandas' NA."""
    return label is None or type(label).__name__ == "NAType" or bool(label != label)


def _whole(label: Any) -> int:
    """A label as an integer; a boolean is one, and so is a whole float, as data frames make."""
    if isinstance(label, np.bool_) or (isinstance(label, float) and label.is_integer()):
        return int(label)
    return operator.index(label)


def in_order(names: Iterable[str]) -> list[str]:
    """Class names sorted, numbers as numbers, so that class 10 comes after class 9."""
    return sorted(names, key=_numbers_first)


def label_columns(names: Sequence[str], declared: Collection[str] = ()) -> list[str]:
    """The columns that may hold labels, the likeliest first: by their names, then declared ones."""
    known = columns_called(_COLUMNS, names)
    return list(dict.fromkeys((*known, *(name for name in names if name in declared))))


def split_column(names: Iterable[str]) -> str:
    """The column that says which part a picture is in, by its name; empty where there is none."""
    return next(iter(columns_called(_SPLITS, names)), "")


def columns_called(known: Iterable[str], names: Iterable[Any]) -> list[Any]:
    """The columns that have one of the known names, in the order of these, the likeliest first."""
    plain = {plain_name(str(name)): name for name in reversed(list(names))}
    return [plain[name] for name in known if name in plain]


def plain_name(column: str) -> str:
    """A column's name as names are compared: ``" Fine-Label"`` is ``fine_label``."""
    return column.strip().strip("\ufeff\"' ").lower().replace(" ", "_").replace("-", "_")


class Labels(NamedTuple):
    """Labels of pictures."""

    codes: NDArray[np.int64] | None  # (N,) int64 positions in ``names``, −1 for none; or None
    names: tuple[str, ...]  # the names of the classes; empty without labels
    note: str  # the line for the user that says where they are from, or why there are none


def labels_from(
    name: str, origin: str, classes: NDArray[np.str_], declared: tuple[str, ...] = ()
) -> Labels:
    """Labels of pictures by the name of each one's class (N,), see `coded`; none if all are empty.

    ``origin`` is where they are from, as the note says it.
    """
    codes, names = coded(classes, declared)
    if (codes < 0).all():
        return no_labels(name, f"{origin} is empty, or all -1")
    return Labels(codes, names, labels_note(name, names, origin, codes))


def no_labels(name: str, why: str) -> Labels:
    """No labels, and a note that says why."""
    return Labels(None, (), f"{name}: no labels ({why})")


def labels_note(name: str, classes: Sequence[str], origin: str, codes: NDArray[np.int64]) -> str:
    """The line that says where labels (N,) are from, and how many pictures have none."""
    count, without = len(classes), int((codes < 0).sum())
    found = f"{name}: labels from {origin}, {number_of(count, 'class', 'classes')}"
    has = "has" if without == 1 else "have"
    return found + (f", {without:,} of {len(codes):,} pictures {has} none" if without else "")


def _numbers_first(name: str) -> tuple[bool, int, str]:
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
