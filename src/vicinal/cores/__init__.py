"""How many threads compute: decided here, for torch, BLAS, OpenMP, joblib, openTSNE and faiss.

The number starts from the cores that this process may use and from what torch would take by
itself. Within a `shared` piece of work, such as every command is, it follows how busy others
keep these cores: `look` is called at the start of every stage, and a training looks again while
it runs (`vicinal.training.pace`). `set_threads` holds it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from vicinal.cores.allowed import affinity, allowed_cores
from vicinal.cores.busy import Reading, others, read
from vicinal.cores.choice import fitting
from vicinal.cores.pool import run_in_threads
from vicinal.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

LONGEST = 10.0
"""Seconds back to the last reading, at most; what was before says little about what is."""
SHORTEST = 0.1
"""Seconds between two readings, at least; the system counts in hundredths."""


@dataclass
class _State:
    """What this process has been told, and has seen.

    Attributes:
        held: The number that `set_threads` holds, None where it is chosen.
        free: The number before one was held.
        most: Threads that a `shared` piece of work may have, None outside one.
        seen: The last reading.
    """

    held: int | None = None
    free: int = 1
    most: int | None = None
    seen: Reading | None = None


_state = _State()


def set_threads(number: int | None) -> None:
    """Holds the number of threads, whatever else the machine does; the same as ``--threads``.

    Sums in matrix products and convolutions depend on it in their last bits, so two runs are the
    same byte by byte only with the same number: `docs/reproducibility.md`.

    Args:
        number: At least 1; None to have it chosen again by how busy the machine is.

    Raises:
        InputError: If it is less than 1.
    """
    if number is not None and number < 1:
        raise InputError(f"threads: {number} are too few; give at least 1, or None to choose")
    if number is not None:
        _state.free = threads() if _state.held is None else _state.free
        _apply(number)
    elif _state.held is not None:
        _apply(_state.free)
    _state.held = number
    _state.seen = read()  # from here on others' work counts


def held() -> int | None:
    """The number that `set_threads` or ``--threads`` holds, None where it is chosen."""
    return _state.held


def threads() -> int:
    """How many threads an operator is split among now."""
    import torch

    return torch.get_num_threads()


def cores() -> int:
    """Cores for work that never waits for its slowest part: decoders, processes side by side.

    Such work loses nothing where another process has a core for a while, so this does not depend
    on how busy the machine is.
    """
    return _state.held or allowed_cores()


def most() -> int:
    """How many threads there may be on a quiet machine."""
    return _state.held or _state.most or min(threads(), allowed_cores())


@contextmanager
def shared() -> Iterator[None]:
    """A piece of work whose threads fit the machine; afterwards there are as many as before.

    It may have as many as torch has at its start, so what a caller told torch is the most. Of
    pieces within each other the outer one counts.
    """
    if _state.most is not None:
        chosen = look()
        try:
            yield
        finally:
            change(chosen)
        return
    before, held_before, free = threads(), _state.held, _state.free
    _state.most = min(before, allowed_cores())
    try:
        look()
        yield
    finally:
        _state.most, _state.held, _state.free = None, held_before, free
        _apply(before)


def look() -> int:
    """Chooses the number of threads by how busy the cores are now, and returns it.

    Outside a `shared` piece of work nothing is changed, nor on one of several ranks, which would
    take the others for strangers.
    """
    if _state.held is not None:
        _apply(_state.held)
    elif _state.most is not None and not _of_several_ranks():
        _apply(fitting(_state.most, count(), _taken_lately(), threads()))
    return threads()


def glance() -> None:
    """Looks again if that was some seconds ago: for loops that go on for minutes."""
    if _state.seen is not None and time.monotonic() - _state.seen.at >= LONGEST / 2:
        look()


def count() -> int:
    """Cores that this process may run on, whatever its share of their time."""
    return len(affinity())


def taken() -> float:
    """Cores that others have kept busy since this was last asked or a stage began."""
    before, _state.seen = _state.seen, read()
    return 0.0 if before is None else others(before, _state.seen)


def change(number: int) -> None:
    """Has torch split operators among so many threads: what a training does between two steps."""
    import torch

    torch.set_num_threads(number)


def take(number: int) -> int:
    """Takes a number that a run's folder has on record, or the most there may be; returns it."""
    taken = _state.held or min(number, most())
    _apply(taken)
    return taken


def said() -> str:
    """The number of threads for a person: ``2 threads``, ``1 thread of 2 (…)``."""
    now, whole = threads(), most()
    named = f"{now} thread{'s' if now > 1 else ''}"
    if _state.held is not None:
        return f"{named} as asked"
    return named if now == whole else f"{named} of {whole}, as other processes are at work"


def side_by_side(work: Callable[[T], R], pieces: Iterable[T], *, each: int = 1) -> Iterator[R]:
    """Does independent pieces of work on all cores, a thread of ours for each piece.

    A piece never waits for a part of an operator that runs on a core which another process has, so
    this does not depend on how busy the machine is, and the results do not depend on how many
    pieces run at once.

    Args:
        work: Takes a piece; what it writes belongs to its piece alone.
        pieces: What there is to do; the results come in their order.
        each: Threads that an operator of a piece is split among.

    Returns:
        The results. Gradients are recorded or not as where this is called.
    """
    return run_in_threads(work, pieces, workers=max(1, most() // each), each=each)


@contextmanager
def at_most(number: int) -> Iterator[None]:
    """Torch with so many threads or fewer, for operators that are too small to be split."""
    before = threads()
    change(min(number, before))
    try:
        yield
    finally:
        change(before)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS with one thread, for products that are too small to be split."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


@contextmanager
def faiss_threads(faiss: Any, number: int) -> Iterator[None]:
    """faiss, the module, with so many threads."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(number)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _of_several_ranks() -> bool:
    """Whether this process trains with others, or was started to."""
    from vicinal.ranks import world_size  # imports torch, which takes seconds

    return world_size() > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1


def _taken_lately() -> float:
    """The same of the last seconds: if nothing was asked for long, of a moment from now on."""
    if _state.seen is None or time.monotonic() - _state.seen.at > LONGEST:
        _state.seen = read()
    time.sleep(max(0.0, _state.seen.at + SHORTEST - time.monotonic()))
    return taken()


def _apply(number: int) -> None:
    """Gives the number to torch, and to every BLAS and OpenMP that is loaded."""
    from threadpoolctl import threadpool_limits

    change(number)
    threadpool_limits(number)
