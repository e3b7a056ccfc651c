"""All systems measured, two at a time where that is faster."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vicinal import cores
from vicinal.estimators.patches import PatchFeatures
from vicinal.files import write_json
from vicinal.progress import say
from vicinal.runs.run_folder import RunFolder
from vicinal.runs.stages import is_due, note_finished, note_threads, run_stage, say_seconds
from vicinal.study.measures import Figures
from vicinal.study.systems import MAPS, SYSTEMS, Measure

# A system is small products, Python and large products by turns, so two threads are busy for part
# of its time; `benchmarks/side_by_side.py` has what two processes gain.
AT_ONCE = 2
PAYS = 10_000
"""Training images, the fewest measured to be faster; a process takes seconds to begin."""
SETS = 16
"""Largest sets of representations that memory must hold: the study of CIFAR-10 needed 9.5 GB, most
of it for raw pixels, 0.6 GB of them, standardised and rotated in both processes at once."""
LONGEST_FIRST = ("S3", "S8", "S5", "S9", "S7", "S4", "S2", "S6", "S1")
"""So that no process is left with a long one at the end."""


def measure_all(measure: Measure) -> None:
    """Leaves each system's figures as ``S1.json`` … in the run folder, unless they are there.

    Large sets are measured by processes side by side where there are cores and memory for them.
    On a GPU systems are measured in turn, as all would wait for the one device.

    Raises:
        InputError: If a file cannot be written.
    """
    if _worth_it(measure):
        _side_by_side(measure, [name for name in LONGEST_FIRST if _due(measure.run, name)])
    for name in SYSTEMS:
        run_stage(
            measure.run.path,
            _stage(name),
            _makes(measure.run, name),
            lambda: write_json(_figures(measure.run, name), SYSTEMS[name](measure)),  # noqa: B023 — called at once
        )


def _worth_it(measure: Measure) -> bool:
    """Whether two processes have cores and memory, and enough to do."""
    train = measure.data.train
    if measure.device != "cpu" or cores.most() < AT_ONCE or len(train) < PAYS:
        return False
    widest = max(
        measure.recipe.encoder.dimension,
        train.size**2 * train.channels,
        8 * PatchFeatures().n_filters,
    )
    return _memory() >= SETS * len(train) * widest * np.dtype(np.float32).itemsize


def _memory() -> int:
    """Bytes of memory of this machine; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def in_order(seconds: Mapping[str, float]) -> dict[str, float]:
    """The seconds of a run's stages, the systems' from S1 on, whichever ended first."""
    systems = iter([_stage(name) for name in SYSTEMS if _stage(name) in seconds])
    measured = {_stage(name) for name in SYSTEMS}
    names = [next(systems) if name in measured else name for name in seconds]
    return {name: seconds[name] for name in names}


def _side_by_side(measure: Measure, names: Sequence[str]) -> None:
    """Measures systems in processes that share the cores; leaves undone what a killed one had."""
    if len(names) < AT_ONCE:
        return
    # Processes that joblib starts run no script of the user's again, guarded or not.
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    run = measure.run
    apart = Measure(RunFolder(run.path), measure.data, measure.recipe)  # the lock stays here
    # Where others keep the cores busy, two processes of one thread each still lose nothing: none
    # waits for another's slowest thread.
    threads = max(1, cores.look() // AT_ONCE)
    with parallel_config("loky", n_jobs=AT_ONCE, inner_max_num_threads=threads):
        pool = Parallel(batch_size=1, return_as="generator_unordered")
    began, took = time.perf_counter(), dict[str, float]()
    with _interruption_later():
        measured = pool(delayed(_measured)(apart, name, threads) for name in names)
    try:
        for name, figures, seconds in measured:
            write_json(_figures(run, name), figures)
            took[name] = seconds
            note_threads(run.path, _stage(name), threads)
            note_finished(run.path, _stage(name), seconds)
            say_seconds(run.path, _stage(name))
    except BrokenProcessPool:
        say("a measuring process was killed, perhaps for its memory; going on with one at a time")
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some were cancelled: the user hears of the reason
            measured.close()
        get_reusable_executor(reuse=True).shutdown(kill_workers=True)
        _share(run, took, time.perf_counter() - began)


@contextmanager
def _interruption_later() -> Iterator[None]:
    """Processes that begin within ignore Ctrl-C; this one gets it afterwards and ends them."""
    # A shell sends it to all of them, and one that is still importing would print a traceback.
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _share(run: RunFolder, took: Mapping[str, float], seconds: float) -> None:
    """Divides the seconds that all took together, so that a run's stages add up to its time."""
    for name, own in took.items():
        note_finished(run.path, _stage(name), own * seconds / sum(took.values()))


def _measured(measure: Measure, name: str, threads: int) -> tuple[str, Figures, float]:
    """A system's name, its figures, and the seconds it took on so many threads."""
    cores.set_threads(threads)
    began = time.perf_counter()
    return name, SYSTEMS[name](measure), time.perf_counter() - began


def _due(run: RunFolder, name: str) -> bool:
    return is_due(run.path, _stage(name), _makes(run, name))


def _stage(name: str) -> str:
    return f"measure {name}"


def _figures(run: RunFolder, name: str) -> Path:
    return run / f"{name}.json"


def _makes(run: RunFolder, name: str) -> list[Path]:
    maps = [run / "maps" / f"{drawn}.parquet" for drawn in MAPS.get(name, ())]
    return [_figures(run, name), *maps]
