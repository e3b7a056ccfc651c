"""The pixels of several sets of pictures as those of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ConcatenatedPixels:
    """Arrays (Nᵢ, H, W, C) one after the other, read by row or by slice without a copy of all.

    Args:
        arrays: Of the same H, W and C; may be memory maps.
    """

    def __init__(self, arrays: Sequence[NDArray[np.uint8]]) -> None:
        self._arrays = arrays
        self._ends = np.cumsum([len(array) for array in arrays])

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return (len(self), *self._arrays[0].shape[1:])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: Any, /) -> NDArray[np.uint8]:
        """A picture (H, W, C) by its row, or pictures by a slice of rows."""
        if not isinstance(index, slice):
            number = int(np.searchsorted(self._ends, index, side="right"))
            picture: NDArray[np.uint8] = self._arrays[number][index - int(self._ends[number])]
            return picture
        start, stop, _ = index.indices(len(self))
        starts = self._ends - [len(array) for array in self._arrays]
        pieces = [
            array[max(start - int(first), 0) : max(stop - int(first), 0)]
            for array, first in zip(self._arrays, starts, strict=True)
        ]
        return np.concatenate(pieces)
