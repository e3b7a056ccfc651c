"""A stage written both ways, ours and theirs, and its measured times."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from measuring import say

ROUNDS = 2


@dataclass(frozen=True, eq=False)
class Stage:
    """One piece of the study, both ways, and a sentence on whether the results agree."""

    name: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    agreement: Callable[[Any, Any], tuple[str, bool]]


@dataclass
class Measured:
    """Seconds of each round, the last results, and our extra memory in bytes."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    memory: int = 0


def measure(stage: Stage) -> Measured:
    """Times both sides in turn; the one that goes first changes."""
    measured = Measured()
    sides = [("ours", stage.ours, measured.ours), ("theirs", stage.theirs, measured.theirs)]
    for turn in range(ROUNDS):
        for name, work, seconds in sides if turn % 2 == 0 else reversed(sides):
            gc.collect()
            began = time.perf_counter()
            measured.results[name] = work()
            seconds.append(time.perf_counter() - began)
    say(f"{stage.name}: {measured.ours} {measured.theirs}")
    return measured
