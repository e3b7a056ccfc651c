"""Fits the number of threads to the machine while a training runs.

An operator split among threads ends when its slowest thread does. Where another process has one
of the cores, each of the hundreds of operators of a step waits for it, and a training with fewer
threads is many times as fast.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from vicinal import cores, distributed
from vicinal.cores import fitting
from vicinal.errors import number_of, option, readable
from vicinal.files import read_rows, write_csv

T = TypeVar("T")
Place = tuple[int, int]
"""An epoch and a step of it, from 0."""

EVERY = 1.0
"""Seconds between two looks."""
SOON = 2.0
"""Seconds for which a look has to say that another number fits, before it is tried."""
LATE = 60.0
"""The same at most: the time doubles whenever a trial was for nothing."""
LASTS = 20.0
"""How many times as long a number has to last for the trial to have been worth it."""
TRIED = 0.25
"""Seconds of steps, at least, by which a number is judged; whole steps, at least one."""
WORSE = 1.05
"""Steps that take so many times as long are slower; noise is less."""
HOPELESS = 3.0
"""A first step that takes so many times as long is slower, new kernels or not."""


class Pace:
    """How many threads a training has: chosen between steps, by looks and by the steps' own time.

    A look is free. Where it says for some seconds that another number would fit, the next steps
    are taken with that number, and it is kept unless they are slower than those before. So
    nothing changes on a quiet machine, and a trial costs no more than what its steps lose.
    """

    def __init__(
        self,
        most: int,
        now: int,
        count: float,
        taken: Callable[[], float],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.now = now
        self._most, self._count, self._taken, self._clock = most, count, taken, clock
        self._patience = {"fewer": SOON, "more": SOON}
        self._changed = self._looked = self._ended = clock()
        self._steps, self._wanted = 0, 0.0
        self._trial: _Trial | None = None
        taken()

    def pause(self) -> None:
        """Leaves out the time since the last step, such as that of an epoch's test."""
        now = self._clock()
        self._looked += now - self._ended
        self._ended = now

    def after_step(self) -> int:
        """How many threads the next step has."""
        now = self._clock()
        seconds, self._ended = now - self._ended, now
        self._steps += 1
        if self._trial is not None:
            self._judge(self._trial, seconds)
        elif now - self._looked >= EVERY:
            self._look(now)
        return self.now

    def _look(self, now: float) -> None:
        """Begins a trial if another number has fitted for long enough."""
        seconds = now - self._looked
        each = seconds / self._steps
        wanted = fitting(self._most, self._count, self._taken(), self.now)
        self._looked, self._steps = now, 0
        self._wanted = 0.0 if wanted == self.now else self._wanted + seconds
        way = "fewer" if wanted < self.now else "more"
        if self._wanted >= self._patience[way]:
            self._trial = _Trial(way, self.now, each)
            self.now = wanted

    def _judge(self, trial: _Trial, seconds: float) -> None:
        """Counts a step of a trial, and ends it once it is clear what came of it."""
        trial.add(seconds)
        worse = trial.worse()
        if worse is None:
            return
        self._trial = None
        if worse:
            self.now = trial.threads
            self._wait_longer(trial.way)
        else:
            # More threads that had to be given up again soon came back too early.
            lasted, self._changed = self._ended - self._changed, self._ended
            if trial.way == "fewer" and lasted < LASTS * self._patience["more"]:
                self._wait_longer("more")
            elif trial.way == "fewer":
                self._patience["more"] = SOON
            self._patience[trial.way] = SOON if trial.way == "fewer" else self._patience["more"]
        self._start_over()

    def _wait_longer(self, way: str) -> None:
        self._patience[way] = min(LATE, 2 * self._patience[way])

    def _start_over(self) -> None:
        """Forgets what was seen with another number of threads."""
        self._looked, self._steps, self._wanted = self._ended, 0, 0.0
        self._taken()


