"""How many threads compute: decided here, for torch, BLAS, OpenMP, joblib, openTSNE and faiss.

The number starts from the cores that this process may use and from what torch would take by
itself. Within a `shared` piece of work, such as every command is, it follows how busy others
keep these cores: `look` is called at the start of every stage, and a training looks again while
it runs (`vicinal.training.pace`). `set_threads` holds it.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from vicinal.errors import InputError, number_of

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def allowed_cores() -> int:
    """Cores that this process may keep busy, at least 1.

    The least of three: the cores it may run on, the processor time that its cgroups grant it (a
    started core counts), and ``OMP_NUM_THREADS``.
    """
    limits = [float(len(affinity())), quota(), _asked(os.environ)]
    return max(1, math.ceil(min(limit for limit in limits if limit is not None)))


def affinity() -> frozenset[int]:
    """Numbers of the cores that this process may run on; all of them where no system says."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def quota(proc: Path = PROC, cgroups: Path = CGROUPS) -> float | None:
    """Seconds of processor time that this process's cgroups grant it a second, None without limit.

    A group has at most what each group above it has. A container often sees its own group as
    the topmost one, so the groups named in ``/proc/self/cgroup`` need not be there.
    """
    found = [share for folder in _groups(proc, cgroups) if (share := _share(folder)) is not None]
    return min(found, default=None)


def _groups(proc: Path, cgroups: Path) -> Iterator[Path]:
    """Every folder that may hold a quota of this process, from its own group up."""
    try:
        lines = (proc / "self" / "cgroup").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    for line in [*lines, "0::/", "0:cpu:/"]:
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        # Version 2 has one tree, version 1 one a controller: both may be mounted.
        tops = [cgroups, cgroups / "unified"]
        tops = [cgroups / controllers, cgroups / "cpu"] if controllers else tops
        for top in tops:
            inner = Path(path.lstrip("/"))
            yield from (top / folder for folder in (inner, *inner.parents))


def _share(folder: Path) -> float | None:
    """The share that a cgroup grants: version 2's ``cpu.max``, or version 1's two files."""
    try:
        if (folder / "cpu.max").is_file():
            granted, period = (folder / "cpu.max").read_text("utf-8").split()
        else:
            granted = (folder / "cpu.cfs_quota_us").read_text("utf-8").strip()
            period = (folder / "cpu.cfs_period_us").read_text("utf-8").strip()
        # Version 2 writes "max" and version 1 "-1" where there is no limit.
        return None if granted in ("max", "-1") else int(granted) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _asked(environment: Mapping[str, str]) -> float | None:
    """The first number of ``OMP_NUM_THREADS``; nested ones follow it after commas."""
    first = environment.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return float(first) if first.isdigit() and int(first) > 0 else None


@dataclass(frozen=True)
class Reading:
    """The processor time that a system had counted up to a moment."""

    at: float  # the moment, in seconds
    # processor time that all processes had used on our cores, in seconds; None where the system
    # does not say
    busy: float | None
    own: float  # that of this process alone, in seconds
    # runnable processes on average over the last minute, where the system counts them
    load: float | None = None


def read(proc: Path = PROC) -> Reading:
    """Reads what the system has counted up to now, in some ten microseconds."""
    busy = _busy(proc, affinity())
    load = os.getloadavg()[0] if busy is None and hasattr(os, "getloadavg") else None
    return Reading(time.monotonic(), busy, time.process_time(), load)


def others(before: Reading, after: Reading) -> float:
    """How many cores other processes kept busy between two readings, at least 0."""
    seconds = after.at - before.at
    own = (after.own - before.own) / seconds
    if before.busy is not None and after.busy is not None:
        return max(0.0, (after.busy - before.busy) / seconds - own)
    return max(0.0, (after.load or 0.0) - own)


def _busy(proc: Path, cores: Set[int]) -> float | None:
    """Seconds that the cores were busy, of ``/proc/stat``; None where it is not there."""
    # Processes started with `nice` count like all: Linux groups processes by session, and between
    # sessions niceness changes nothing (sched(7), "The autogroup feature").
    try:
        lines = (proc / "stat").read_text("utf-8").splitlines()
    except OSError:
        return None
    ticks = 0
    for line in lines:
        name, *rest = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            # Guests' time is in the user's already; stolen time is another machine's.
            user, nice, system, _idle, _wait, irq, soft, steal = map(int, rest[:8])
            ticks += user + nice + system + irq + soft + steal
    return ticks / os.sysconf("SC_CLK_TCK")


