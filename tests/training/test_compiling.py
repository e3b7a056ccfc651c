"""Compiled or not, the same training; and where compiling fails, one line and no failure."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vicinal.images import load
from vicinal.recipes import override, read_recipe
from vicinal.recipes.recipe import Training
from vicinal.training.compiling import compile_networks, compiled
from vicinal.training.device import open_engine
from vicinal.training.loop import ArrayBatches, pretrain
from vicinal.views import Augment, GeneratedNeighbours, channel_statistics


class Compiler:
    """Stands in for torch.compile: counts what it compiles, and may fail on the first call."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.compiled, self.calls = error, 0, 0

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self.compiled += 1

        def call(*args: Any) -> Any:
            self.calls += 1
            if self.error is not None:
                raise self.error
            return function(*args)

        return call


def double(x: Tensor) -> Tensor:
    return 2 * x


@pytest.mark.parametrize(
    ("asked", "device", "expected"),
    [("auto", "cpu", 0), ("off", "cpu", 0), ("on", "cpu", 1), ("auto", "cuda", 1)],
)
def test_auto_compiles_on_cuda_only(
    asked: Any, device: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = Compiler()
    monkeypatch.setattr(torch, "compile", compiler)
    model = torch.nn.Linear(2, 2)
    names = list(model.state_dict())
    training = Training(compile=asked)
    compile_networks(model, training, torch.device(device), pytest.fail)
    model(torch.ones(1, 2))
    model(torch.ones(1, 2))
    assert compiler.compiled == expected
    assert compiler.calls == 2 * expected
    assert list(model.state_dict()) == names


def test_a_failing_compiler_costs_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler(RuntimeError("no C++ compiler\nand a long trace"))
    monkeypatch.setattr(torch, "compile", compiler)
    said: list[str] = []
    twice = compiled(double, "networks", said.append)
    for _ in range(3):
        assert torch.equal(twice(torch.ones(2)), torch.full((2,), 2.0))
    assert compiler.calls == 1
    assert said == [
        "torch.compile of the networks failed (no C++ compiler): training goes on without it"
    ]


def test_without_gradients_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler()
    monkeypatch.setattr(torch, "compile", compiler)
    twice = compiled(double, "networks", pytest.fail)
    with torch.no_grad():
        twice(torch.ones(2))
    assert compiler.compiled == 0


@pytest.mark.slow
def test_a_compiled_training_is_the_same_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Compiled here, rather than by processes that import torch first.
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    splits = load("digits", size=8)
    totals = []
    for asked in ("off", "on"):
        changes = ("encoder.widths=[8]", "encoder.dimension=8", "projector.widths=[16, 16]")
        recipe = override(
            read_recipe("digits"),
            [*changes, "training.batch_size=32", f"training.compile={asked}"],
        )
        pairs = GeneratedNeighbours(Augment(recipe.views, *channel_statistics(splits.train.pixels)))
        train = ArrayBatches(splits.train.pixels[:128], pairs)
        run = tmp_path / asked
        run.mkdir()
        engine = open_engine("cpu", "float32")
        pretrain(train, ArrayBatches(train.pixels[:1], pairs), recipe, run, engine.fabric, epochs=2)
        with (run / "losses.csv").open(newline="") as file:
            totals.append([float(row["total"]) for row in csv.DictReader(file)])
    assert totals[1] == pytest.approx(totals[0], rel=1e-4)
