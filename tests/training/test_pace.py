"""Threads of a training: on made-up machines with a made-up clock, and in a real training."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from vicinal import cores, distributed
from vicinal.files import read_rows
from vicinal.training import pace
from vicinal.training.pace import Pace, Threads

Neighbour = Callable[[float], float]
"""From the time to how many of two cores another process keeps busy."""


class Machine:
    """Two cores, as measured: a step takes 1 on two threads, 1.7 on one, and 12 beside another."""

    def __init__(self, neighbour: Neighbour, quick: float = 0.2) -> None:
        self.neighbour, self.quick = neighbour, quick
        self.time = self.seen = 0.0
        self.pace = Pace(2, 2, 2, self.taken, lambda: self.time)
        self.steps: list[tuple[float, int]] = []

    def taken(self) -> float:
        """What others took since it was last asked, in steps of the clock."""
        before, self.seen = self.seen, self.time
        moments = [before + (self.time - before) * i / 50 for i in range(50)]
        return sum(map(self.neighbour, moments)) / 50

    def step(self, threads: int) -> None:
        busy = self.neighbour(self.time)
        slow = 1.7 if threads == 1 else 1 + 11 * busy
        self.time += self.quick * slow
        self.steps.append((self.time, threads))

    def run(self, seconds: float) -> list[int]:
        """How many threads each step of the next seconds had."""
        end, first = self.time + seconds, len(self.steps)
        threads = self.pace.now
        while self.time < end:
            self.step(threads)
            threads = self.pace.after_step()
        return [threads for _, threads in self.steps[first:]]


def test_a_quiet_machine_keeps_all_its_threads() -> None:
    assert set(Machine(lambda _: 0.0).run(600)) == {2}


def test_what_takes_a_moment_now_and_then_changes_nothing() -> None:
    assert set(Machine(lambda now: float(now % 30 < 0.7)).run(600)) == {2}


@pytest.mark.parametrize("quick", [0.005, 0.2, 2.0])
def test_a_neighbour_comes_and_goes(quick: float) -> None:
    machine = Machine(lambda now: float(100 <= now < 200), quick)
    assert set(machine.run(100)) == {2}
    came = machine.run(100)
    assert came.count(2) <= max(3, round(4 / (12 * quick)))  # for the seconds of two looks
    assert set(came[-len(came) // 2 :]) == {1}
    machine.run(max(10.0, 10 * quick))
    assert set(machine.run(90)) == {2}


def test_a_neighbour_that_comes_and_goes_costs_little() -> None:
    machine = Machine(lambda now: float(now % 20 < 10))
    one_thread = 1000 / (0.2 * 1.7)  # steps, all the time; two threads would take a fourth
    assert len(machine.run(1000)) > 0.9 * one_thread


def test_fewer_threads_that_are_slower_are_given_up_and_seldom_tried() -> None:
    machine = Machine(lambda _: 0.0)
    machine.pace._taken = lambda: 1.0  # processes that give way whenever we compute
    threads = machine.run(600)
    assert 2 < threads.count(1) <= 60
    assert threads.count(1) < 0.02 * len(threads)


def test_a_test_between_two_epochs_is_no_slow_step() -> None:
    machine = Machine(lambda now: float(now > 10))
    machine.run(30)
    assert machine.pace.now == 1
    machine.neighbour = lambda _: 0.0
    for _ in range(4):
        machine.run(5)
        machine.time += 60
        machine.pace.pause()
    assert machine.pace.now == 2


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def _two(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cores, "most", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def scripted(monkeypatch: pytest.MonkeyPatch, numbers: dict[int, int]) -> None:
    """A pace that changes the number of threads after so many steps, whatever the machine does."""

    class Scripted(Pace):
        taken = 0

        def after_step(self) -> int:
            Scripted.taken += 1
            self.now = numbers.get(Scripted.taken, self.now)
            return self.now

    monkeypatch.setattr(pace, "Pace", Scripted)


def seen(threads: Threads, epoch: int, steps: int, first: int = 0) -> list[int]:
    """How many threads torch has at each step."""
    return [torch.get_num_threads() for _ in threads.between(range(first, steps), epoch, first)]


def test_changes_are_said_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    scripted(monkeypatch, {3: 1, 6: 2})
    threads = Threads(tmp_path / "threads.csv", torch.device("cpu"), "train", told.append)
    assert seen(threads, 0, 4) == [2, 2, 2, 1]
    assert seen(threads, 1, 4) == [1, 1, 2, 2]
    rows = [tuple(map(int, row.values())) for row in read_rows(tmp_path / "threads.csv")]
    assert rows == [(1, 1, 2), (1, 4, 1), (2, 3, 2)]
    assert [line.split(", no longer")[0] for line in told] == [
        "train epoch 1, step 4: 1 thread",
        "train epoch 2, step 3: 2 threads",
    ]
    assert "set_threads" in told[0]


def test_a_resumed_training_takes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    path = tmp_path / "threads.csv"
    path.write_text("epoch,step,threads\n1,1,2\n1,4,1\n2,3,2\n")
    before = path.read_text()
    scripted(monkeypatch, {3: 1})  # counted from where nothing is on record any more
    threads = Threads(path, torch.device("cpu"), "train", told.append)
    assert seen(threads, 0, 4, first=2) == [2, 1]
    assert seen(threads, 1, 4) == [1, 1, 2, 2]
    assert (path.read_text(), told) == (before, [])
    assert seen(threads, 2, 3) == [2, 1, 1]
    assert path.read_text() == before + "3,2,1\n"


def test_a_number_that_is_held_is_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    scripted(monkeypatch, {1: 1})
    monkeypatch.setattr(cores, "held", lambda: 2)
    threads = Threads(tmp_path / "threads.csv", torch.device("cpu"), "train", told.append)
    assert seen(threads, 0, 4) == [2, 2, 2, 2]
    assert (tmp_path / "threads.csv").read_text() == "epoch,step,threads\n1,1,2\n"


@pytest.mark.parametrize(("rank", "said"), [(0, "epoch,step,threads\n1,1,2\n"), (1, None)])
def test_of_ranks_the_first_writes_down_their_threads(
    rank: int, said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    scripted(monkeypatch, {1: 1})
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "is_first", lambda: rank == 0)
    path = tmp_path / "threads.csv"
    threads = Threads(path, torch.device("cpu"), "train", told.append)
    assert seen(threads, 0, 4) == [2, 2, 2, 2]
    assert seen(threads, 1, 4) == [2, 2, 2, 2]
    assert (path.read_text() if path.exists() else None) == said
    assert told == []


def test_a_gpu_is_left_alone(tmp_path: Path, told: list[str]) -> None:
    threads = Threads(tmp_path / "threads.csv", torch.device("meta"), "train", told.append)
    assert seen(threads, 0, 2) == [2, 2]
    assert not list(tmp_path.iterdir())
