"""Score: a measured number with what is needed to read it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


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