# An operator that is split among threads ends when the slowest of them does. With a thread on a
# core that another process has for a share s of the time, it works only for the share 1 - s; two
# threads on two cores were 1.7 to 1.8 times as fast as one on a quiet machine (`laptop`,
# `photos`), so the second one pays up to s = 0.41 to 0.44.
TAKEN = 0.45
"""The share of a core that others may take before a thread leaves it."""
BACK = 0.3
"""The share below which a thread comes back; less, so that no number goes to and fro."""


def fitting(most: int, cores: float, others: float, now: int) -> int:
    """How many threads fit the cores as they are."""
    free = cores - others
    fewer, more = math.floor(free + TAKEN + _HAIR), math.floor(free + BACK + _HAIR)
    wanted = now
    if fewer < now:
        wanted = fewer
    elif more > now:
        wanted = more
    return max(1, min(most, wanted))


_HAIR = 1e-9  # 2 - 0.45 + 0.45 is to be 2


T = TypeVar("T")
R = TypeVar("R")

_pools: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # a forked process has none of the threads
_inside = threading.local()


LONGEST = 10.0
"""Seconds back to the last reading, at most; what was before says little about what is."""
SHORTEST = 0.1
"""Seconds between two readings, at least; the system counts in hundredths."""


@dataclass
class _State:
    """The number of threads that is held, and the last reading."""

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
    """Cores for work that never waits for its slowest part, however busy the machine is."""
    return _state.held or allowed_cores()


def most() -> int:
    """How many threads there may be on a quiet machine."""
    return _state.held or _state.most or min(threads(), allowed_cores())


@contextmanager
def shared() -> Iterator[None]:
    """Fits the threads of a piece of work to the machine, up to torch's number at its start.

    Afterwards there are as many as before. Of pieces within each other the outer one counts.
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

    Does nothing outside a `shared` piece of work, nor on several ranks, which would take each other
    for strangers. Right after another look the number stays: a short stage would wait longer for a
    reading than it works.
    """
    if _state.held is not None:
        _apply(_state.held)
    elif _state.most is not None and not _of_several_ranks():
        lately = _taken_lately()
        now = threads()
        _apply(now if lately is None else fitting(_state.most, count(), lately, now))
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
    """Sets torch's number of threads, as a training does between two steps."""
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
    named = number_of(now, "thread")
    if _state.held is not None:
        return f"{named} as asked"
    return named if now == whole else f"{named} of {whole}, as other processes are at work"


def side_by_side(work: Callable[[T], R], pieces: Iterable[T], *, each: int = 1) -> Iterator[R]:
    """Does independent pieces of work on all cores, a thread for each; results in their order.

    Each piece has ``each`` threads of torch. Within a piece, and on one core, it does one piece
    after the other.
    """
    import torch

    waiting, workers = list(pieces), max(1, most() // each)
    if min(workers, len(waiting)) < 2 or getattr(_inside, "piece", False):
        before = torch.get_num_threads()
        torch.set_num_threads(min(each, before))
        try:
            for piece in waiting:
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
    yield from _pools[workers].map(begun, waiting)


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
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> Any:
    """The BLAS and OpenMP libraries that are loaded: looking for them takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


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
    from vicinal.distributed import world_size  # imports torch, which takes seconds

    return world_size() > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1


def _taken_lately() -> float | None:
    """As `taken`, of the last seconds, or of a moment from now on if the last reading is old.

    None where the last reading is of a moment ago.
    """
    if _state.seen is None or time.monotonic() - _state.seen.at > LONGEST:
        _state.seen = read()
        time.sleep(SHORTEST)
    return None if time.monotonic() - _state.seen.at < SHORTEST else taken()


def _apply(number: int) -> None:
    """Gives the number to torch, and to every BLAS and OpenMP that is loaded."""
    from threadpoolctl import threadpool_limits

    change(number)
    threadpool_limits(number)
