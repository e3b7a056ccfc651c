"""Labels of any kind as positions in a list of class names."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def coded(
    classes: NDArray[np.str_], declared: tuple[str, ...] = ()
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class names of pictures (N,) as positions (N,) int64 in the list of names, and that list.

    Args:
        classes: The class name of each picture.
        declared: Names that come first, in their order; others follow sorted, numbers as numbers.
    """
    found, inverse = np.unique(classes, return_inverse=True)
    undeclared = sorted(set(found.tolist()) - set(declared), key=_numbers_first)
    names = (*declared, *undeclared)
    position = {name: number for number, name in enumerate(names)}
    return np.array([position[name] for name in found.tolist()], dtype=np.int64)[inverse], names


def _numbers_first(name: str) -> tuple[bool, int, str]:
    """So that class 10 comes after class 9."""
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
