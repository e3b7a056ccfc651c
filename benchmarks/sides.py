"""A stage written by us and by others, and its measured times."""

from __future__ import annotations

import gc
import importlib.util
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import author
from measuring import say

ROUNDS = 2
OURS, PLAIN, FASTER = "ours", "scikit-learn", "scikit-learn-intelex"


@dataclass(frozen=True, eq=False)
class Stage:
    """One piece of the study, and a sentence on whether our result and another's agree.

    Attributes:
        name: What is done.
        ours: Ours.
        theirs: The author's, with the estimators of the module it is given (`peers`).
        agreement: Of our result and one of theirs.
    """

    name: str
    ours: Callable[[], Any]
    theirs: Callable[[ModuleType], Any]
    agreement: Callable[[Any, Any], tuple[str, bool]]


@dataclass
class Measured:
    """Seconds of each round and the last result, by side, and our extra memory in bytes."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    memory: int = 0


def peers() -> dict[str, ModuleType]:
    """`author` with scikit-learn's estimators, and with those of its extension if installed."""
    if importlib.util.find_spec("sklearnex") is None:
        return {PLAIN: author}
    import sklearnex

    sklearnex.patch_sklearn(verbose=False)
    try:  # a second module of the same text, whose names are the patched estimators
        spec = importlib.util.spec_from_file_location("author_patched", Path(author.__file__))
        assert spec is not None
        assert spec.loader is not None
        patched = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = patched
        spec.loader.exec_module(patched)
    finally:
        sklearnex.unpatch_sklearn()
    return {PLAIN: author, FASTER: patched}


def measure(stage: Stage, theirs: Mapping[str, ModuleType]) -> Measured:
    """Times the sides in turn; the one that goes first changes."""
    work: dict[str, Callable[[], Any]] = {OURS: stage.ours}
    work |= {name: partial(stage.theirs, module) for name, module in theirs.items()}
    measured = Measured({name: [] for name in work})
    for turn in range(ROUNDS):
        for name in work if turn % 2 == 0 else reversed(work):
            gc.collect()
            began = time.perf_counter()
            measured.results[name] = work[name]()
            measured.seconds[name].append(time.perf_counter() - began)
    say(f"{stage.name}: {measured.seconds}")
    return measured
