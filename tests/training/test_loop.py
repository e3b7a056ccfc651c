"""Training: the epoch is state enough, terms are logged, and labels cannot get in."""

import csv
import inspect
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from vicinal.errors import InputError
from vicinal.images import load
from vicinal.objectives import OBJECTIVES
from vicinal.recipes import override, read_recipe
from vicinal.recipes.recipe import Recipe
from vicinal.training.device import Engine, open_engine
from vicinal.training.loop import ArrayBatches, pretrain
from vicinal.views import Augment, GeneratedNeighbours, channel_statistics

TINY = (
    "encoder.widths=[8]",
    "encoder.dimension=8",
    "projector.widths=[16, 16]",
    "training.batch_size=32",
    "training.warmup_epochs=0",
    "training.epochs=3",
)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return override(read_recipe("digits"), TINY)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return open_engine("cpu", "float32")


@pytest.fixture(scope="module")
def materials(recipe: Recipe) -> tuple[ArrayBatches, ArrayBatches]:
    splits = load("digits", size=8)
    mean, std = channel_statistics(splits.train.pixels)
    pairs = GeneratedNeighbours(Augment(recipe.views, mean, std))
    return ArrayBatches(splits.train.pixels[:200], pairs), ArrayBatches(
        splits.test.pixels[:64], pairs
    )


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_losses_fall_and_are_logged_for_both_splits(
    recipe: Recipe, engine: Engine, materials: tuple[ArrayBatches, ArrayBatches], tmp_path: Path
) -> None:
    pretrain(*materials, recipe, tmp_path, engine.fabric, epochs=3)
    logged = rows(tmp_path)
    assert [(row["epoch"], row["split"]) for row in logged] == [
        (str(epoch), split) for epoch in (1, 2, 3) for split in ("train", "test")
    ]
    for row in logged:
        weighted = (
            25 * float(row["invariance"]) + 25 * float(row["variance"]) + float(row["covariance"])
        )
        assert float(row["total"]) == pytest.approx(weighted, rel=1e-3)
    train = [float(row["total"]) for row in logged if row["split"] == "train"]
    assert train[-1] < train[0]


@pytest.mark.parametrize("stopped_after", [1, 2])
def test_a_resumed_training_takes_the_same_steps(
    stopped_after: int,
    recipe: Recipe,
    engine: Engine,
    materials: tuple[ArrayBatches, ArrayBatches],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    uninterrupted = pretrain(*materials, recipe, whole, engine.fabric, epochs=3)

    class PowerCutError(Exception):
        pass

    from vicinal.training import loop

    save = loop.Checkpoint.save

    def cut(self: loop.Checkpoint, epoch: int, rows: Sequence[list[str]] = ()) -> None:
        if epoch > stopped_after:
            raise PowerCutError  # losses.csv has this epoch already, the checkpoint has not
        save(self, epoch, rows)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Checkpoint, "save", cut)
        with pytest.raises(PowerCutError):
            pretrain(*materials, recipe, parts, engine.fabric, epochs=3)
    resumed = pretrain(*materials, recipe, parts, engine.fabric, epochs=3)

    for name, weight in uninterrupted.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    figures = ("epoch", "split", "total", "invariance", "variance", "covariance")
    assert [[row[f] for f in figures] for row in rows(whole)] == [
        [row[f] for f in figures] for row in rows(parts)
    ]


def test_another_seed_gives_another_encoder(
    recipe: Recipe, engine: Engine, materials: tuple[ArrayBatches, ArrayBatches], tmp_path: Path
) -> None:
    weights = []
    for seed in (0, 1):
        run = tmp_path / str(seed)
        run.mkdir()
        seeded = recipe.model_copy(update={"seed": seed})
        weights.append(pretrain(*materials, seeded, run, engine.fabric, epochs=1).state_dict())
    assert not all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_labels_cannot_reach_training() -> None:
    assert set(ArrayBatches.__annotations__) == {"pixels", "pairs", "placed"}
    annotations = [str(p.annotation) for p in inspect.signature(pretrain).parameters.values()]
    assert not [a for a in annotations if "ImageSet" in a or "labels" in a]


