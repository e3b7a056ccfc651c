"""Training curves in TensorBoard or Weights & Biases, through Lightning's loggers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vicinal.errors import InputError, option
from vicinal.recipe import Recipe

if TYPE_CHECKING:
    from lightning.fabric.loggers.logger import Logger

LOGS = ("tensorboard", "wandb")
"""What a training can be logged to; each is an extra of the same name."""


def check_log(log: str | None) -> None:
    """Refuses, before any work, a log that cannot be had.

    Raises:
        InputError: If it is not one of ``LOGS`` or its package is not installed.
    """
    if log is None:
        return
    if log not in LOGS:
        raise InputError(f"{option('log', log)}: give one of {', '.join(LOGS)}")
    if find_spec(log) is None:
        raise InputError(f"{option('log', log)}: not installed; pip install 'vicinal[{log}]'")


@contextmanager
def opened_loggers(log: str | None, folder: Path, recipe: Recipe) -> Iterator[tuple[Logger, ...]]:
    """Yields the loggers of one training, which `vicinal.pretrain` takes, and closes them.

    TensorBoard's event files lie in ``folder`` itself: ``tensorboard --logdir runs`` then calls
    the training by its path. In Weights & Biases the training is a run called by the last two
    parts of the path, in the project that ``WANDB_PROJECT`` names, else ``vicinal``, with the
    recipe as its configuration; ``WANDB_MODE=offline`` keeps it in ``folder``.

    Args:
        log: One of ``LOGS``, or None for no logger at all.
        folder: An existing folder, the training's own.
        recipe: The training's recipe.

    Raises:
        InputError: As `check_log`, or if Weights & Biases refuses the run.
    """
    check_log(log)
    if log is None:
        yield ()
    elif log == "tensorboard":
        from lightning.fabric.loggers.tensorboard import TensorBoardLogger  # slow to import

        board = TensorBoardLogger(root_dir=folder, name="", version="")
        try:
            yield (board,)
        finally:
            board.finalize("success")
    else:
        with _wandb(folder, recipe) as logger:
            yield (logger,)


@contextmanager
def _wandb(folder: Path, recipe: Recipe) -> Iterator[Logger]:
    import wandb
    from lightning.pytorch.loggers.wandb import WandbLogger

    whole = folder.resolve()
    logger = WandbLogger(
        name=f"{whole.parent.name}/{whole.name}",
        group=whole.parent.name,
        save_dir=folder,
        project=os.environ.get("WANDB_PROJECT", "vicinal"),
        config=recipe.model_dump(mode="json"),
    )
    try:
        run = logger.experiment  # opened now: its refusal is better met before the training
    except wandb.errors.Error as error:
        raise InputError(
            f"{option('log', 'wandb')}: {' '.join(str(error).split())}; log in with 'wandb login', "
            "or set WANDB_MODE=offline"
        ) from None
    status = 1
    try:
        yield logger
        status = 0
    finally:
        run.finish(exit_code=status)  # or the next training would go on with this run
