"""The log of a training: losses.csv, a progress bar, TensorBoard, Weights & Biases."""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from torch import Tensor

from vicinal import distributed
from vicinal.errors import InputError, StorageError, option
from vicinal.files import replacing
from vicinal.objectives import names_of_terms
from vicinal.recipes.recipe import Objective, Recipe
from vicinal.training.budget import Budget
from vicinal.training.effective_rank import CollapseWatch

if TYPE_CHECKING:
    from lightning.fabric.loggers.logger import Logger


BEFORE, AFTER = ("epoch", "split"), ("seconds", "images_per_second", "rankme")
"""Columns of losses.csv before and after those of the terms."""


def terms_in(row: Iterable[str]) -> list[str]:
    """The columns of a row of losses.csv that are terms."""
    return [name for name in row if name not in (*BEFORE, *AFTER)]


class TrainingLog:
    """Writes one row an epoch and split, and shows the rate, the time left and the terms.

    On ranks but the first it writes and shows nothing.
    """

    def __init__(
        self,
        path: Path,
        title: str,
        *,
        objective: Objective,
        epochs: int,
        budget: Budget,
        rows: Sequence[list[str]] = (),
        quiet: bool = False,
        loggers: Sequence[Logger] = (),
    ) -> None:
        self._path, self._title, self._loggers = path, title, loggers
        self._parts, self._watch = names_of_terms(objective), CollapseWatch(objective)
        self._epochs, self._budget = epochs, budget
        self._writes = distributed.is_first()
        self.rows = list(rows) if self._writes else []
        """The file's rows below its first line."""
        self._begin()
        self._console = Console(stderr=True, quiet=quiet or not self._writes)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rate]:>7,.0f} images/s"),
            TextColumn("{task.fields[left]}", style="progress.remaining"),
            TextColumn("{task.fields[terms]}"),
            console=self._console,
            disable=not (self._writes and self._console.is_terminal),
            transient=True,
        )
        self._task = self._bar.add_task(title, total=1.0, rate=0.0, left="", terms="")
        self._shown, self._tenths = 0.0, -1
        self._read = NonBlockingRead()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, epoch: int, images: int, steps: int, sums: Tensor, seconds: float) -> None:
        """Moves the bar on; reads the sums (T,) of the terms rarely, and never waits for them."""
        if self._bar.disable or time.monotonic() - self._shown < 0.3:
            return
        self._shown = time.monotonic()
        self._bar.update(
            self._task,
            description=f"{self._title} {self._number(epoch)}",
            completed=self._budget.share(),
            rate=steps * images / seconds,
            left=_brief_time(self._budget.left()),
        )
        means = self._read(sums / steps)
        if means is not None:
            self._bar.update(self._task, terms=_brief(named(means, self._parts)))

    def record(
        self, epoch: int, split: str, terms: Mapping[str, float], seconds: float, images: int
    ) -> None:
        """Appends the mean terms of an epoch; ``rankme`` in ``terms`` is their effective rank."""
        if not self._writes:
            return
        figures = (terms[name] for name in self._parts)
        rate = images / seconds
        rank = terms.get("rankme", math.nan)
        row = [str(epoch), split, *(f"{x:.6g}" for x in figures), f"{seconds:.3f}", f"{rate:.1f}"]
        self._append([*row, "" if math.isnan(rank) else f"{rank:.4g}"])
        if line := self._watch.fell(rank):
            self.say(f"{self._title} epoch {epoch}: {line}")
        figured = {name: terms[name] for name in self._parts} | {"images_per_second": rate}
        for logger in self._loggers:
            logger.log_metrics({f"{split}/{name}": x for name, x in figured.items()}, step=epoch)
            logger.save()
        if self._bar.disable and split == "train" and self._worth_a_line(epoch):
            self.say(
                f"{self._title} epoch {self._number(epoch)}  {rate:,.0f} images/s  "
                + _brief({name: terms[name] for name in self._parts})
            )

    def say(self, line: str) -> None:
        """Shows a line that matters, above the bar if there is one."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _append(self, row: list[str]) -> None:
        """Adds a row on disk; only a file that is still there, with its first line, is added to."""
        self.rows.append(row)
        try:
            with self._path.open("r+", newline="", encoding="utf-8") as file:
                file.seek(0, os.SEEK_END)
                csv.writer(file).writerow(row)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(self._path, error.strerror or str(error)) from error

    def _number(self, epoch: int) -> str:
        """An epoch, and of how many, unless the minutes choose that."""
        return f"{epoch}/{self._epochs}" if self._budget.minutes is None else f"{epoch}"

    def _worth_a_line(self, epoch: int) -> bool:
        # Without a terminal, about ten lines a training: enough to see it live, not a flood.
        if self._budget.minutes is not None:
            before, self._tenths = self._tenths, int(10 * self._budget.share())
            return self._tenths > before
        return epoch == self._epochs or epoch % max(1, self._epochs // 10) == 0

    def _begin(self) -> None:
        """Writes the rows so far anew, whatever an interrupted run left in the file."""
        if not self._writes:
            return
        for row in self.rows:
            if row[1] == "test" and row[-1]:
                self._watch.fell(float(row[-1]))
        with (
            replacing(self._path) as partial,
            partial.open("w", newline="", encoding="utf-8") as file,
        ):
            csv.writer(file).writerows([(*BEFORE, *self._parts, *AFTER), *self.rows])


class NonBlockingRead:
    """Looks at numbers on a device without waiting for them: the last ones that have arrived."""

    def __init__(self) -> None:
        self._coming: tuple[Tensor, torch.cuda.Event] | None = None

    def __call__(self, values: Tensor) -> Tensor | None:
        """Numbers on the CPU: on CUDA those of an earlier call, or None while none are there."""
        if values.device.type != "cuda":
            return values
        arrived = None
        if self._coming is not None:
            copy, event = self._coming
            if not event.query():  # type: ignore[no-untyped-call]
                return None
            arrived = copy
        # Into pinned memory, which torch allots to such a copy: the host goes on meanwhile.
        copy = values.to("cpu", non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._coming = copy, event
        return arrived


def named(values: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Terms (T,) by name."""
    return dict(zip(names, values.tolist(), strict=True))


def _brief_time(seconds: float) -> str:
    """A time to come, as 0:05:30; nothing where it is not known."""
    return "" if math.isnan(seconds) else str(timedelta(seconds=round(seconds)))


def _brief(terms: Mapping[str, float]) -> str:
    names = {"total": "loss", "invariance": "inv", "variance": "var", "covariance": "cov"}
    return "  ".join(f"{names.get(name, name)} {value:.3g}" for name, value in terms.items())


LOGS = ("tensorboard", "wandb")
"""Loggers of a training; each is an extra of the same name."""


def check_log(log: str | None) -> None:
    """Refuses, before any work, a log that cannot be had."""
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
