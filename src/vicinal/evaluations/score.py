"""Score: a measured number with what is needed to read it; the check of arrays before it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError


@dataclass(frozen=True)
class Score:
    """One figure of an evaluation.

    Attributes:
        name: What was measured, such as ``probe_accuracy``.
        value: The figure, a fraction rather than a percentage where it is a share.
        low: The least value possible; None where unbounded.
        high: The greatest value possible; None where unbounded.
        better: Which way is better.
        chance: What guessing would give; None where there is no such thing.
        n: Number of cases behind the figure.
        seed: Seed of whatever was drawn at random; None where nothing was.
        interval: 95 % confidence interval, where one was computed.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    better: Literal["higher", "lower", "neither"]
    chance: float | None
    n: int
    seed: int | None = None
    interval: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """The score as plain data."""
        return asdict(self)


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
