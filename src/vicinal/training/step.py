"""A training step: both views through the model, the objective and its gradient, new weights.

The views meet in the objective alone, and BatchNorm normalises each by itself. So on a CPU two
threads take a view each, forward and backward, and no operator has to be split among all cores,
whose slowest thread it would wait for. What is computed is the same, bit by bit, as one view after
the other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vicinal import cores, distributed
from vicinal.objectives import Terms, directions, names_of_terms
from vicinal.objectives import of_recipe as objective
from vicinal.recipes.recipe import Recipe, Training
from vicinal.training.compiling import compile_networks, compiles, graphed
from vicinal.views.augment import moved

if TYPE_CHECKING:
    from lightning.fabric import Fabric

Views = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Terms]


class Step:
    """Takes the steps of a training, and measures its objective on test views."""

    def __init__(
        self,
        model: nn.Module,
        wrapped: nn.Module,
        optimizer: torch.optim.Optimizer,
        fabric: Fabric,
        recipe: Recipe,
        batch: int,
        say: Callable[[str], None],
    ) -> None:
        compile_networks(model, recipe.training, fabric.device, say)
        self._both = TwoViews(model, wrapped, fabric, recipe.training)
        self._optimizer, self._recipe, self._say = optimizer, recipe, say
        self._device, self._batch = fabric.device, batch
        self.prepare()

    @property
    def sides(self) -> int:
        """How many views are computed at once, each with torch's number of threads."""
        return self._both.sides

    def prepare(self) -> None:
        """Makes the step anew: a CUDA graph needs it once a checkpoint has moved the state."""
        training = self._recipe.training
        learn = partial(_learn, self._both, self._optimizer, self._recipe, self._batch)
        self._learn = graphed(learn, self._optimizer, training, self._device, self._say)

    def __call__(self, view_a: Tensor, view_b: Tensor, epoch: int, step: int) -> Tensor:
        """The terms (T,) of a step on this rank's views (b, C, S, S) of the batch."""
        return self._learn(view_a, view_b, *self._slices(epoch, step))

    @torch.no_grad()
    def test(self, view_a: Tensor, view_b: Tensor, batch: int, step: int) -> Tensor:
        """The terms (T,) of test views of a batch of so many images; nothing is learned."""
        embeddings = self._both.embeddings(view_a, view_b)
        slices = self._slices(-1, step)
        return _stacked(_terms(*embeddings, self._recipe, batch, *slices), self._recipe)

    def _slices(self, epoch: int, step: int) -> list[Tensor]:
        """Random directions, if the objective takes any; epoch −1 is the test views'."""
        recipe, width = self._recipe, self._recipe.projector.widths[-1]
        drawn = directions(recipe.objective, width, recipe.seed, epoch + 1, step + 1)
        return moved(drawn, self._device) if drawn else drawn


def _learn(
    both: TwoViews,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    batch: int,
    view_a: Tensor,
    view_b: Tensor,
    *slices: Tensor,
) -> Tensor:
    """Two views through the model, the loss and its gradient, new weights; the terms (T,)."""
    optimizer.zero_grad(set_to_none=True)
    loss = lambda z_a, z_b: _terms(z_a, z_b, recipe, batch, *slices)  # noqa: E731
    terms = both.gradient(view_a, view_b, loss)
    optimizer.step()
    return _stacked(terms, recipe)


def _terms(z_a: Tensor, z_b: Tensor, recipe: Recipe, batch: int, *slices: Tensor) -> Terms:
    """The objective; on several ranks of the whole batch, or of this rank's rows alone."""
    whole = distributed.world_size() > 1 and recipe.training.statistics == "global"
    return objective(z_a, z_b, recipe.objective, batch if whole else None, *slices)


def _stacked(terms: Terms, recipe: Recipe) -> Tensor:
    """The terms (T,) for the log, the same on every rank."""
    names = names_of_terms(recipe.objective)[1:]
    stacked = torch.stack([terms.total.detach(), *(terms.parts[name] for name in names)])
    return distributed.mean(stacked) if recipe.training.statistics == "per-rank" else stacked


