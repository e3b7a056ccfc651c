"""The one place that says how many threads compute, and whom it tells."""

import inspect
import os
from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info
from typer.testing import CliRunner

import vicinal
from vicinal import cores
from vicinal.cli import PANELS, app
from vicinal.cores import Reading
from vicinal.errors import InputError
from vicinal.representations.neighbours import nearest
from vicinal.representations.representations import Representations

COMPUTING = {
    "study",
    "explore",
    "train",
    "embed",
    "cluster",
    "map_",
    "probe",
    "anomalies",
    "similar",
    "duplicates",
    "index",
    "bench",
    "choose",
    "labels",
    "select",
    "compare",
}


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Four cores, whatever this machine has, and nothing held afterwards."""
    monkeypatch.setattr(cores, "affinity", lambda: frozenset(range(4)))
    monkeypatch.setattr(cores, "allowed_cores", lambda: 4)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    cores.set_threads(None)
    torch.set_num_threads(before)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A machine whose other processes keep ``others`` cores busy."""
    made = {"now": 0.0, "busy": 0.0, "others": 0.0, "slept": 0.0}

    def sleep(seconds: float) -> None:
        made["slept"] += seconds
        work(made, seconds)

    monkeypatch.setattr(cores, "read", lambda: Reading(made["now"], made["busy"], 0.0))
    monkeypatch.setattr(cores.time, "monotonic", lambda: made["now"])
    monkeypatch.setattr(cores.time, "sleep", sleep)
    cores.set_threads(None)
    return made


def work(machine: dict[str, float], seconds: float) -> None:
    """Lets time pass."""
    machine["now"] += seconds
    machine["busy"] += seconds * machine["others"]


def every_pool() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info()} | {torch.get_num_threads()}


def test_shared_work_has_the_threads_that_fit(machine: dict[str, float]) -> None:
    with cores.shared():
        assert every_pool() == {4}
        machine["others"] = 1.0
        work(machine, 1)
        cores.glance()  # too soon to look again
        assert cores.threads() == 4
        assert cores.look() == 3
        assert every_pool() == {3}
        machine["others"] = 2.0
        work(machine, 6)
        cores.glance()
        assert cores.threads() == 2
        machine["others"] = 0.0
        work(machine, 1)
        assert cores.look() == cores.most() == 4
        machine["others"] = 3.0
        work(machine, 1)
        assert cores.look() == 1
        assert cores.said() == "1 thread of 4, as other processes are at work"
        assert cores.cores() == 4  # decoders wait for nobody
    assert torch.get_num_threads() == 4


def test_what_the_caller_told_torch_is_the_most(machine: dict[str, float]) -> None:
    torch.set_num_threads(2)
    with cores.shared():
        assert (cores.threads(), cores.most()) == (2, 2)
        machine["others"] = 3.0
        work(machine, 1)
        with cores.shared():
            assert (cores.threads(), cores.most()) == (1, 2)
        machine["others"] = 0.0
        work(machine, 1)
        assert cores.look() == 2
    assert torch.get_num_threads() == 2


def test_outside_shared_work_nothing_is_changed(machine: dict[str, float]) -> None:
    machine["others"] = 4.0
    assert cores.look() == 4


def test_a_stage_after_a_long_one_looks_at_what_is(machine: dict[str, float]) -> None:
    with cores.shared():
        machine["others"] = 3.0
        work(machine, 100)  # all the time that the last stage took
        machine["others"] = 0.0
        assert cores.look() == 4


def test_short_stages_wait_for_no_look(machine: dict[str, float]) -> None:
    with cores.shared():
        waited = machine["slept"]
        machine["others"] = 3.0
        for threads in (4, 1, 1):
            work(machine, 0.06)
            assert cores.look() == threads  # by what was seen in a tenth of a second or more
        assert machine["slept"] == waited


def test_a_number_that_is_held_stays(machine: dict[str, float]) -> None:
    machine["others"] = 4.0
    vicinal.set_threads(3)
    with cores.shared():
        torch.set_num_threads(1)  # as Lightning does when it starts ranks
        assert cores.look() == 3
        assert every_pool() == {3}
        assert (cores.most(), cores.cores(), cores.said()) == (3, 3, "3 threads as asked")
        assert cores.take(2) == 3
    vicinal.set_threads(2)
    vicinal.set_threads(None)
    assert (cores.held(), cores.threads()) == (None, 4)
    with pytest.raises(InputError, match="at least 1"):
        vicinal.set_threads(0)


def test_one_of_several_ranks_takes_no_other_for_a_stranger(
    machine: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine["others"] = 3.0
    monkeypatch.setenv("WORLD_SIZE", "2")
    with cores.shared():
        work(machine, 1)
        assert cores.look() == 4


def test_small_work_has_one_thread_for_a_while() -> None:
    with cores.at_most(1):
        assert cores.threads() == 1
    with cores.one_blas_thread():
        pools = threadpool_info()
        assert {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"} == {1}
        assert cores.threads() == 4
    faiss.omp_set_num_threads(4)
    with cores.faiss_threads(faiss, 1):
        assert faiss.omp_get_max_threads() == 1
    assert faiss.omp_get_max_threads() == 4


def test_a_long_search_looks_again(
    machine: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.random.default_rng(0).random((50, 3), np.float32)
    found = []
    monkeypatch.setattr(cores, "glance", lambda: found.append("search"))
    nearest(array, array, 3)
    assert found


@pytest.mark.parametrize("command", sorted(COMPUTING))
def test_the_option_is_every_computing_commands(command: str) -> None:
    commands = {one.__name__: one for panel in PANELS.values() for one in panel}
    assert "threads" in inspect.signature(commands[command]).parameters


def test_other_commands_have_no_threads() -> None:
    commands = [one for panel in PANELS.values() for one in panel]
    having = {c.__name__ for c in commands if "threads" in inspect.signature(c).parameters}
    assert having == COMPUTING


def test_the_option_reaches_what_computes(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from vicinal.evaluations import groups

    array = np.random.default_rng(0).random((40, 3), np.float32)
    file = tmp_path / "some.parquet"
    Representations(array, np.arange(40).astype(np.str_)).save(file)
    had = []
    grow_tree = groups.grow_tree

    def spied(*given: Any, **settings: Any) -> Any:
        had.append(every_pool())
        return grow_tree(*given, **settings)

    monkeypatch.setattr(groups, "grow_tree", spied)
    words = ["cluster", str(file), "--clusters", "2", "--json", "--threads"]
    assert CliRunner().invoke(app, [*words, "3"]).exit_code == 0
    assert had == [{3}]
    assert CliRunner().invoke(app, [*words, "0"]).exit_code == 2
    assert had == [{3}]


def test_a_command_without_the_option_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cores.set_threads(2)
    missing = CliRunner().invoke(app, ["cluster", os.devnull])
    assert missing.exit_code != 0
    assert cores.held() is None