@dataclass
class _Trial:
    """Another number of threads, tried."""

    way: str
    threads: int
    before: float
    first: float | None = None
    seconds: float = 0.0
    steps: int = 0

    def add(self, seconds: float) -> None:
        """Counts a step."""
        if self.first is None:
            self.first = seconds
        else:
            self.seconds, self.steps = self.seconds + seconds, self.steps + 1

    def worse(self) -> bool | None:
        """Whether steps take longer than before; None while that is not clear."""
        if self.steps == 0:
            assert self.first is not None
            return True if self.first > max(HOPELESS * self.before, EVERY) else None
        if self.seconds < TRIED:
            return None
        return self.seconds / self.steps > WORSE * self.before


class Threads:
    """The threads of one training: chosen by `Pace`, written down, and the same when it goes on.

    ``threads.csv`` has a row for each number (epoch, step, threads), both from 1, which holds from
    that step on. A resumed training takes what is on record there for steps that it takes again.
    """

    def __init__(
        self,
        path: Path,
        device: torch.device,
        title: str,
        say: Callable[[str], None],
        sides: int = 1,
    ) -> None:
        self._path, self._title, self._say, self._sides = path, title, say, sides
        ranks = distributed.world_size()
        self._chosen = device.type == "cpu" and ranks == 1
        # Ranks keep to their threads; the first one's are written down, for all have as many.
        self._kept = device.type == "cpu" and ranks > 1 and distributed.is_first()
        self._rows = _read(path)
        self._pace: Pace | None = None

    def between(self, steps: Iterable[T], epoch: int, first: int) -> Iterator[T]:
        """Hands on what each step of an epoch takes, and sets the number of threads before it."""
        if self._kept and _at(self._rows, (epoch, first)) != cores.threads():
            self._write((epoch, first), cores.threads())
        if not self._chosen:
            yield from steps
            return
        if self._pace is not None:
            self._pace.pause()
        coming = iter(steps)
        for step in itertools.count(first):
            self._set((epoch, step), begun=step > first)
            try:
                batch = next(coming)  # its views are made with the step's threads, too
            except StopIteration:
                return
            yield batch

    def _set(self, place: Place, *, begun: bool) -> None:
        number = self._number(place, begun=begun)
        if number != cores.threads():
            cores.change(number)
        known = _at(self._rows, place)
        if known != number:
            if known is not None:
                self._say(f"{self._title} {_change_note(place, number, known)}")
            self._write(place, number)

    def _write(self, place: Place, number: int) -> None:
        self._rows = [*(row for row in self._rows if row[0] != place), (place, number)]
        rows = [(epoch + 1, step + 1, n) for (epoch, step), n in sorted(self._rows)]
        write_csv(self._path, COLUMNS, rows)

    def _number(self, place: Place, *, begun: bool) -> int:
        """The number on record for a step that is taken again, else the chosen one."""
        sides, most = self._sides, max(1, cores.most() // self._sides)
        if cores.held() is not None:
            return most
        if self._pace is None or any(row[0] >= place for row in self._rows):
            number = min(_at(self._rows, place) or most, most)
            taken = lambda: cores.taken() / sides  # noqa: E731
            self._pace = Pace(most, number, cores.count() / sides, taken)
            return number
        return self._pace.after_step() if begun else self._pace.now


COLUMNS = ("epoch", "step", "threads")


def _read(path: Path) -> list[tuple[Place, int]]:
    """The rows of the file, in order; none if there is no file."""
    if not path.is_file():
        return []
    rows = [[int(row[name]) for name in COLUMNS] for row in read_rows(path)]
    return [((epoch - 1, step - 1), number) for epoch, step, number in rows]


def _at(rows: Iterable[tuple[Place, int]], place: Place) -> int | None:
    """The number on record for a place; None where there is none yet."""
    before = [row for row in rows if row[0] <= place]
    return max(before)[1] if before else None


def _change_note(place: Place, number: int, known: int) -> str:
    epoch, step = place
    named = number_of(number, "thread")
    keeps = option("set_threads", command="--threads")
    return readable(
        f"epoch {epoch + 1}, step {step + 1}: {named}, no longer {known}, as other processes come "
        f"and go; {keeps} keeps one number, and with it the same bytes every time"
    )
