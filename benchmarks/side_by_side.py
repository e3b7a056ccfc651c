"""Do independent stages of the study gain by running side by side, one core each?

Both ways do the same work on cached representations: one stage after the other on all threads,
and two processes with one thread each that take the next stage when they are free, the longest
first. Starting the processes and loading is not timed.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch

from frozen import DATA_NOTE, Frozen, frozen
from measuring import interleaved, ratio, section, table
from vicinal import cluster, converged_probe, detect, knn_probe, retrieve, tsne_map
from vicinal.evaluations import maps

ROUNDS = 3
SHOWN = np.arange(10)
STAGES: dict[str, Callable[[Frozen], object]] = {
    "S2: t-SNE": lambda data: tsne_map(data.test.array),
    "S9: clusters": lambda data: cluster(data.train.array, labels=data.train.labels),
    "S8: anomalies": lambda data: detect(data.train, data.test, data.anomalies),
    "S3: k-NN probe": lambda data: knn_probe(data.train, data.test),
    "S7: retrieval": lambda data: retrieve(data.test, data.train, k=5, shown=SHOWN),
    "S3: converged probe": lambda data: converged_probe(data.train, data.test),
}
"""The longest first, so that no process is left with a long one at the end."""

_held: list[Frozen] = []


def main() -> None:
    _held.append(frozen())
    context = multiprocessing.get_context("fork")  # the representations are not copied
    workers = min(2, os.cpu_count() or 1)
    each: dict[str, list[float]] = {name: [] for name in STAGES}

    def in_turn() -> None:
        for name in STAGES:
            each[name].append(_run(name))

    with ProcessPoolExecutor(workers, context, _one_thread) as pool:
        list(pool.map(_run, STAGES))  # unmeasured: the processes start
        taken = interleaved(
            {"one after the other": in_turn, "side by side": lambda: list(pool.map(_run, STAGES))},
            rounds=ROUNDS,
        )
    rows = [(name, f"{statistics.median(seconds[1:]):.1f}") for name, seconds in each.items()]
    rows += [(f"**{way}**", f"{statistics.median(seconds):.1f}") for way, seconds in taken.items()]
    gain = ratio(taken["one after the other"], taken["side by side"])
    section(
        "Stages side by side",
        "Do independent stages gain by running side by side on two cores?",
        [table(("stage", "s"), rows)],
        [
            f"Side by side is {gain:.2f}× as fast: {workers} "
            "processes of one thread each against all threads for one stage at a time.",
            DATA_NOTE,
            f"Medians of {ROUNDS} rounds.",
        ],
    )


def _run(name: str) -> float:
    began = time.perf_counter()
    STAGES[name](_held[0])
    return time.perf_counter() - began


def _one_thread() -> None:
    """Makes a process keep to one core."""
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)
    maps._ONE_THREAD = 10**9


if __name__ == "__main__":
    main()
