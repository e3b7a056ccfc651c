"""Pretraining: from pixels to an encoder. Read this file first, top to bottom."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from vicinal import cores, distributed
from vicinal.encoder.layers import synchronise, use_winograd
from vicinal.errors import InputError
from vicinal.objectives import Terms, directions
from vicinal.objectives import of_recipe as objective
from vicinal.recipes.recipe import Recipe
from vicinal.training.budget import Budget, Looks, learning_rate
from vicinal.training.checkpoint import Checkpoint, worth_keeping
from vicinal.training.device import Step, compile_networks, graphed, kept_memory, set_rate
from vicinal.training.effective_rank import SAMPLE, effective_rank
from vicinal.training.feed import Feed, Material, Position, Trainable
from vicinal.training.log import TrainingLog, named, opened_log, terms_of
from vicinal.training.optimizers import build_optimizer
from vicinal.training.pace import Threads
from vicinal.training.recovery import Recovery
from vicinal.training.start import networks, parameter_groups, to_training
from vicinal.training.two_views import TwoViews
from vicinal.views.augment import moved

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from lightning.fabric.loggers.logger import Logger

__all__ = ["Material", "Trainable", "pretrain"]


@kept_memory()
@cores.shared()
def pretrain(
    train: Trainable,
    test: Trainable,
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
) -> nn.Module:
    """Trains an encoder on pairs of views, and goes on where an interrupted run stopped.

    Writes ``losses.csv`` (mean terms of each epoch, on train and on test views) and
    ``checkpoint.pt`` into ``run`` after every epoch. Each epoch's order and views come
    from the seed and the epoch's number alone, so a resumed run takes the same steps. What a
    loss that is not finite, or explodes, brings about is in `vicinal.training.recovery`, what
    minutes are in `vicinal.training.budget`.

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

    Returns:
        The encoder in evaluation mode, images (B, C, H, W) to representations (B, F).

    Raises:
        InputError: If there are fewer than two images, or the loss explodes again.
    """
    if len(train) < 2:
        raise InputError(f"training needs at least 2 images, found {len(train)}")
    torch.manual_seed(recipe.seed)
    encoder, model = networks(recipe, train.shape, start)
    use_winograd(model)  # acts in float32 on a CPU alone
    synchronise(model, fabric.device)  # acts on several ranks alone
    wrapped, optimizer = fabric.setup(
        model.to(memory_format=torch.channels_last),
        build_optimizer(parameter_groups(encoder, model, recipe.training), recipe.training),
    )
    feed, test_feed = train.on(fabric.device), test.on(fabric.device)
    batch = min(recipe.training.batch_size, len(feed))
    steps = len(feed) // batch  # a last, smaller batch is left out; shuffling spares no image
    rows = _global_rows(recipe, batch)
    # A pass over test images is about a third of the work, forward alone.
    closing = _test_steps(recipe, test_feed)[0] / 3
    budget = Budget(epochs, steps, minutes=minutes, closing=closing, looks=looks)
    # Where minutes choose the passes, the warm-up is the same share of them as of the recipe's.
    per_epoch = steps if minutes is None else budget.steps / recipe.training.epochs
    checkpoint = Checkpoint(run / "checkpoint.pt", model, optimizer, budget)
    done = checkpoint.restore()
    recovery = Recovery(checkpoint, title, recipe, steps, fabric.device)
    with opened_log(
        run / "losses.csv",
        title,
        objective=recipe.objective,
        epochs=epochs,
        budget=budget,
        rows=checkpoint.rows,
        quiet=quiet,
        loggers=loggers,
    ) as log:
        compile_networks(model, recipe.training, fabric.device, log.say)
        both = TwoViews(model, wrapped, fabric, recipe.training)
        threads = Threads(run / "threads.csv", fabric.device, title, log.say, both.sides)
        take = _step(both, optimizer, fabric, recipe, rows, log.say)
        for epoch in budget.within(recovery.epochs(done, epochs)):
            generator = _generator(recipe.seed, epoch)
            after = checkpoint.position()
            first, sums = _begun(after, recipe, fabric.device)
            to_training(wrapped, encoder, recipe.training)
            began = time.perf_counter()
            views = threads.between(feed.batches(generator, steps, batch, after), epoch, first)
            for step, (view_a, view_b) in enumerate(views, start=first):
                so_far = epoch * steps + step
                rate = learning_rate(budget.place(so_far), budget.steps, per_epoch, recipe.training)
                set_rate(optimizer, rate * recovery.factor(epoch))
                slices = _slices(recipe, fabric.device, epoch, step)
                sums += (parts := take(view_a, view_b, *slices))
                log.advance(epoch + 1, batch, step + 1, sums, time.perf_counter() - began)
                if recovery.broke(step, parts) or budget.over(so_far + 1):
                    break
                if worth_keeping(step + 1, steps, recipe, budget, sums, model):
                    position = Position(step + 1, generator.get_state(), sums)
                    checkpoint.save(epoch, log.rows, position)
            if recovery.took_back(epoch, step + 1, model, log.say):
                # The optimiser's state lies elsewhere now, where a recorded step would not see it.
                take = _step(both, optimizer, fabric, recipe, rows, log.say)
                continue
            seconds = time.perf_counter() - began
            means = named(sums / (step + 1), terms_of(recipe.objective))
            images = (step + 1 - first) * batch
            with budget.closing():
                log.record(epoch + 1, "train", means, seconds, images)
                _record_test(log, wrapped, both, encoder, fabric, test_feed, recipe, epoch)
                wanted = step + 1 == steps and epoch + 1 in recipe.training.keep_epochs
                if keep is not None and wanted and distributed.is_first():
                    keep(epoch + 1, encoder)  # before the checkpoint: a killed run does it again
                checkpoint.save(epoch + 1, log.rows)
        budget.end(run / "minutes.json", log.say)
    return encoder.eval()


def _step(
    both: TwoViews,
    optimizer: torch.optim.Optimizer,
    fabric: Fabric,
    recipe: Recipe,
    rows: int | None,
    say: Callable[[str], None],
) -> Step:
    """Two views through the model, the loss and its gradient, new weights: as `graphed` has it."""

    def take(view_a: Tensor, view_b: Tensor, *slices: Tensor) -> Tensor:
        def loss(z_a: Tensor, z_b: Tensor) -> Terms:
            return objective(z_a, z_b, recipe.objective, rows, *slices)

        optimizer.zero_grad(set_to_none=True)
        terms = both.gradient(view_a, view_b, loss)
        optimizer.step()
        return _stacked(terms, recipe)

    return graphed(take, optimizer, recipe.training, fabric.device, say)


def _slices(recipe: Recipe, device: torch.device, epoch: int, step: int) -> list[Tensor]:
    """The random directions of a step, if its objective takes any; epoch −1 is the test views'."""
    width = recipe.projector.widths[-1]
    drawn = directions(recipe.objective, width, recipe.seed, epoch + 1, step + 1)
    return moved(drawn, device) if drawn else drawn


