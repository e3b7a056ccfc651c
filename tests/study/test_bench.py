"""What `vicinal bench` measures, and what it does not measure twice."""

from __future__ import annotations

import pytest

from vicinal.recipes.recipe import Recipe, Training
from vicinal.study import speed
from vicinal.study.speed import Speed, measure_recipes
from vicinal.training.device import open_engine


class Machine:
    """A run whose images take a fixed time each, after a start of some seconds."""

    def __init__(self, rate: float, start: float) -> None:
        self.rate, self.start = rate, start
        self.tried: list[int] = []

    def __call__(self, images: int) -> float:
        seconds = images / self.rate + (0.0 if self.tried else self.start)
        self.tried.append(images)
        return images / seconds


@pytest.mark.parametrize("rate", [100.0, 30_000.0])
def test_a_start_is_not_counted(rate: float) -> None:
    machine = Machine(rate, start=5.0)
    assert speed._rate(machine, 2.5) == pytest.approx(rate)
    assert machine.tried[-1] / rate >= 1.25  # long enough to say something


def test_a_large_encoder_takes_one_step_of_enough_images() -> None:
    machine = Machine(rate=15.0, start=0.0)
    assert speed._rate(machine, 2.5) == pytest.approx(15.0)
    assert machine.tried == [speed.FIRST_IMAGES, speed.LEAST_IMAGES]


def test_an_epoch_is_of_whole_batches_of_the_recipes_size(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, int, int]] = []

    def epoch(recipe: Recipe, engine: object, channels: int, images: int, epochs: int) -> float:
        taken.append((recipe.training.batch_size, images, epochs))
        return 660.0

    monkeypatch.setattr(speed, "_epoch_rate", epoch)
    recipe = Recipe(training=Training(batch_size=256))
    engine = open_engine("cpu", "float32")
    assert speed.measure_training(recipe, engine, channels=3, seconds=2.5) == 660.0
    assert taken == [(8, 8, 1), (256, 768, 2)]


def test_recipes_of_the_same_work_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def measure(recipe: Recipe, engine: object, *, channels: int, seconds: float) -> Speed:
        seen.append(recipe.name)
        return Speed(recipe.name, 100.0 * len(seen), 1000.0, recipe.training.epochs)

    monkeypatch.setattr(speed, "measure_speed", measure)
    long = Recipe(name="long", training=Training(epochs=100, precision="float32"))
    short = Recipe(name="short", training=Training(epochs=10, precision="float32"))
    other = Recipe(name="other", training=Training(optimizer="lars", precision="float32"))
    speeds = measure_recipes([long, short, other], "cpu").speeds
    assert seen == ["long", "other"]
    assert [(s.recipe, s.training, s.epochs) for s in speeds] == [
        ("long", 100.0, 100),
        ("short", 100.0, 10),
        ("other", 200.0, 30),
    ]
