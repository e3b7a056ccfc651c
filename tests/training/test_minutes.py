"""Trainings that have minutes, by a clock that goes on by a second whenever it is looked at."""

import csv
import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from vicinal.encoder.patches import WithPatches
from vicinal.estimators.vicreg import VICReg
from vicinal.images import load
from vicinal.recipes import override, read_recipe
from vicinal.recipes.recipe import Recipe
from vicinal.training import loop, train_encoder
from vicinal.training.budget import KEEP, Budget, read_looks
from vicinal.training.device import open_engine
from vicinal.training.loop import ArrayBatches, pretrain
from vicinal.views import Augment, GeneratedNeighbours, channel_statistics

MINUTES, STEPS, EPOCHS = 4.0, 50, 100
TINY = (
    *("encoder.widths=[8]", "encoder.dimension=8", "projector.widths=[16, 16]"),
    *("training.batch_size=4", "training.precision=float32", "training.test_images=8"),
)


class Ticking:
    """A second later whenever it is looked at."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return override(read_recipe("digits"), TINY)


@pytest.fixture(scope="module")
def material(recipe: Recipe) -> ArrayBatches:
    pixels = load("digits", size=8).train.pixels[: 4 * STEPS]
    return ArrayBatches(
        pixels, GeneratedNeighbours(Augment(recipe.views, *channel_statistics(pixels)))
    )


def trained(material: ArrayBatches, recipe: Recipe, run: Path) -> torch.nn.Module:
    run.mkdir(exist_ok=True)
    fabric = open_engine("cpu", "float32").fabric
    return pretrain(material, material, recipe, run, fabric, epochs=EPOCHS, minutes=MINUTES)


def train_rows(run: Path) -> list[dict[str, str]]:
    with (run / "losses.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == "train"]


def test_a_training_ends_within_an_epoch_when_its_time_does(
    material: ArrayBatches, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = []
    monkeypatch.setattr(loop, "Budget", partial(Budget, clock=(clock := Ticking())))
    set_rate = loop.set_rate

    def noted(optimizer: torch.optim.Optimizer, rate: float) -> None:
        rates.append(rate)
        set_rate(optimizer, rate)

    monkeypatch.setattr(loop, "set_rate", noted)
    trained(material, recipe, tmp_path / "run")
    assert clock.now == pytest.approx(60 * MINUTES, rel=0.1)
    record = json.loads((tmp_path / "run" / "minutes.json").read_text())
    assert record["steps"] == len(rates) < STEPS * EPOCHS
    assert record["steps"] % STEPS
    rows = train_rows(tmp_path / "run")
    assert len(rows) == -(-len(rates) // STEPS)
    assert all(0 < float(row["total"]) < 100 for row in rows)
    assert max(rates) == pytest.approx(recipe.training.learning_rate, rel=0.05)
    assert rates[-1] < 0.02 * max(rates)


def test_one_that_is_repeated_takes_the_same_steps_on_another_clock(
    material: ArrayBatches, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ArrayBatches(material.pixels[:40], material.pairs)
    fabric = open_engine("cpu", "float32").fabric
    found = []
    for name, looks in (("one", None), ("again", tmp_path / "one" / "minutes.json")):
        (tmp_path / name).mkdir()
        clock = Ticking() if looks is None else lambda: 0.0
        monkeypatch.setattr(loop, "Budget", partial(Budget, clock=clock))
        encoder = pretrain(
            few,
            few,
            recipe,
            tmp_path / name,
            fabric,
            epochs=EPOCHS,
            minutes=2.0,
            looks=None if looks is None else read_looks(looks),
        )
        found.append(encoder.state_dict())
    assert 0 < len(train_rows(tmp_path / "one")) < EPOCHS
    for name, weight in found[0].items():
        assert torch.equal(weight, found[1][name]), name


def test_an_interrupted_one_has_the_rest_of_its_minutes(
    material: ArrayBatches, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCutError(Exception):
        pass

    run, saved = tmp_path / "run", []
    save = loop.Checkpoint.save

    def cut(self: loop.Checkpoint, epoch: int, *rest: object) -> None:
        save(self, epoch, *rest)  # type: ignore[arg-type]
        assert self.budget is not None
        saved.append((self.budget.used(), len(rest) > 1))
        if len(saved) == 4:
            raise PowerCutError

    monkeypatch.setattr(loop, "Budget", partial(Budget, clock=Ticking()))
    with monkeypatch.context() as patch:
        patch.setattr(loop.Checkpoint, "save", cut)
        with pytest.raises(PowerCutError):
            trained(material, recipe, run)
    assert any(within for _, within in saved)  # an epoch lasts longer than this
    assert all(b - a < 2 * KEEP for (a, _), (b, _) in pairwise(saved))
    monkeypatch.setattr(loop, "Budget", partial(Budget, clock=(clock := Ticking())))
    trained(material, recipe, run)
    assert saved[-1][0] + clock.now == pytest.approx(60 * MINUTES, rel=0.1)
    record = json.loads((run / "minutes.json").read_text())
    steps = [step for step, _, _ in record["looks"]]
    assert steps == sorted(steps)  # those of both sittings
    assert record["looks"][-1][2] == record["most_steps"]

    before = (run / "losses.csv").read_text()
    monkeypatch.setattr(loop, "Budget", partial(Budget, clock=(clock := Ticking())))
    trained(material, recipe, run)  # has no time left
    assert clock.now < 10
    assert (run / "losses.csv").read_text() == before


def test_the_estimator_takes_minutes(
    material: ArrayBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "Budget", partial(Budget, clock=Ticking()))
    model = VICReg(recipe="digits", settings=TINY, minutes=1.0, random_state=0)
    model.fit(material.pixels)
    assert 0 < len(model.losses_) < 10
    assert model.transform(material.pixels[:3]).shape == (3, 8)


def test_patches_beside_the_network_are_part_of_the_minutes(
    material: ArrayBatches, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a batch of pictures takes seconds beside the network, they are held back."""
    clock = Ticking()
    monkeypatch.setattr(loop, "Budget", partial(Budget, clock=clock))
    blocks, fit, axes = WithPatches.blocks, train_encoder.fit_patches, train_encoder._axes

    def slow(work: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def done(*given: Any) -> Any:
            clock.now += seconds
            return work(*given)

        return done

    monkeypatch.setattr(WithPatches, "blocks", slow(blocks, 8))
    monkeypatch.setattr(train_encoder, "fit_patches", slow(fit, 5))
    monkeypatch.setattr(train_encoder, "_axes", slow(axes, 8))
    beside = override(recipe, ["encoder.patches=4"])
    data = train_encoder.data_of_arrays(beside, material.pixels)
    engine = open_engine("cpu", "float32")
    encoder = train_encoder.train_encoder(data, beside, tmp_path, engine, minutes=MINUTES)
    assert isinstance(encoder, WithPatches)
    spent = json.loads((tmp_path / "minutes.json").read_text())["seconds"]
    assert spent < 60 * MINUTES - 4 * 8  # its four batches alone
    assert clock.now == pytest.approx(60 * MINUTES, rel=0.1)
