"""The check that every evaluation makes of an array before it reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError


def checked(array: NDArray[Any], what: str, least: int = 2) -> NDArray[Any]:
    """Returns an array (N, F) unchanged once it is known to be usable.

    Args:
        array: Array (N, F) of numbers.
        what: What is about to be done, for the message.
        least: The fewest rows that make sense.

    Raises:
        InputError: If it is not two-dimensional, has too few rows or holds NaN or infinity.
    """
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(f"{what}: needs an array (N, F), found {array.shape}")
    if len(array) < least:
        raise InputError(f"{what}: needs at least {least} images, found {len(array)}")
    if not np.isfinite(array).all():
        raise InputError(
            f"{what}: the representations hold NaN or infinite values; "
            "train again with a lower learning rate"
        )
    return array
