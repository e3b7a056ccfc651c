"""Pieces of work on threads of our own, in each of which torch has a given number of threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_pools: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # a forked process has none of the threads
_inside = threading.local()


def run_in_threads(
    work: Callable[[T], R], pieces: Iterable[T], *, workers: int, each: int
) -> Iterator[R]:
    """Does pieces of work, as many at once as there are workers; results in the pieces' order.

    Within a piece, and with one worker, pieces are done one after the other where they are.

    Args:
        work: Takes a piece.
        pieces: What there is to do; all are begun before the first result is taken.
        workers: How many at once.
        each: Threads of torch in each of them.
    """
    import torch

    held = list(pieces)
    if min(workers, len(held)) < 2 or getattr(_inside, "piece", False):
        before = torch.get_num_threads()
        torch.set_num_threads(min(each, before))
        try:
            for piece in held:
                yield work(piece)
        finally:
            torch.set_num_threads(before)
        return
    gradients, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def begun(piece: T) -> R:
        _inside.piece = True
        if torch.get_num_threads() != each:
            torch.set_num_threads(each)
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            return work(piece)

    if workers not in _pools:
        _pools[workers] = ThreadPoolExecutor(workers, "piece")
    yield from _pools[workers].map(begun, held)
