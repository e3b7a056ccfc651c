"""Within which groups of classes are images told apart, and between which are they confused?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.evaluations.probe_result import wilson_interval
from vicinal.evaluations.score import Score


@dataclass(frozen=True, eq=False)
class GroupAccuracy:
    """How a probe does on one group of classes; the three scores add up to 1.

    Attributes:
        name: The group, such as ``vehicles``.
        accuracy: Share of the group's images given their own class.
        confused_within: Share given another class of the same group.
        confused_between: Share given a class outside the group.
    """

    name: str
    accuracy: Score
    confused_within: Score
    confused_between: Score


def group_accuracy(
    confusion: NDArray[np.int64], groups: Sequence[tuple[str, Sequence[int]]]
) -> list[GroupAccuracy]:
    """Accuracy and confusion rates of groups of classes.

    Chance is what answering at random, every class equally often, would give; a group with
    more classes has more of its confusion within, which the chance values make visible.

    Args:
        confusion: Array (C, C) int64, images by true class (row) and answer (column).
        groups: A name and the positions of its classes for each group.

    Returns:
        One result a group, in the same order.

    Raises:
        InputError: If a class is not there, is in two groups, or a group has no images.
    """
    members = [position for _, positions in groups for position in positions]
    if len(set(members)) < len(members):
        raise InputError("groups of classes overlap; put each class in one group")
    if members and not 0 <= min(members) <= max(members) < len(confusion):
        raise InputError(
            f"groups of classes name {min(members)} to {max(members)}, "
            f"but there are {len(confusion)} classes"
        )
    return [_group(confusion, name, list(positions)) for name, positions in groups]


def _group(confusion: NDArray[np.int64], name: str, positions: list[int]) -> GroupAccuracy:
    rows = confusion[positions]
    total = int(rows.sum())
    if total == 0:
        raise InputError(f"group {name!r} has no test images; leave it out")
    right = int(confusion[positions, positions].sum())
    inside = int(rows[:, positions].sum())
    classes, size = len(confusion), len(positions)
    return GroupAccuracy(
        name=name,
        accuracy=_share(f"{name}_accuracy", right, total, 1 / classes, higher=True),
        confused_within=_share(
            f"{name}_confused_within", inside - right, total, (size - 1) / classes, higher=False
        ),
        confused_between=_share(
            f"{name}_confused_between",
            total - inside,
            total,
            (classes - size) / classes,
            higher=False,
        ),
    )


def _share(name: str, count: int, total: int, chance: float, *, higher: bool) -> Score:
    return Score(
        name=name,
        value=count / total,
        low=0.0,
        high=1.0,
        better="higher" if higher else "lower",
        chance=chance,
        n=total,
        interval=wilson_interval(count, total),
    )
