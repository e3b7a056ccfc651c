"""Pretraining: from pixels to an encoder. Read this file first, top to bottom."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vicinal.encoder import build_encoder, projector
from vicinal.encoder.winograd import use_winograd
from vicinal.errors import InputError
from vicinal.objectives import Terms, vicreg
from vicinal.recipe import Objective, Recipe
from vicinal.training.checkpoint import Checkpoint
from vicinal.training.compiling import compiled_parts
from vicinal.training.log import PARTS, TrainingLog, named
from vicinal.training.memory import kept_memory
from vicinal.training.optimizers import build_optimizer
from vicinal.training.rank import SAMPLE, effective_rank
from vicinal.training.recovery import Recovery
from vicinal.training.schedule import learning_rate
from vicinal.views import Pairs

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from lightning.fabric.loggers.logger import Logger


@dataclass(frozen=True, eq=False)
class Material:
    """What is trained on: pixels and nothing else, so that no label can reach training.

    Attributes:
        pixels: Array (N, H, W, C) uint8.
        pairs: Where two views come from, given the pixels and positions in them.
    """

    pixels: NDArray[np.uint8]
    pairs: Pairs


@kept_memory()
def pretrain(
    train: Material,
    test: Material,
    recipe: Recipe,
    run: Path,
    fabric: Fabric,
    *,
    epochs: int,
    title: str = "train",
    quiet: bool = False,
    loggers: Sequence[Logger] = (),
) -> nn.Module:
    """Trains an encoder on pairs of views, and goes on where an interrupted run stopped.

    Writes ``losses.csv`` (mean terms of each epoch, on train and on test views) and
    ``checkpoint.pt`` into ``run`` after every epoch. Each epoch's order and views come
    from the seed and the epoch's number alone, so a resumed run takes the same steps. What a
    loss that is not finite brings about is in `vicinal.training.recovery`.

    Args:
        train: Images that teach.
        test: Images for the test curves; no gradient ever comes from them.
        recipe: Every number of the run.
        run: An existing folder.
        fabric: Device and precision.
        epochs: Passes over the training images.
        title: What the progress bar calls this training.
        quiet: Whether there is neither a bar nor a line.
        loggers: Lightning's loggers, which get what ``losses.csv`` gets, by the epoch.

    Returns:
        The encoder in evaluation mode, images (B, C, H, W) to representations (B, F).

    Raises:
        InputError: If there are fewer than two images, or the loss stops being finite again.
    """
    if len(train.pixels) < 2:
        raise InputError(f"training needs at least 2 images, found {len(train.pixels)}")
    torch.manual_seed(recipe.seed)
    encoder, model = _networks(recipe, train.pixels)
    use_winograd(model)  # acts in float32 on a CPU alone
    wrapped, optimizer = fabric.setup(
        model.to(memory_format=torch.channels_last),
        build_optimizer(model.parameters(), recipe.training),
    )
    checkpoint = Checkpoint(run / "checkpoint.pt", model, optimizer)
    done = checkpoint.restore()
    store, test_store = (_on(fabric.device, material.pixels) for material in (train, test))
    batch = min(recipe.training.batch_size, len(store))
    steps = len(store) // batch  # a last, smaller batch is left out; shuffling spares no image
    recovery = Recovery(checkpoint, title, recipe.training.learning_rate, steps, fabric.device)

    def rate(step: int) -> float:
        return learning_rate(step, epochs * steps, steps, recipe.training)

    with TrainingLog(
        run / "losses.csv",
        title,
        epochs=epochs,
        epochs_done=done,
        rows=checkpoint.rows,
        images=steps * batch,
        quiet=quiet,
        loggers=loggers,
    ) as log:
        terms_of = compiled_parts(model, objective, recipe.training, fabric.device, log.say)
        for epoch in recovery.epochs(done, epochs):
            generator = _generator(recipe.seed, epoch)
            order = torch.randperm(len(store), generator=generator)[: steps * batch]
            sums = torch.zeros(len(PARTS), device=fabric.device)
            wrapped.train()
            began = time.perf_counter()
            for step, index in enumerate(torch.split(order, batch)):
                _set_rate(optimizer, rate(epoch * steps + step) * recovery.factor(epoch))
                view_a, view_b = train.pairs(store, index, generator)
                terms = terms_of(wrapped(view_a), wrapped(view_b), recipe.objective)
                optimizer.zero_grad(set_to_none=True)
                fabric.backward(terms.total)
                optimizer.step()
                sums += (parts := _stacked(terms))
                log.advance(epoch + 1, batch, step + 1, sums, time.perf_counter() - began)
                if recovery.broke(step, parts):
                    break
            if recovery.took_back(epoch, step + 1, model, log.say):
                continue
            seconds = time.perf_counter() - began
            log.record(epoch + 1, "train", named(sums / steps), seconds, steps * batch)
            _record_test(log, wrapped, encoder, fabric, test_store, test.pairs, recipe, epoch)
            checkpoint.save(epoch + 1, log.rows)
    return encoder.eval()


def objective(z_a: Tensor, z_b: Tensor, recipe: Objective) -> Terms:
    """The recipe's objective of two views' embeddings (B, D)."""
    return vicreg(
        z_a,
        z_b,
        invariance_weight=recipe.invariance,
        variance_weight=recipe.variance,
        covariance_weight=recipe.covariance,
        target_std=recipe.target_std,
        epsilon=recipe.epsilon,
        convention=recipe.convention,
    )


def _networks(recipe: Recipe, pixels: NDArray[np.uint8]) -> tuple[nn.Module, nn.Sequential]:
    """The encoder, and the encoder with its projector."""
    size, channels = pixels.shape[1], pixels.shape[3]
    encoder = build_encoder(recipe.encoder, channels=channels, size=size)
    return encoder, nn.Sequential(
        encoder, projector(recipe.encoder.dimension, recipe.projector.widths)
    )


@torch.no_grad()
def _record_test(
    log: TrainingLog,
    model: nn.Module,
    encoder: nn.Module,
    fabric: Fabric,
    store: Tensor,
    pairs: Pairs,
    recipe: Recipe,
    epoch: int,
) -> None:
    """Logs the mean terms on test views, the same after every epoch, and the first ones' rank."""
    generator = _generator(recipe.seed, -1)
    count = min(recipe.training.test_images, len(store))
    batch = min(recipe.training.batch_size, count)
    if batch < 2:
        return
    order = torch.randperm(len(store), generator=generator)[: count // batch * batch]
    model.eval()
    began = time.perf_counter()
    sums = torch.zeros(len(PARTS), device=store.device)
    sample: Tensor | None = None
    for index in torch.split(order, batch):
        view_a, view_b = pairs(store, index, generator)
        sums += _stacked(objective(model(view_a), model(view_b), recipe.objective))
        if sample is None:
            with fabric.autocast():
                sample = encoder(view_a[:SAMPLE])
    assert sample is not None
    means = named(sums / (len(order) // batch)) | {"rankme": effective_rank(sample)}
    log.record(epoch + 1, "test", means, time.perf_counter() - began, len(order))


def _on(device: torch.device, pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(device)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _generator(seed: int, epoch: int) -> torch.Generator:
    """The random stream of an epoch; −1 is that of the test views."""
    entropy = np.random.SeedSequence([seed, epoch + 1]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(entropy >> np.uint64(1)))


def _stacked(terms: Terms) -> Tensor:
    return torch.stack([terms.total.detach(), *(terms.parts[name] for name in PARTS[1:])])
