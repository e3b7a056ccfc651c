"""What evaluations give: a measured number with what reading it needs, and lists of pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from vicinal.errors import InputError
from vicinal.files import write_csv
from vicinal.representations.representations import Representations


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

    @classmethod
    def share(
        cls,
        name: str,
        count: int,
        n: int,
        chance: float | None = None,
        *,
        better: Literal["higher", "lower", "neither"] = "higher",
        seed: int | None = None,
    ) -> Score:
        """The share of ``count`` of ``n`` cases, with its Wilson interval."""
        interval = wilson_interval(count, n)
        return cls(name, count / n, 0.0, 1.0, better, chance, n, seed, interval)

    def to_json(self) -> dict[str, Any]:
        """The score as plain data."""
        return asdict(self)


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, which stays within 0 to 1 and is never empty.

    Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927.
    """
    found = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


class Answer:
    """What was found about a set of pictures, as rows of a table."""

    def header(self, pictures: Representations) -> list[str]:
        """The names of the columns."""
        raise NotImplementedError

    def listed(self, pictures: Representations) -> list[dict[str, Any]]:
        """Each row as plain data, by the names of the columns."""
        raise NotImplementedError

    def to_json(self, pictures: Representations) -> dict[str, Any]:
        """All of it as plain data."""
        raise NotImplementedError

    def summary(self) -> list[str]:
        """What was found, in a line or two."""
        return []

    def save(self, path: Path, pictures: Representations) -> None:
        """Writes the rows as CSV; several texts of a cell are parted by semicolons."""
        header = self.header(pictures)
        write_csv(path, header, ([_cell(row[n]) for n in header] for row in self.listed(pictures)))


def _cell(value: Any) -> Any:
    return "; ".join(value) if isinstance(value, list) else value


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
