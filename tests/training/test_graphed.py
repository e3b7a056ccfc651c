"""A replayed step is the same training; a stand-in records on a CPU what CUDA records on a GPU."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vicinal.images import load
from vicinal.objectives import Terms
from vicinal.recipes import override, read_recipe
from vicinal.recipes.recipe import Objective, Recipe, Training
from vicinal.training import step as step_module
from vicinal.training.checkpoint import Checkpoint
from vicinal.training.compiling import WARM_UP, Step, graphed, replayed
from vicinal.training.device import open_engine
from vicinal.training.loop import ArrayBatches, pretrain
from vicinal.training.optimizers import Lars, build_optimizer, set_rate
from vicinal.views import Augment, GeneratedNeighbours, channel_statistics


class Recorder:
    """Records a step without taking it, and takes it at every replay, as a CUDA graph does."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.recorded, self.aside, self.replays = error, 0, 0, 0
        self.said: list[str] = []

    def __call__(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        self.recorded += 1
        if self.error is not None:
            raise self.error
        terms = torch.empty(0)

        def replay() -> None:
            self.replays += 1
            terms.set_(work())  # type: ignore[call-overload]

        return replay, terms

    def step(self, step: Step) -> Step:
        """The step as this records it."""
        return replayed(step, self._aside, self, self.said.append)

    def _aside(self, work: Callable[[], Tensor]) -> Tensor:
        self.aside += 1
        return work()


def added(view_a: Tensor, view_b: Tensor) -> Tensor:
    return (view_a + view_b).sum() * torch.ones(4)


@pytest.mark.parametrize("error", [None, RuntimeError("not permitted\nand a long trace")])
def test_a_step_is_warmed_up_recorded_once_and_replayed(error: Exception | None) -> None:
    recorder = Recorder(error)
    step = recorder.step(added)
    for number in range(WARM_UP + 4):
        view = torch.full((2, 3, 4, 4), float(number)).to(memory_format=torch.channels_last)
        assert torch.equal(step(view, view), added(view, view)), number
    assert (recorder.aside, recorder.recorded) == (WARM_UP, 1)
    assert recorder.replays == (4 if error is None else 0)
    assert recorder.said == (
        []
        if error is None
        else ["no CUDA graph of a step (not permitted): training goes on without it"]
    )


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    changes = ("encoder.widths=[8]", "encoder.dimension=8", "projector.widths=[16, 16]")
    return override(read_recipe("digits"), [*changes, "training.batch_size=32"])


def totals(recipe: Recipe, run: Path) -> list[float]:
    """The mean loss of two epochs of six steps each, on train and test views."""
    run.mkdir()
    pixels = load("digits", size=8).train.pixels
    pairs = GeneratedNeighbours(Augment(recipe.views, *channel_statistics(pixels)))
    train, test = ArrayBatches(pixels[:192], pairs), ArrayBatches(pixels[:32], pairs)
    pretrain(train, test, recipe, run, open_engine("cpu", "float32").fabric, epochs=2, quiet=True)
    with (run / "losses.csv").open(newline="") as file:
        return [float(row["total"]) for row in csv.DictReader(file)]


def test_a_replayed_training_is_the_same_training(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = totals(recipe, tmp_path / "plain")
    recorder = Recorder()
    monkeypatch.setattr(step_module, "graphed", lambda step, *_: recorder.step(step))
    assert totals(recipe, tmp_path / "replayed") == plain
    assert recorder.replays == 2 * 6 - WARM_UP


def test_slices_are_given_to_a_replayed_step(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sliced = recipe.model_copy(update={"objective": Objective(name="sigreg")})
    plain = totals(sliced, tmp_path / "plain")
    recorder = Recorder()
    monkeypatch.setattr(step_module, "graphed", lambda step, *_: recorder.step(step))
    assert totals(sliced, tmp_path / "replayed") == plain
    assert recorder.replays == 2 * 6 - WARM_UP


def test_a_training_that_was_taken_back_records_its_step_again(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, whole, calls = Recorder(), step_module.objective, [0]
    monkeypatch.setattr(step_module, "graphed", lambda step, *_: recorder.step(step))

    def broken(z_a: Tensor, z_b: Tensor, settings: object, rows: int | None) -> Terms:
        calls[0] += z_a.requires_grad
        scale = float("nan") if calls[0] == WARM_UP + 2 else 1.0
        return whole(z_a * scale, z_b, settings, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(step_module, "objective", broken)
    assert len(totals(recipe, tmp_path / "run")) == 4
    assert recorder.recorded == 2


@pytest.mark.parametrize(("device", "asked"), [("cpu", "auto"), ("cpu", "on"), ("cuda", "off")])
def test_only_a_compiled_training_on_cuda_is_replayed(device: str, asked: str) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    training = Training.model_validate({"compile": asked})
    step = graphed(added, optimizer, training, torch.device(device), pytest.fail)
    assert step is added
    set_rate(optimizer, 0.5)
    assert optimizer.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("optimizer", ["adam", "lars"])
def test_a_learning_rate_on_the_device_is_read_there(optimizer: str) -> None:
    moved = []
    for rate in (0.1, torch.tensor(0.1)):
        weights = [nn.Parameter(torch.arange(1.0, 7).reshape(2, 3)), nn.Parameter(torch.ones(3))]
        training = Training.model_validate({"optimizer": optimizer})
        built = build_optimizer(weights, training)
        assert isinstance(built, Lars) == (optimizer == "lars")
        built.param_groups[0]["lr"] = rate
        for value in (0.2, 0.05):
            set_rate(built, value)
            for weight in weights:
                weight.grad = torch.linspace(-1, 1, weight.numel()).reshape(weight.shape)
            built.step()
        assert isinstance(built.param_groups[0]["lr"], type(rate))
        moved.append([weight.detach() for weight in weights])
    for one, other in zip(*moved, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_a_checkpoint_keeps_the_state_and_not_the_settings_of_its_device(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    there = build_optimizer(model.parameters(), Training())
    model(torch.ones(1, 2)).sum().backward()
    there.step()
    there.param_groups[0].update(lr=torch.tensor(0.5), capturable=True)  # as on a GPU
    Checkpoint(tmp_path / "checkpoint.pt", model, there).save(1)
    here = build_optimizer(model.parameters(), Training())
    assert Checkpoint(tmp_path / "checkpoint.pt", model, here).restore() == 1
    group = here.param_groups[0]
    assert (group["lr"], group["capturable"]) == (Training().learning_rate, False)
    assert all(
        torch.equal(here.state[p]["exp_avg"], there.state[p]["exp_avg"]) for p in model.parameters()
    )
    here.step()