class TwoViews:
    """A model, and where it may be so a twin of it for the second view.

    The twin has the model's own parameters, and statistics of BatchNorm apart, which are joined to
    the model's after each step in the order of the views.
    """

    def __init__(
        self, model: nn.Module, wrapped: nn.Module, fabric: Fabric, training: Training
    ) -> None:
        self._model, self._wrapped, self._fabric = model, wrapped, fabric
        apart = fabric.device.type == "cpu" and distributed.world_size() == 1
        apart = apart and not compiles(training, fabric.device)
        self._twin = _Twin(model) if apart and can_be_twinned(model) else None

    @property
    def sides(self) -> int:
        """How many threads of ours compute at once; each has torch's number of threads."""
        return 2 if self._twin is not None and cores.most() > 1 else 1

    def embeddings(self, view_a: Tensor, view_b: Tensor) -> Views:
        """Embeddings (B, D) float32 of both views (B, C, H, W)."""
        if self._twin is None:
            return self._wrapped(view_a), self._wrapped(view_b)
        twin = self._twin
        twin.follow()

        def forward(piece: tuple[nn.Module, Tensor]) -> Tensor:
            model, view = piece
            with self._fabric.autocast():
                embedding: Tensor = model(view)
            return embedding.float()

        both = ((self._model, view_a), (twin.model, view_b))
        z_a, z_b = cores.side_by_side(forward, both, each=cores.threads())
        return z_a, z_b

    def gradient(self, view_a: Tensor, view_b: Tensor, loss: Loss) -> Terms:
        """The loss's terms of both views; adds its gradient to the parameters'."""
        if self._twin is None:
            terms = loss(*self.embeddings(view_a, view_b))
            self._fabric.backward(terms.total)
            return terms
        found = self.embeddings(view_a, view_b)
        leaves = [z.detach().requires_grad_() for z in found]
        terms = loss(*leaves)
        terms.total.backward()  # type: ignore[no-untyped-call]

        def backward(piece: Views) -> None:
            embedding, leaf = piece
            embedding.backward(leaf.grad)  # type: ignore[no-untyped-call]

        pieces = zip(found, leaves, strict=True)
        list(cores.side_by_side(backward, pieces, each=cores.threads()))
        self._twin.join()  # not before: the backward pass wants the statistics as they were
        return terms


class _Twin:
    """A copy of a model that shares its parameters, but none of its buffers."""

    def __init__(self, model: nn.Module) -> None:
        shared = {id(parameter): parameter for parameter in model.parameters()}
        self.model = copy.deepcopy(model, shared)
        self._modules = list(zip(model.modules(), self.model.modules(), strict=True))
        self._layers = [
            (ours, theirs)
            for ours, theirs in self._modules
            if isinstance(ours, _BatchNorm) and ours.track_running_stats
        ]

    def follow(self) -> None:
        """Takes the model's mode, and its statistics, or none where it will find new ones."""
        for ours, theirs in self._modules:
            theirs.training = ours.training
        for ours, theirs in self._layers:
            for name in STATISTICS:
                own, copied = getattr(ours, name), getattr(theirs, name)
                copied.zero_() if ours.training else copied.copy_(own)

    @torch.no_grad()
    def join(self) -> None:
        """Moves the model's running statistics by the second view's, as if it had seen it next."""
        learning = [pair for pair in self._layers if pair[0].training]
        for name in STATISTICS if learning else ():
            own = [getattr(ours, name) for ours, _ in learning]
            new = [getattr(theirs, name) for _, theirs in learning]
            torch._foreach_mul_(own, [1 - (ours.momentum or 0.0) for ours, _ in learning])
            torch._foreach_add_(own, new)
        for ours, _ in learning:
            assert ours.num_batches_tracked is not None
            ours.num_batches_tracked.add_(1)


STATISTICS = ("running_mean", "running_var")


def can_be_twinned(model: nn.Module) -> bool:
    """Whether two views may go at once: no layer draws, or counts batches into its statistics."""
    for layer in model.modules():
        drops = getattr(layer, "p", 0) or getattr(layer, "drop_prob", 0)
        if type(layer).__name__.startswith("Drop") and drops:
            return False
        if isinstance(layer, _BatchNorm) and layer.track_running_stats and layer.momentum is None:
            return False
    return True
