"""When numbers go bad: find the step and the term, go back once with half the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from vicinal import ranks
from vicinal.errors import InputError
from vicinal.files import read_json, write_json
from vicinal.training.checkpoint import Checkpoint
from vicinal.training.log import PARTS, Glance

EVERY = 100
"""Steps between two looks at the terms; on a GPU a look sees what has arrived since the last."""
FACTOR = 0.5
"""What a retry multiplies the learning rate by."""


@dataclass(frozen=True)
class Trouble:
    """The first number that was not finite.

    Attributes:
        epoch: The epoch, from 1.
        step: The step in it, from 1.
        what: The terms that were not finite, or that the weights were not.
    """

    epoch: int
    step: int
    what: str

    def __str__(self) -> str:
        return f"{self.what} not finite in step {self.step} of epoch {self.epoch}"


class Recovery:
    """Watches a training's terms, and takes it back to its last checkpoint once.

    What happened lies in ``recovery.json`` beside the checkpoint: the first trouble, and from
    which epoch on the learning rate is halved. So a resumed training takes the same steps.

    Args:
        checkpoint: The training's; one of no epoch is written if there is none yet, for a
            first epoch that goes wrong.
        title: What messages call this training.
        rate: The recipe's learning rate, for messages.
        steps: Steps in an epoch.
        device: Where the terms lie.
    """

    def __init__(
        self, checkpoint: Checkpoint, title: str, rate: float, steps: int, device: torch.device
    ) -> None:
        self._checkpoint, self._title, self._rate = checkpoint, title, rate
        self._file = checkpoint.path.with_name("recovery.json")
        self._terms = torch.zeros(steps, len(PARTS), device=device)
        self._again, self._glance = False, Glance()
        if not checkpoint.path.is_file() and not checkpoint.previous.is_file():
            checkpoint.save(0)
        self._from: int | None = None
        self._from = ranks.from_first(self._noted)

    def epochs(self, done: int, epochs: int) -> Iterator[int]:
        """The epochs from ``done`` on, counted from 0; one that was taken back comes again."""
        epoch = done
        while epoch < epochs:
            self._again, self._glance = False, Glance()  # what is under way was of another epoch
            yield epoch
            epoch += not self._again

    def factor(self, epoch: int) -> float:
        """What the learning rate of an epoch, counted from 0, is multiplied by."""
        return FACTOR if self._from is not None and epoch + 1 >= self._from else 1.0

    def broke(self, step: int, terms: Tensor) -> bool:
        """Notes a step's terms (4,), and says now and then whether one so far is not finite."""
        self._terms[step] = terms
        if step % EVERY != EVERY - 1:
            return False
        finite = self._glance(self._terms[: step + 1].isfinite().all())
        return finite is not None and not bool(finite)

    def took_back(
        self, epoch: int, steps: int, model: nn.Module, say: Callable[[str], None]
    ) -> bool:
        """Restores the last checkpoint if an epoch's terms or the weights are not finite.

        Args:
            epoch: The epoch, from 0.
            steps: Steps taken in it.
            model: Networks as they are after those.
            say: Shows a line.

        Returns:
            Whether the epoch has to be done again.

        Raises:
            InputError: If the training has been taken back before, or the checkpoint is damaged.
        """
        trouble = self._trouble(epoch, steps, model)
        if trouble is None:
            return False
        good = f"{self._checkpoint.path} holds the state after epoch {epoch}"
        if self._from is not None:
            raise InputError(
                f"{self._title}: {trouble}, also at half the learning rate; {good}; "
                f"lower training.learning_rate (now {self._rate:g}) and train in another folder"
            )
        if ranks.is_first():
            write_json(self._file, asdict(trouble) | {"learning_rate_factor": FACTOR})
        self._from, self._again = epoch + 1, True
        if self._checkpoint.restore() != epoch:
            raise InputError(f"{self._title}: {trouble}, and {self._checkpoint.path} is damaged")
        say(f"{self._title}: {trouble}; {good}: once more from there at half the learning rate")
        return True

    def _noted(self) -> int | None:
        """The epoch from which on the learning rate is halved, if an earlier sitting noted one."""
        return int(read_json(self._file)["epoch"]) if self._file.is_file() else None

    def _trouble(self, epoch: int, steps: int, model: nn.Module) -> Trouble | None:
        finite = self._terms[:steps].isfinite().cpu()
        if not finite.all():
            step = int((~finite).any(1).nonzero()[0])
            parts = [n for n, ok in zip(PARTS, finite[step].tolist(), strict=True) if not ok]
            named = [part for part in parts if part != "total"] or ["total"]
            verb = "term is" if len(named) == 1 else "terms are"
            return Trouble(epoch + 1, step + 1, f"the {' and '.join(named)} {verb}")
        state = [t for t in model.state_dict().values() if t.is_floating_point()]
        if not bool(torch.stack([t.isfinite().all() for t in state]).all()):
            return Trouble(epoch + 1, steps, "the weights are")
        return None
