"""How busy others keep our cores, from made-up systems."""

import os
from pathlib import Path

import pytest

from vicinal import cores
from vicinal.cores import Reading, others, read

TICKS = os.sysconf("SC_CLK_TCK")
STAT = """cpu  0 0 0 0 0 0 0 0 0 0
cpu0 {user} {nice} {system} 900 50 {irq} {soft} {steal} 7 7
cpu1 100 0 0 900 0 0 0 0 0 0
cpu10 5000 0 0 0 0 0 0 0 0 0
intr 5 5 5
ctxt 5
"""


def stat(folder: Path, **counts: int) -> Path:
    zero = dict.fromkeys(("user", "nice", "system", "irq", "soft", "steal"), 0)
    (folder / "stat").write_text(STAT.format(**(zero | counts)))
    return folder


def test_our_cores_alone_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "affinity", lambda: frozenset({0, 1}))
    counts = {"user": 1, "nice": 20, "system": 300, "irq": 4000, "soft": 50000, "steal": 600000}
    reading = read(stat(tmp_path, **counts))
    assert reading.busy == (654321 + 100) / TICKS
    monkeypatch.setattr(cores, "affinity", lambda: frozenset({1}))
    assert read(tmp_path).busy == 100 / TICKS


def test_what_is_ours_is_not_others() -> None:
    before = Reading(at=10.0, busy=100.0, own=50.0)
    assert others(before, Reading(at=12.0, busy=104.0, own=53.0)) == pytest.approx(0.5)
    assert others(before, Reading(at=12.0, busy=102.0, own=52.1)) == 0.0  # counted in hundredths


def test_where_processor_time_is_not_counted_the_load_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 1.0, 1.0))
    reading = read(tmp_path)
    assert (reading.busy, reading.load) == (None, 3.0)
    before = Reading(reading.at - 2, None, reading.own - 4, 3.0)
    assert others(before, reading) == pytest.approx(1.0)  # two of the three were ours


def test_where_nothing_is_counted_there_are_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "getloadavg", raising=False)
    reading = read(tmp_path)
    assert others(Reading(reading.at - 1, None, reading.own), reading) == 0.0
