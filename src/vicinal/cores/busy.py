"""How busy other processes keep our cores, by what the system counts for all and for us."""

from __future__ import annotations

import os
import time
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from vicinal.cores.allowed import PROC, affinity


@dataclass(frozen=True)
class Reading:
    """What a system had counted up to a moment.

    Attributes:
        at: The moment, in seconds.
        busy: Processor time that all processes had used on our cores, in seconds; None where
            the system does not say.
        own: That of this process alone, in seconds.
        load: Runnable processes on average over the last minute, where the system counts them.
    """

    at: float
    busy: float | None
    own: float
    load: float | None = None


def read(proc: Path = PROC) -> Reading:
    """What the system has counted up to now; some ten microseconds' work."""
    busy = _busy(proc, affinity())
    load = os.getloadavg()[0] if busy is None and hasattr(os, "getloadavg") else None
    return Reading(time.monotonic(), busy, time.process_time(), load)


def others(before: Reading, after: Reading) -> float:
    """How many cores other processes kept busy between two readings, at least 0.

    Where the system counts no processor time, the load of the last minute stands for it, and
    where it counts nothing, no other process is known of.
    """
    seconds = after.at - before.at
    own = (after.own - before.own) / seconds
    if before.busy is not None and after.busy is not None:
        return max(0.0, (after.busy - before.busy) / seconds - own)
    return max(0.0, (after.load or 0.0) - own)


def _busy(proc: Path, cores: Set[int]) -> float | None:
    """Seconds that the cores were busy, of ``/proc/stat``; None where it is not there.

    Processes that were started with `nice` count like all: Linux groups processes by session,
    and between sessions niceness changes nothing (sched(7), "The autogroup feature").

    Args:
        proc: Where the system describes itself.
        cores: The cores that count.
    """
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
