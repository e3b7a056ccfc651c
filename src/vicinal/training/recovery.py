"""Finds the step and the term that went bad; goes back once, at half the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from vicinal import distributed
from vicinal.errors import InputError
from vicinal.files import read_json, write_json
from vicinal.objectives import directions, names_of_terms, of_recipe
from vicinal.recipes.recipe import Recipe
from vicinal.training.checkpoint import Checkpoint
from vicinal.training.log import NonBlockingRead

EVERY = 100
"""Steps between two looks at the terms; on a GPU a look sees what has arrived since the last."""
FACTOR = 0.5
"""The factor of the learning rate in a retry."""
EXPLODED = 1e6
"""How many times its own scale a loss must keep above to count as exploded. A training that comes
back from a wild start was seen at 2,000 times, one that did not at 10⁸ times and more."""


@dataclass(frozen=True)
class Divergence:
    """The first number that went bad."""

    epoch: int  # the epoch, from 1
    step: int  # the step in it, from 1
    what: str  # the terms that are not finite, that the weights are not, or that the loss explodes

    def __str__(self) -> str:
        return f"{self.what} in step {self.step} of epoch {self.epoch}"


class DivergedError(InputError):
    """A training went bad again after it was taken back, at half the learning rate.

    Attributes:
        trouble: What went bad, and where.
        rate: The recipe's learning rate, which is too high.
        kept: What is left to use, as a sentence.
    """

    def __init__(self, title: str, trouble: str, rate: float, kept: str) -> None:
        self.title, self.trouble, self.rate, self.kept = title, trouble, rate, kept
        super().__init__(
            f"{title}: {trouble}, also at half the learning rate; {kept}; "
            f"lower training.learning_rate (now {rate:g}) and train in another folder"
        )

    def __reduce__(self) -> tuple[type[DivergedError], tuple[str, str, float, str]]:
        """From its arguments, not its message: a process that trains sends it to another."""
        return DivergedError, (self.title, self.trouble, self.rate, self.kept)


class Recovery:
    """Watches a training's terms, and takes it back to its last checkpoint once.

    What happened lies in ``recovery.json`` beside the checkpoint: the first trouble, and from
    which epoch on the learning rate is halved. So a resumed training takes the same steps.
    """

    def __init__(
        self, checkpoint: Checkpoint, title: str, recipe: Recipe, steps: int, device: torch.device
    ) -> None:
        self._checkpoint, self._title = checkpoint, title
        self._rate, self._scale = recipe.training.learning_rate, _scale(recipe)
        self._file = checkpoint.path.with_name("recovery.json")
        self._names = names_of_terms(recipe.objective)
        self._terms = torch.zeros(steps, len(self._names), device=device)
        self._again, self._read = False, NonBlockingRead()
        if not checkpoint.path.is_file() and not checkpoint.previous.is_file():
            checkpoint.save(0)
        self._began = float(checkpoint.rows[0][2]) if checkpoint.rows else None
        # The epoch from which on the learning rate is halved, if an earlier sitting noted one.
        self._from: int | None = distributed.from_first(
            lambda: int(read_json(self._file)["epoch"]) if self._file.is_file() else None
        )

    def epochs(self, done: int, epochs: int) -> Iterator[int]:
        """The epochs from ``done`` on, counted from 0; one that was taken back comes again."""
        epoch = done
        while epoch < epochs:
            self._again = False
            self._read = NonBlockingRead()  # what is under way belongs to another epoch
            yield epoch
            epoch += not self._again

    def factor(self, epoch: int) -> float:
        """The factor of the learning rate of an epoch, counted from 0."""
        return FACTOR if self._from is not None and epoch + 1 >= self._from else 1.0

    def broke(self, step: int, terms: Tensor) -> bool:
        """Notes a step's terms (T,), and says now and then whether one so far is not finite."""
        self._terms[step] = terms
        if step % EVERY != EVERY - 1:
            return False
        finite = self._read(self._terms[: step + 1].isfinite().all())
        return finite is not None and not bool(finite)

    def rolled_back(
        self, epoch: int, steps: int, model: nn.Module, say: Callable[[str], None]
    ) -> bool:
        """Restores the last checkpoint if an epoch's numbers went bad.

        They did if a term or the weights are not finite, or if the loss explodes: all through the
        second half of the epoch's steps it is more than 10⁶ times what it was at first, and than
        what it is of embeddings without spread. So a wild step or a high start is no trouble.
        """
        trouble = self._divergence(epoch, steps, model)
        if trouble is None:
            return False
        good = f"{self._checkpoint.path} holds the state after epoch {epoch}"
        if self._from is not None:
            raise DivergedError(self._title, str(trouble), self._rate, good)
        if distributed.is_first():
            write_json(self._file, asdict(trouble) | {"learning_rate_factor": FACTOR})
        self._from, self._again = epoch + 1, True
        if self._checkpoint.restore() != epoch:
            raise InputError(f"{self._title}: {trouble}, and {self._checkpoint.path} is damaged")
        say(
            f"{self._title}: {trouble}; {good}: trying again from there with half the learning rate"
        )
        return True

    def _divergence(self, epoch: int, steps: int, model: nn.Module) -> Divergence | None:
        finite = self._terms[:steps].isfinite().cpu()
        if not finite.all():
            step = int((~finite).any(1).nonzero()[0])
            parts = [n for n, ok in zip(self._names, finite[step].tolist(), strict=True) if not ok]
            named = [part for part in parts if part != "total"] or ["total"]
            verb = "term is not" if len(named) == 1 else "terms are not"
            return Divergence(epoch + 1, step + 1, f"the {' and '.join(named)} {verb} finite")
        state = [t for t in model.state_dict().values() if t.is_floating_point()]
        if not bool(torch.stack([t.isfinite().all() for t in state]).all()):
            return Divergence(epoch + 1, steps, "the weights are not finite")
        return self._explosion(epoch, self._terms[:steps, 0].cpu())

    def _explosion(self, epoch: int, totals: Tensor) -> Divergence | None:
        """The explosion of the loss in an epoch's finite totals (S,), if any; 0: not taken."""
        begun = int((totals != 0).nonzero()[0]) if totals.any() else 0
        if self._began is None:
            self._began = float(totals[begun])
        low = totals[begun:] <= EXPLODED * max(self._began, self._scale)
        if low[len(low) // 2 :].any():
            return None
        last = int(low.nonzero()[-1]) if low.any() else -1
        step = begun + last + 2  # the one after the last that was low, counted from 1
        return Divergence(epoch + 1, step, f"the loss explodes (to {float(totals[-1]):.2g})")


def _scale(recipe: Recipe) -> float:
    """The order of an objective's values: what it is of views that have nothing in common."""
    rows, width = recipe.training.batch_size, recipe.projector.widths[-1]
    z_a, z_b = torch.randn(2, rows, width, generator=torch.Generator().manual_seed(0)).unbind()
    drawn = directions(recipe.objective, width, 0)
    return abs(float(of_recipe(z_a, z_b, recipe.objective, None, *drawn).total))
