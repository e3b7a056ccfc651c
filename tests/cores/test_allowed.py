"""Which cores a process may use: affinity, cgroup quotas of both versions, OMP_NUM_THREADS."""

import os
from pathlib import Path

import pytest

from vicinal import cores
from vicinal.cores import allowed_cores, quota


def system(folder: Path, cgroup: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A /proc and a /sys/fs/cgroup with these files."""
    (folder / "proc" / "self").mkdir(parents=True)
    (folder / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "proc", folder / "cgroup"


@pytest.mark.parametrize(
    ("cgroup", "files", "granted"),
    [
        pytest.param("0::/\n", {"cpu.max": "max 100000\n"}, None, id="2, no limit"),
        pytest.param("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5, id="2"),
        pytest.param(
            "0::/user.slice/run\n",
            {
                "user.slice/run/cpu.max": "400000 100000",
                "user.slice/cpu.max": "200000 100000",
                "cpu.max": "max 100000",
            },
            2.0,
            id="2, a group above grants less",
        ),
        pytest.param(
            "0::/system.slice/docker-1.scope\n",
            {"cpu.max": "50000 100000"},
            0.5,
            id="2, seen from within a container",
        ),
        pytest.param(
            "5:memory:/a\n4:cpu,cpuacct:/docker/1\n",
            {
                "cpu,cpuacct/docker/1/cpu.cfs_quota_us": "300000\n",
                "cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n",
                "memory/a/cpu.cfs_quota_us": "1\n",
                "memory/a/cpu.cfs_period_us": "1\n",
            },
            3.0,
            id="1",
        ),
        pytest.param(
            "1:cpu:/\n0::/\n",
            {
                "cpu/cpu.cfs_quota_us": "-1\n",
                "cpu/cpu.cfs_period_us": "100000\n",
                "unified/cpu.max": "max 100000",
            },
            None,
            id="1 and 2, no limit",
        ),
        pytest.param("0::/\n", {}, None, id="no cgroups"),
        pytest.param("0::/\n", {"cpu.max": "what?\n"}, None, id="not understood"),
    ],
)
def test_quota(tmp_path: Path, cgroup: str, files: dict[str, str], granted: float | None) -> None:
    assert quota(*system(tmp_path, cgroup, files)) == granted


def test_no_quota_where_there_is_no_proc(tmp_path: Path) -> None:
    assert quota(tmp_path / "proc", tmp_path / "cgroup") is None


@pytest.mark.parametrize(
    ("affinity", "granted", "asked", "expected"),
    [
        (8, None, None, 8),
        (8, 2.5, None, 3),  # a started core counts
        (8, 0.2, None, 1),
        (2, 4.0, None, 2),
        (8, 6.0, "4", 4),
        (8, None, "4,2", 4),  # nested regions' numbers follow
        (2, None, "16", 2),
        (8, None, "0", 8),  # what OpenMP would not understand
        (8, None, "many", 8),
    ],
)
def test_the_least_limit_counts(
    monkeypatch: pytest.MonkeyPatch,
    affinity: int,
    granted: float | None,
    asked: str | None,
    expected: int,
) -> None:
    monkeypatch.setattr(cores, "affinity", lambda: frozenset(range(affinity)))
    monkeypatch.setattr(cores, "quota", lambda: granted)
    if asked is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert allowed_cores() == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_is_the_processes() -> None:
    before = os.sched_getaffinity(0)
    one = {min(before)}
    try:
        os.sched_setaffinity(0, one)
        assert cores.affinity() == one
        assert allowed_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
