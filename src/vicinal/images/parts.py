"""The parts of a data set, by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

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
    """Files by the part that a word of their paths names; nothing where that says no parts.

    Every file must name exactly one part, and some the training part and some another.

    Args:
        paths: Within their folder, with ``/`` between folders.
    """
    parts: dict[str, list[str]] = {}
    for path in paths:
        words = {part_of(word) for word in re.split(r"[^A-Za-z]+", path)} - {None}
        if len(words) != 1:
            return {}
        parts.setdefault(str(words.pop()), []).append(path)
    return parts if "train" in parts and len(parts) > 1 else {}


def chosen_test(labelled: Mapping[str, bool], name: str) -> tuple[str | None, tuple[str, ...]]:
    """Which part is the test part beside the training part, and lines about the choice.

    ``test`` comes before ``validation``; but where the training part has labels, one with labels
    before one without.

    Args:
        labelled: Of ``train``, ``test`` and ``validation`` those there are; whether each has
            labels.
        name: What people call the set.
    """
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
