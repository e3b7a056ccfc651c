"""The training loop: from pairs of views to an encoder. Read this file first, top to bottom.

A step is in five files more: `batches` makes two views, `step` the loss and new weights,
`optimizers` the learning rate; `recovery` looks for bad numbers, `budget` for the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from vicinal import cores, distributed
from vicinal.encoder.layers import synchronise, use_fast_convolutions
from vicinal.errors import InputError
from vicinal.objectives import at_own_rate, names_of_terms
from vicinal.recipes.recipe import Recipe
from vicinal.training.batches import ArrayBatches, BatchSource, Position
from vicinal.training.budget import Budget, Clock, Looks
from vicinal.training.checkpoint import Checkpoint, worth_keeping
from vicinal.training.device import kept_memory
from vicinal.training.effective_rank import SAMPLE, sample_rank
from vicinal.training.log import TrainingLog, named
from vicinal.training.optimizers import build_optimizer, learning_rate, parameter_groups, set_rate
from vicinal.training.pace import Threads
from vicinal.training.recovery import Recovery
from vicinal.training.start import networks, to_training
from vicinal.training.step import Step

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from lightning.fabric.loggers.logger import Logger

__all__ = ["ArrayBatches", "BatchSource", "pretrain"]


@kept_memory()
@cores.shared()
def pretrain(
    train: BatchSource,
    test: BatchSource,
    recipe: Recipe,
    run: Path,
    fabric: Fabric,
    *,
    epochs: int,
    minutes: float | None = None,
    looks: Looks | None = None,
    start: Mapping[str, Tensor] | None = None,
    title: str = "train",
    quiet: bool = False,
    loggers: Sequence[Logger] = (),
    keep: Callable[[int, nn.Module], None] | None = None,
    afterwards: Callable[[nn.Module, Clock], float] | None = None,
) -> nn.Module:
    """Trains an encoder on pairs of views, and goes on where an interrupted run stopped.

    Writes ``losses.csv`` (mean terms of each epoch, on train and on test views) and
    ``checkpoint.pt`` into ``run`` after every epoch. Each epoch's order and views come from the
    seed and the epoch's number alone, so a resumed run takes the same steps. What a loss that is
    not finite, or explodes, brings about is in `vicinal.training.recovery`.

    Args:
        train: Images that teach.
        test: Images for the test curves; no gradient ever comes from them.
        recipe: Every number of the run.
        run: An existing folder.
        fabric: Device and precision.
        epochs: Passes over the training images, at most if there are minutes.
        minutes: What the training may take, held whatever the machine does meanwhile; a resumed
            training has what is left of them. What they were used for is in ``minutes.json``.
        looks: Looks at the clock of an earlier training with minutes, which this one repeats.
        start: Weights of the encoder (``0.…``) and, if known, of the projector (``1.…``) to
            begin with; what is not in it is drawn.
        title: What the progress bar calls this training.
        quiet: Whether there is neither a bar nor a line.
        loggers: Lightning's loggers, which get what ``losses.csv`` gets, by the epoch.
        keep: Called with the number of epochs done and the encoder after each of the recipe's
            ``training.keep_epochs``, on the first rank.
        afterwards: Estimates, by a clock, the seconds of what the caller does with the encoder
            after the training; they are held back from the minutes.

    Returns:
        The encoder in evaluation mode, images (B, C, H, W) to representations (B, F).

    Raises:
        InputError: If there are fewer than two images, or the loss explodes again.
    """
    if len(train) < 2:
        raise InputError(f"training needs at least 2 images, found {len(train)}")
    torch.manual_seed(recipe.seed)
    recipe = at_own_rate(recipe)
    encoder, model = networks(recipe, train.shape, start)
    use_fast_convolutions(model)  # acts in float32 on a CPU alone
    synchronise(model, fabric.device)  # acts on several ranks alone
    wrapped, optimizer = fabric.setup(
        model.to(memory_format=torch.channels_last),
        build_optimizer(parameter_groups(encoder, model, recipe.training), recipe.training),
    )
    train, test = train.to(fabric.device), test.to(fabric.device)
    batch = min(recipe.training.batch_size, len(train))
    steps = len(train) // batch  # a last, smaller batch is left out; shuffling spares no image
    # A pass over test images is about a third of the work, forward alone.
    closing = _test_steps(recipe, test)[0] / 3
    budget = Budget(epochs, steps, minutes=minutes, closing=closing, looks=looks)
    if afterwards is not None:
        budget.hold_back(lambda clock: afterwards(encoder, clock))
    # Where minutes choose the passes, the warm-up is the same share of them as of the recipe's.
    per_epoch = steps if minutes is None else budget.steps / recipe.training.epochs
    checkpoint = Checkpoint(run / "checkpoint.pt", model, optimizer, budget)
    done = checkpoint.restore()
    recovery = Recovery(checkpoint, title, recipe, steps, fabric.device)
    with TrainingLog(
        run / "losses.csv",
        title,
        objective=recipe.objective,
        epochs=epochs,
        budget=budget,
        rows=checkpoint.rows,
        quiet=quiet,
        loggers=loggers,
    ) as log:
        train_step = Step(model, wrapped, optimizer, fabric, recipe, batch, log.say)
        threads = Threads(run / "threads.csv", fabric.device, title, log.say, train_step.sides)
        for epoch in budget.within(recovery.epochs(done, epochs)):
            generator = _generator(recipe.seed, epoch)
            position = checkpoint.position()
            first = 0 if position is None else position.steps
            sums = (
                _no_terms(recipe, fabric) if position is None else position.sums.to(fabric.device)
            )
            to_training(wrapped, encoder, recipe.training)
            began = time.perf_counter()
            views = threads.between(train.batches(generator, steps, batch, position), epoch, first)
            for step, (view_a, view_b) in enumerate(views, start=first):
                so_far = epoch * steps + step
                rate = learning_rate(budget.place(so_far), budget.steps, per_epoch, recipe.training)
                set_rate(optimizer, rate * recovery.factor(epoch))
                sums += (terms := train_step(view_a, view_b, epoch, step))
                log.advance(epoch + 1, batch, step + 1, sums, time.perf_counter() - began)
                if recovery.broke(step, terms) or budget.over(so_far + 1):
                    break
                if worth_keeping(step + 1, steps, recipe, budget, sums, model):
                    position = Position(step + 1, generator.get_state(), sums)
                    checkpoint.save(epoch, log.rows, position)
            if recovery.rolled_back(epoch, step + 1, model, log.say):
                train_step.prepare()
                continue
            seconds = time.perf_counter() - began
            means = named(sums / (step + 1), names_of_terms(recipe.objective))
            images = (step + 1 - first) * batch
            with budget.closing():
                log.record(epoch + 1, "train", means, seconds, images)
                _record_test(log, wrapped, train_step, encoder, fabric, test, recipe, epoch)
                wanted = step + 1 == steps and epoch + 1 in recipe.training.keep_epochs
                if keep is not None and wanted and distributed.is_first():
                    keep(epoch + 1, encoder)  # before the checkpoint: a killed run does it again
                checkpoint.save(epoch + 1, log.rows)
        budget.end(run / "minutes.json", log.say)
    return encoder.eval()


@torch.no_grad()
def _record_test(
    log: TrainingLog,
    model: nn.Module,
    train_step: Step,
    encoder: nn.Module,
    fabric: Fabric,
    images: BatchSource,
    recipe: Recipe,
    epoch: int,
) -> None:
    """Logs the mean terms on test views, the same after every epoch, and the first ones' rank."""
    steps, batch = _test_steps(recipe, images)
    if steps == 0:
        return
    model.eval()
    began, sums = time.perf_counter(), _no_terms(recipe, fabric)
    sample: Tensor | None = None
    views = images.batches(_generator(recipe.seed, -1), steps, batch)
    for step, (view_a, view_b) in enumerate(views):
        sums += train_step.test(view_a, view_b, batch, step)
        if sample is None:
            with fabric.autocast():
                sample = _first_rows(encoder, view_a, batch)
    assert sample is not None
    means = named(sums / steps, names_of_terms(recipe.objective))
    means |= {"rankme": sample_rank(sample)}
    log.record(epoch + 1, "test", means, time.perf_counter() - began, steps * batch)


def _test_steps(recipe: Recipe, images: BatchSource) -> tuple[int, int]:
    """Steps of a pass over the test images, none if there is but one, and images of a step."""
    count = min(recipe.training.test_images, len(images))
    batch = min(recipe.training.batch_size, count)
    return (count // batch if batch > 1 else 0), batch


def _no_terms(recipe: Recipe, fabric: Fabric) -> Tensor:
    return torch.zeros(len(names_of_terms(recipe.objective)), device=fabric.device)


def _first_rows(encoder: nn.Module, views: Tensor, batch: int) -> Tensor:
    """Representations of the first views of a batch of which these are this rank's."""
    if distributed.world_size() == 1:
        first: Tensor = encoder(views[:SAMPLE])
        return first
    return distributed.all_rows(encoder(views), batch)[:SAMPLE]


def _generator(seed: int, epoch: int) -> torch.Generator:
    """The random stream of an epoch; −1 is that of the test views."""
    entropy = np.random.SeedSequence([seed, epoch + 1]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(entropy >> np.uint64(1)))
