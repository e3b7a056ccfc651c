"""Checkpoints: all that is needed to go on after the last whole epoch."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vicinal.errors import InputError
from vicinal.files import replacing

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Where a checkpoint lies and what it holds.

    The random state is not in it: every epoch draws from a generator seeded by
    the run's seed and the epoch's number, so the epoch is state enough. The one
    before it stays beside it, for a disk that loses bytes.
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
        # Whole in memory first: torch's own writer hides that a disk is full.
        whole = io.BytesIO()
        torch.save(state, whole)
        with replacing(self.path) as partial:
            partial.write_bytes(whole.getbuffer())
            if self.path.is_file():
                self.path.replace(self.previous)

    @property
    def previous(self) -> Path:
        """Where the checkpoint before the last one lies."""
        return self.path.with_name(f"previous-{self.path.name}")

    def restore(self) -> int:
        """Loads the last state that can be read, if there is one, and returns the epochs done.

        Raises:
            InputError: If no file is a checkpoint of this model.
        """
        refused = None
        for path in (self.path, self.previous):
            if not path.is_file():
                continue
            try:
                return self._load(path)
            except Exception as error:  # torch.load raises nearly anything on a damaged file
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                refused = refused or InputError(
                    f"{path}: not a checkpoint of this recipe ({reason}); "
                    "remove it to train from the start"
                )
                _LOG.warning("%s: damaged; looking for the one before it", path)
        if refused is not None:
            raise refused
        return 0

    def _load(self, path: Path) -> int:
        # weights_only: a checkpoint may come from a stranger and must not run code.
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        return int(state["epoch"])
