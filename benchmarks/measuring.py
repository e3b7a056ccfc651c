"""Measuring for the benchmarks: paired times, extra memory, and one Markdown section a script.

Machines are noisy, so everything that is compared runs in turn, round by round, in one
process, and a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import csv
import ctypes
import gc
import importlib.metadata
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from vicinal.training.device import M_MMAP_THRESHOLD, M_TRIM_THRESHOLD


def interleaved(
    contestants: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, all of them in turn within a round.

    Args:
        contestants: What to time, by name; the first of a round changes from round to round.
        rounds: How often each is timed.
        warm_up: Rounds before those, not kept.
    """
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-warm_up, rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            gc.collect()
            began = time.perf_counter()
            contestants[name]()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    """Median of the rounds' ratios: how many times as long ``slower`` took."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))


def keep(file: Path, columns: Sequence[str], row: Sequence[object]) -> None:
    """Appends a row to a CSV file, which begins with the names of its columns."""
    new = not file.is_file()
    with file.open("a", newline="", encoding="utf-8") as held:
        writer = csv.writer(held)
        if new:
            writer.writerow(columns)
        writer.writerow(row)


def extra_memory(work: Callable[[], object], *, warm_up: bool = True) -> int:
    """Most resident bytes that ``work`` needed beyond those held before it (Linux only).

    The kernel's high-water mark is reset before, and the allocator told to hand back what is
    freed, so that memory kept from earlier work is not taken for this one's.

    Args:
        work: What to run.
        warm_up: Whether to run it once unmeasured, so that libraries load and keep their own
            buffers; not needed where it ran before.
    """
    if warm_up:
        work()
    gc.collect()
    libc = ctypes.CDLL("libc.so.6")
    libc.mallopt(M_MMAP_THRESHOLD, 2**16)
    libc.mallopt(M_TRIM_THRESHOLD, 0)
    libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    work()
    return max(0, _status("VmHWM") - before)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The p of cost = a · sizeᵖ by least squares on logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def section(title: str, question: str, tables: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Prints a script's result as Markdown on standard output; progress goes to `say`."""
    script = Path(sys.argv[0]).name
    print(f"## {title}\n\n{question} (`python benchmarks/{script}`)\n")
    for made in tables:
        print(made + "\n")
    for note in notes:
        print(f"- {note}")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers are formatted by the caller."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def say(line: str) -> None:
    """Progress, on standard error."""
    print(line, file=sys.stderr, flush=True)


def versions(*packages: str) -> str:
    """``name version`` of each package, for a section's note."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)


def machine() -> str:
    """The processor and how many cores of it there are to use, in a few words."""
    import torch

    named = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    name = named[1] if named else platform.machine()
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{name} ({capability}), {torch.get_num_threads()} threads"


def _status(field: str) -> int:
    found = re.search(rf"{field}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