def test_a_diverging_loss_stops_with_one_line(
    recipe: Recipe, engine: Engine, materials: tuple[ArrayBatches, ArrayBatches], tmp_path: Path
) -> None:
    wild = override(recipe, ["training.learning_rate=1e30", "training.schedule=constant"])
    with pytest.raises(InputError, match=r"not finite in step \d+ of epoch \d, also at half"):
        pretrain(*materials, wild, tmp_path, engine.fabric, epochs=3)


def test_one_image_is_too_few(recipe: Recipe, engine: Engine, tmp_path: Path) -> None:
    def pairs(
        pixels: torch.Tensor, index: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        raise AssertionError("no batch should be made")

    one: NDArray[np.uint8] = np.zeros((1, 8, 8, 1), np.uint8)
    with pytest.raises(InputError, match="at least 2 images, found 1"):
        pretrain(
            ArrayBatches(one, pairs),
            ArrayBatches(one, pairs),
            recipe,
            tmp_path,
            engine.fabric,
            epochs=1,
        )


def test_a_damaged_checkpoint_is_named(
    recipe: Recipe, engine: Engine, materials: tuple[ArrayBatches, ArrayBatches], tmp_path: Path
) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"checkpoint.pt: not a checkpoint"):
        pretrain(*materials, recipe, tmp_path, engine.fabric, epochs=1)


def test_a_kept_encoder_is_that_of_a_training_of_so_many_epochs(
    recipe: Recipe, engine: Engine, materials: tuple[ArrayBatches, ArrayBatches], tmp_path: Path
) -> None:
    constant = "training.schedule=constant"  # so a longer training begins as a shorter one
    keeping = override(recipe, [constant, "training.keep_epochs=[2, 1]"])
    kept: dict[int, dict[str, torch.Tensor]] = {}

    def keep(epochs: int, encoder: nn.Module) -> None:
        kept[epochs] = {name: values.clone() for name, values in encoder.state_dict().items()}

    for name, epochs in (("whole", 3), ("short", 2)):
        (tmp_path / name).mkdir()
        encoder = pretrain(
            *materials,
            keeping,
            tmp_path / name,
            engine.fabric,
            epochs=epochs,
            keep=keep if name == "whole" else None,
        )
    assert list(kept) == [1, 2]
    after_two = encoder.state_dict()
    assert all(torch.equal(kept[2][name], values) for name, values in after_two.items())
    assert not all(torch.equal(kept[1][name], values) for name, values in after_two.items())


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "vicreg"])
def test_every_objective_trains_and_goes_on_with_the_same_slices(
    name: str,
    recipe: Recipe,
    engine: Engine,
    materials: tuple[ArrayBatches, ArrayBatches],
    tmp_path: Path,
) -> None:
    changed = override(recipe, [f"objective.name={name}", "training.schedule=constant"])
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for run, sittings in ((whole, (2,)), (parts, (1, 2))):
        run.mkdir()
        for epochs in sittings:
            pretrain(*materials, changed, run, engine.fabric, epochs=epochs, quiet=True)
    terms = ["total", *OBJECTIVES[name].parts]
    once, resumed = rows(whole), rows(parts)
    assert [[row[term] for term in terms] for row in once] == [
        [row[term] for term in terms] for row in resumed
    ]
    assert float(once[2]["total"]) < float(once[0]["total"])


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "vicreg"])
def test_an_objective_is_trained_at_its_own_rate(
    name: str,
    recipe: Recipe,
    engine: Engine,
    materials: tuple[ArrayBatches, ArrayBatches],
    tmp_path: Path,
) -> None:
    rate = recipe.training.learning_rate
    ways = {
        "factor": [f"objective.{name}.learning_rate_factor=0.25"],
        "rate": [f"training.learning_rate={rate / 4}"],
        "neither": [],
        "another": ["objective.name=vicreg", f"objective.{name}.learning_rate_factor=0.25"],
        "vicreg": ["objective.name=vicreg"],
    }
    losses = {}
    for way, settings in ways.items():
        run = tmp_path / way
        run.mkdir()
        changed = override(recipe, [f"objective.name={name}", *settings])
        pretrain(*materials, changed, run, engine.fabric, epochs=1, quiet=True)
        losses[way] = [row["total"] for row in rows(run)]
    assert losses["factor"] == losses["rate"] != losses["neither"]
    assert losses["another"] == losses["vicreg"]
