"""Checkpoints: all that is needed to go on after the last whole epoch."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vicinal import distributed
from vicinal.errors import InputError, begun_by
from vicinal.files import replacing
from vicinal.recipes.recipe import Recipe
from vicinal.training.batches import Position
from vicinal.training.budget import Budget

_LOG = logging.getLogger(__name__)


@dataclass
class Checkpoint:
    """All that is needed to go on after the last whole epoch, or within one.

    The random state is not in it: every epoch draws from a generator seeded by
    the run's seed and the epoch's number, so the epoch is state enough. Within an
    epoch the position has that generator's state. The checkpoint before the last
    stays beside it, for a disk that loses bytes.
    """

    path: Path
    model: nn.Module  # what is trained
    optimizer: torch.optim.Optimizer  # what trains it
    budget: Budget | None = None  # what the training may take, and how far it is
    # the rows of ``losses.csv`` that belong to the state restored: a file that was cut short or
    # removed is written again from them
    rows: list[list[str]] = field(default_factory=list)
    # the fields of the `Position` restored, if the state is one within an epoch
    within: dict[str, Any] = field(default_factory=dict)

    def save(
        self, epoch: int, rows: Sequence[list[str]] = (), position: Position | None = None
    ) -> None:
        """Writes the state after ``epoch`` epochs with the losses ``rows``, on the first rank."""
        if not distributed.is_first():
            return
        state = {
            "epoch": epoch,
            **self._state(),
            "losses": list(rows),
            "within": {} if position is None else vars(position),
        }
        # Whole in memory first: torch's own writer hides that a disk is full.
        whole = io.BytesIO()
        torch.save(state, whole)
        with replacing(self.path) as partial:
            partial.write_bytes(whole.getbuffer())
            if self.path.is_file():
                self.path.replace(self.previous)

    @property
    def previous(self) -> Path:
        """The file of the checkpoint before the last one."""
        return self.path.with_name(f"previous-{self.path.name}")

    def restore(self) -> int:
        """Loads the last state that can be read, if there is one, and returns the epochs done.

        Of several ranks the first reads the file, which the others need not see.
        """
        if distributed.world_size() == 1:
            return self._restore()

        def state() -> tuple[int, dict[str, Any], dict[str, Any]]:
            done = self._restore()
            return done, self._state(), self.within

        done, firsts, within = distributed.from_first(state)
        if not distributed.is_first():
            self._take(firsts)
            self.within = within
        return done

    def position(self) -> Position | None:
        """Where to go on within the epoch restored, given once; None for its beginning."""
        within, self.within = self.within, {}
        return Position(**within) if within else None

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "budget": {} if self.budget is None else self.budget.state_dict(),
        }

    def _take(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        # Its settings are the recipe's: the file may come from another device, whose are others.
        settings = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict(state["optimizer"] | {"param_groups": settings})
        if self.budget is not None:
            self.budget.load_state_dict(state.get("budget", {}))

    def _restore(self) -> int:
        """Loads the last state on this rank, see `restore`."""
        refused = None
        for path in (self.path, self.previous):
            if not path.is_file():
                continue
            try:
                return self._load(path)
            except Exception as error:  # torch.load raises nearly anything on a damaged file
                refused = refused or InputError(
                    f"{path}: not a checkpoint of this recipe ({begun_by(error)}); "
                    "remove it to train from the start"
                )
                _LOG.warning("%s: damaged; looking for the one before it", path)
        if refused is not None:
            raise refused
        return 0

    def _load(self, path: Path) -> int:
        # weights_only: a checkpoint may come from a stranger and must not run code.
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        self._take(state)
        self.rows = state.get("losses", [])
        self.within = state.get("within", {})
        return int(state["epoch"])


def worth_keeping(
    done: int, steps: int, recipe: Recipe, budget: Budget, sums: Tensor, model: nn.Module
) -> bool:
    """Whether a checkpoint is due after ``done`` of an epoch's steps; its end has one anyway.

    Not of numbers gone bad: a training that is taken back needs one from before.
    """
    every = recipe.training.checkpoint_steps
    if done == steps or not (budget.due() or (every and done % every == 0)):
        return False
    return all(bool(t.isfinite().all()) for t in (sums, *model.parameters()))