def _global_rows(recipe: Recipe, batch: int) -> int | None:
    """Rows of the batch whose statistics a rank's loss has; None for its own rows'."""
    several = distributed.world_size() > 1
    return batch if several and recipe.training.statistics == "global" else None


@torch.no_grad()
def _record_test(
    log: TrainingLog,
    model: nn.Module,
    both: TwoViews,
    encoder: nn.Module,
    fabric: Fabric,
    feed: Feed,
    recipe: Recipe,
    epoch: int,
) -> None:
    """Logs the mean terms on test views, the same after every epoch, and the first ones' rank."""
    generator = _generator(recipe.seed, -1)
    steps, batch = _test_steps(recipe, feed)
    if steps == 0:
        return
    model.eval()
    began = time.perf_counter()
    _, sums = _begun(None, recipe, fabric.device)
    sample: Tensor | None = None
    rows = _global_rows(recipe, batch)
    for step, (view_a, view_b) in enumerate(feed.batches(generator, steps, batch)):
        slices = _slices(recipe, fabric.device, -1, step)
        terms = objective(*both.embeddings(view_a, view_b), recipe.objective, rows, *slices)
        sums += _stacked(terms, recipe)
        if sample is None:
            with fabric.autocast():
                sample = _first_rows(encoder, view_a, batch)
    assert sample is not None
    means = named(sums / steps, terms_of(recipe.objective)) | {"rankme": effective_rank(sample)}
    log.record(epoch + 1, "test", means, time.perf_counter() - began, steps * batch)


def _test_steps(recipe: Recipe, feed: Feed) -> tuple[int, int]:
    """Steps of a pass over the test images, none if there is but one, and images of a step."""
    count = min(recipe.training.test_images, len(feed))
    batch = min(recipe.training.batch_size, count)
    return (count // batch if batch > 1 else 0), batch


def _begun(after: Position | None, recipe: Recipe, device: torch.device) -> tuple[int, Tensor]:
    """The first step of an epoch and the sums (T,) of the terms before it."""
    if after is None:
        return 0, torch.zeros(len(terms_of(recipe.objective)), device=device)
    return after.steps, after.sums.to(device)


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


def _stacked(terms: Terms, recipe: Recipe) -> Tensor:
    """The terms (T,) for the log, the same on every rank."""
    names = terms_of(recipe.objective)[1:]
    stacked = torch.stack([terms.total.detach(), *(terms.parts[name] for name in names)])
    return distributed.mean(stacked) if recipe.training.statistics == "per-rank" else stacked
