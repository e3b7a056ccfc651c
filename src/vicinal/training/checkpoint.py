"""Checkpoints: all that is needed to go on after the last whole epoch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vicinal.errors import InputError
from vicinal.files import replacing


@dataclass(frozen=True)
class Checkpoint:
    """Where a checkpoint lies and what it holds.

    The random state is not in it: every epoch draws from a generator seeded by
    the run's seed and the epoch's number, so the epoch is state enough.
    """

    path: Path
    model: nn.Module
    optimizer: torch.optim.Optimizer

    def save(self, epoch: int) -> None:
        """Writes the state after ``epoch`` epochs."""
        state = {
            "epoch": epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with replacing(self.path) as partial:
            torch.save(state, partial)

    def restore(self) -> int:
        """Loads the last state, if there is one, and returns the epochs done.

        Raises:
            InputError: If the file is not a checkpoint of this model.
        """
        if not self.path.is_file():
            return 0
        try:
            # weights_only: a checkpoint may come from a stranger and must not run code.
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            return int(state["epoch"])
        except Exception as error:  # torch.load raises nearly anything on a damaged file
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"{self.path}: not a checkpoint of this recipe ({reason}); "
                "remove it to train from the start"
            ) from error
