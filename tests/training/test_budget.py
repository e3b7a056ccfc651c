"""Minutes are minutes: on a clock that the test moves, whatever the machine does meanwhile."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from vicinal.errors import InputError
from vicinal.recipes.recipe import Training
from vicinal.training.budget import Budget, check_minutes, most_epochs
from vicinal.training.optimizers import learning_rate

TRAINING = Training(learning_rate=1.0, schedule="cosine", epochs=40, warmup_epochs=2.0)


class Machine:
    """A clock, and a training that takes its steps as fast as the machine is at the time."""

    def __init__(self, speed: Callable[[float], float], *, each: float, after: float = 0.0) -> None:
        self.now, self.speed, self.each, self.after = 1000.0, speed, each, after
        self.began = self.now
        self.rates: list[float] = []
        self.expected: list[tuple[float, float]] = []

    def clock(self) -> float:
        return self.now

    def works(self, seconds: float) -> None:
        """Time goes by, more of it while the machine is slow."""
        for _ in range(pieces := math.ceil(seconds / 0.5)):
            self.now += seconds / pieces / self.speed(self.now - self.began)

    def train(self, budget: Budget, epochs: int, steps: int, *, begin: int = 0) -> int:
        """Takes the steps of the loop, and returns how many."""
        taken = begin * steps
        per_epoch = budget.steps / TRAINING.epochs
        for epoch in budget.within(range(begin, epochs)):
            for step in range(epoch * steps, (epoch + 1) * steps):
                place = budget.place(step)
                self.rates.append(learning_rate(place, budget.steps, per_epoch, TRAINING))
                self.works(self.each)
                taken = step + 1
                over = budget.over(taken)
                self.expected.append((self.now, budget.left()))
                if over:
                    break
            with budget.closing():
                self.works(self.after)
        return taken

    def check_expected(self) -> None:
        """From the first tenth on, the time left was right within a fifth, or 5 % of all."""
        whole = self.now - self.began
        for now, left in self.expected:
            if now > self.began + whole / 10:
                assert left == pytest.approx(self.now - now, rel=0.2, abs=0.05 * whole)


def steady(_: float) -> float:
    return 1.0


def slows_down(seconds: float) -> float:
    return 1.0 if seconds < 240 else 0.1


def comes_and_goes(seconds: float) -> float:
    return 0.1 if seconds % 90 < 45 else 1.0


def speeds_up(seconds: float) -> float:
    return 0.1 if seconds < 240 else 1.0


@pytest.mark.parametrize("speed", [steady, slows_down, comes_and_goes, speeds_up])
@pytest.mark.parametrize(
    ("steps", "each", "after"),
    [(39, 0.5, 0.0), (400, 0.2, 8.0), (1, 0.05, 0.02), (3000, 1.5, 4.0)],
    ids=["photos", "test curve", "few images", "no epoch ends"],
)
def test_minutes_are_held_and_the_rate_ends_at_zero(
    speed: Callable[[float], float], steps: int, each: float, after: float
) -> None:
    machine = Machine(speed, each=each, after=after)
    budget = Budget(100_000 // steps, steps, minutes=8, closing=after / each, clock=machine.clock)
    taken = machine.train(budget, 100_000 // steps, steps)
    assert machine.now - machine.began == pytest.approx(480, rel=0.1)
    assert taken < budget.steps
    top = machine.rates.index(max(machine.rates))
    assert machine.rates[: top + 1] == sorted(machine.rates[: top + 1])
    assert machine.rates[top:] == sorted(machine.rates[top:], reverse=True)
    assert max(machine.rates) > 0.98
    assert machine.rates[-1] < 0.01
    machine.check_expected()


def halves(seconds: float) -> float:
    return 1.0 if seconds < 120 else 0.5


def doubles(seconds: float) -> float:
    return 0.5 if seconds < 120 else 1.0


@pytest.mark.parametrize("speed", [steady, halves, doubles])
def test_what_comes_after_the_training_is_part_of_the_minutes(
    speed: Callable[[float], float],
) -> None:
    machine = Machine(speed, each=0.2)

    def estimated(clock: Callable[[], float]) -> float:
        began = clock()
        machine.works(0.6)
        return 100 * (clock() - began)

    budget = Budget(10_000, 50, minutes=8, clock=machine.clock)
    budget.hold_back(estimated)
    machine.train(budget, 10_000, 50)
    machine.works(60)
    assert machine.now - machine.began == pytest.approx(480, rel=0.1)
    assert machine.rates[-1] < 0.01


def test_steps_that_are_worth_it_end_before_the_minutes_do(tmp_path: Path) -> None:
    machine = Machine(comes_and_goes, each=0.1)
    budget = Budget(20, 10, minutes=8, clock=machine.clock)
    assert machine.train(budget, 20, 10) == 200
    assert machine.now - machine.began < 240
    assert machine.rates[-1] < 0.01
    said: list[str] = []
    budget.end(tmp_path / "minutes.json", said.append)
    assert said[0].endswith(
        "of 8 minutes: 200 steps, 20.0 passes over the images; "
        "the recipe takes no more for so few pictures"
    )
    record = json.loads((tmp_path / "minutes.json").read_text())
    assert (record["steps"], record["epochs"], record["minutes"]) == (200, 20.0, 8)
    assert record["looks"][-1][0] == 200


@pytest.mark.parametrize("kept", [3, 11])
def test_a_resumed_training_has_the_minutes_that_are_left(kept: int) -> None:
    steps = 40
    first = Machine(comes_and_goes, each=0.5, after=1.0)
    whole = Budget(1000, steps, minutes=8, clock=first.clock)
    first.train(whole, kept, steps)  # killed there
    state = json.loads(json.dumps(whole.state_dict()))
    used = first.now - first.began
    assert state["seconds"] == pytest.approx(used)

    second = Machine(slows_down, each=0.5, after=1.0)
    rest = Budget(1000, steps, minutes=8, clock=second.clock)
    rest.load_state_dict(state)
    second.train(rest, 1000, steps, begin=kept)
    assert used + second.now - second.began == pytest.approx(480, rel=0.1)
    assert second.rates[0] <= first.rates[-1]
    assert second.rates == sorted(second.rates, reverse=True)
    assert second.rates[-1] < 0.01

    third = Machine(steady, each=0.5)
    over = Budget(1000, steps, minutes=8, clock=third.clock)
    over.load_state_dict(rest.state_dict())
    assert list(over.within(range(5, 10))) == []


def test_time_that_was_used_stays_used_when_a_training_goes_back() -> None:
    machine = Machine(steady, each=1.0)
    budget = Budget(1000, 10, minutes=8, clock=machine.clock)
    machine.train(budget, 2, 10)
    state = budget.state_dict()
    machine.now += 60
    budget.load_state_dict(state)
    assert budget.used() == pytest.approx(80)


def test_without_minutes_the_place_is_the_step_and_the_clock_decides_nothing() -> None:
    machine = Machine(slows_down, each=3.0, after=2.0)
    budget = Budget(40, 10, clock=machine.clock)
    assert [budget.place(step) for step in (0, 7, 399)] == [0.0, 7.0, 399.0]
    budget = Budget(40, 10, clock=machine.clock)
    assert machine.train(budget, 40, 10) == 400
    assert machine.rates == [learning_rate(step, 400, 10, TRAINING) for step in range(400)]


@pytest.mark.parametrize(("steps", "each", "after"), [(10, 1.0, 4.0), (400, 0.5, 30.0)])
def test_the_time_left_of_epochs_counts_what_comes_after_each(
    steps: int, each: float, after: float
) -> None:
    machine = Machine(steady, each=each, after=after)
    budget = Budget(8, steps, closing=after / each, clock=machine.clock)
    assert math.isnan(budget.left())
    machine.train(budget, 8, steps)
    machine.check_expected()


def test_a_small_set_is_passed_over_until_as_many_steps_are_taken() -> None:
    training = Training(epochs=20, batch_size=128)
    assert most_epochs(training, 50_000, 8) == 20
    assert most_epochs(training, 200, 8) == 20 * 39  # of one step each, as 39 of 5,000 images
    assert most_epochs(training, 60, 8) == 20 * 83


def test_epochs_that_a_user_sets_are_these() -> None:
    training = Training(epochs=20, batch_size=128)
    assert most_epochs(training, 60, None) == 20
    assert most_epochs(training, 60, 8, ["training.epochs=20"]) == 20
    assert most_epochs(training, 60, 8, ["training.batch_size=128"]) > 20


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.nan, math.inf])
def test_minutes_that_are_none_are_refused(minutes: float) -> None:
    with pytest.raises(InputError, match=r"minutes=.*: give the training some time"):
        check_minutes(minutes)
