"""Which cores this process may use: its affinity, its cgroups' quota and OMP_NUM_THREADS."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

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

    Args:
        proc: Where the system describes processes.
        cgroups: Where it mounts its cgroups.
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
    """What a cgroup grants: version 2's ``cpu.max``, or version 1's two files."""
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
