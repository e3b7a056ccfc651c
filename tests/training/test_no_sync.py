"""A step never waits for its device, shown on a device whose numbers nobody can read: meta.

On the meta device ``item``, ``tolist``, ``nonzero``, boolean indexing, ``cpu`` and ``numpy`` all
raise, so whatever would make the host wait for a GPU stops the training here.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vicinal.objectives import OBJECTIVES
from vicinal.recipes import override, read_recipe
from vicinal.recipes.recipe import Recipe
from vicinal.training import loop, recovery
from vicinal.training.loop import ArrayBatches, pretrain
from vicinal.views import Augment, GeneratedNeighbours, MinedNeighbours, Pairs, augment

STEPS, EPOCHS = 3, 2
HALF = (0.5,) * 3


class OnMeta:
    """What the loop asks of Lightning's Fabric, on the meta device."""

    device = torch.device("meta")

    def setup(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        model.to("meta")
        for group in optimizer.param_groups:
            group["params"] = list(model.parameters())  # on another device they are other ones
            if group.get("fused"):
                group.update(fused=False, foreach=True)  # the fused kernel refuses meta tensors
        return model, optimizer

    def autocast(self) -> AbstractContextManager[None]:
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]


def recipe(*settings: str) -> Recipe:
    return override(
        read_recipe("seed"),
        ["views.size=16", "training.batch_size=8", "training.test_images=8", *settings],
    )


def train(recipe: Recipe, pairs: Pairs, run: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Trains on meta, and says how often the mean terms were read."""
    read = []

    def named(values: Tensor, names: Sequence[str]) -> dict[str, float]:
        assert values.device.type == "meta"
        assert len(values) == len(names)
        read.append(values)
        return dict.fromkeys(names, 1.0)

    monkeypatch.setattr(loop, "named", named)
    # Once an epoch, after its last step, these may wait.
    monkeypatch.setattr(loop, "sample_rank", lambda sample: 1.0)
    monkeypatch.setattr(recovery.Recovery, "rolled_back", lambda *_: False)
    # Within an epoch only what has arrived by itself is looked at, which here is nothing.
    monkeypatch.setattr(recovery, "EVERY", 2)
    monkeypatch.setattr(recovery, "NonBlockingRead", lambda: lambda values: None)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no meta device
    pixels = np.zeros((8 * STEPS, 16, 16, 3), np.uint8)
    materials = ArrayBatches(pixels, pairs), ArrayBatches(pixels, pairs)
    pretrain(*materials, recipe, run, OnMeta(), epochs=EPOCHS)  # type: ignore[arg-type]
    return len(read)


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("views.rotation=10", "views.jitter=0.5", "objective.convention=eb_jepa"),
        ("training.optimizer=lars", "views.solarise=0.5"),
        ("training.optimizer=adamw", "encoder.backbone=small", "projector.widths=[4, 4]"),
        *((f"objective.name={name}",) for name in OBJECTIVES if name != "vicreg"),
    ],
    ids=["seed", "all views", "lars", "small", *list(OBJECTIVES)[1:]],
)
def test_a_step_never_waits_for_its_device(
    settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = recipe(*settings)
    pairs = GeneratedNeighbours(Augment(changed.views, HALF, HALF))
    # Once an epoch for train and once for test, however many steps there are.
    assert train(changed, pairs, tmp_path, monkeypatch) == 2 * EPOCHS


def test_mined_pairs_do_not_wait_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    neighbours = (torch.arange(8 * STEPS)[:, None] + torch.tensor([1, 2])) % (8 * STEPS)
    pairs = MinedNeighbours(neighbours, HALF, HALF)
    assert train(recipe(), pairs, tmp_path, monkeypatch) == 2 * EPOCHS


@pytest.mark.parametrize("wait", ["item", "nonzero", "cpu"])
def test_a_wait_would_be_noticed(
    wait: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waiting(views: Tensor, sigma: Tensor, kernel: int) -> Tensor:
        getattr(views.sum(), wait)()
        return views

    monkeypatch.setattr(augment, "blur", waiting)
    changed = recipe("views.blur=1")
    pairs = GeneratedNeighbours(Augment(changed.views, HALF, HALF))
    with pytest.raises((RuntimeError, NotImplementedError), match=r"meta|nonzero"):
        train(changed, pairs, tmp_path, monkeypatch)
