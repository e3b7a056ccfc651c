"""The budget of a training, in steps or minutes, and its progress."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vicinal import distributed
from vicinal.errors import InputError, option
from vicinal.files import read_json, write_json
from vicinal.recipes.recipe import Training

LOOKS = 1000
"""About so many times a training looks at the clock, evenly over what it may take."""
KEEP = 30.0
"""Seconds between two checkpoints within an epoch of a training that has minutes."""
REFERENCE = 0.02
"""The share of the minutes by which it is known how fast the machine is as a training begins."""
SMALL = 5_000
"""A smaller set is passed over more often, for as many steps as one of so many images takes."""


def check_minutes(minutes: float | None) -> None:
    """Refuses minutes that no training can take."""
    if minutes is not None and not (isinstance(minutes, int | float) and 0 < minutes < math.inf):
        raise InputError(f"{option('minutes', minutes)}: give the training some time")


def sets_epochs(settings: Iterable[str]) -> bool:
    """Whether a user's settings say how many epochs there are."""
    return any(setting.partition("=")[0].strip() == "training.epochs" for setting in settings)


def most_epochs(
    training: Training, images: int, minutes: float | None, settings: Iterable[str] = ()
) -> int:
    """Passes over the images, at most: the recipe's, or where minutes choose, what is worth it.

    The recipe's are meant for `SMALL` images and more. With minutes fewer images are passed over
    more often, until as many steps are taken, unless the user's settings say how often.
    """
    if minutes is None or sets_epochs(settings):
        return training.epochs
    batch = min(training.batch_size, images)
    steps = max(1, images // batch)
    return math.ceil(training.epochs * max(steps, SMALL // batch) / steps)


Clock = Callable[[], float]
"""Tells seconds that never go back."""
Looks = Sequence[tuple[int, float, float]]
"""Steps taken, seconds used and the place in the schedule at each reading of the clock."""


def read_looks(path: Path) -> Looks:
    """The looks at the clock of a training that has ended, from its ``minutes.json``."""
    return [(int(step), seconds, place) for step, seconds, place in read_json(path)["looks"]]


class Budget:
    """The budget of a training, and the place in its schedule.

    Places are counted in steps. Without minutes the place is the number of steps taken. With
    minutes it is that number, or the share of the minutes used of all steps, whichever is more:
    the learning rate and its warm-up follow the time used, the schedule ends when the time does,
    and a training whose steps are all taken before ends early. What comes after the last step, a
    pass over the test images and a checkpoint, is part of the minutes.

    The clock is looked at `LOOKS` times or so, by the first rank for all, and the place stays what
    it is in between. So it is a function of the looks alone, which are kept.
    """

    def __init__(
        self,
        epochs: int,
        steps: int,
        *,
        minutes: float | None = None,
        closing: float = 0.0,
        looks: Looks | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.steps = epochs * steps
        """Steps that are taken if the time allows."""
        self.minutes = minutes
        self._epoch_steps, self._closing, self._clock = steps, closing, clock
        self._seconds = math.inf if minutes is None else 60 * minutes
        self._began, self._earlier = clock(), 0.0
        self._taken, self._place = 0, 0.0
        self._kept = self._began
        self._closed = 0.0  # seconds that came after epochs
        self._after = 0.0  # seconds of what comes after the training, on the machine as it began
        self._each_then: float | None = None  # seconds of a step then
        self._repeated = looks
        self._due = 0.0 if looks is None else looks[0][0]
        self._looks: list[tuple[int, float, float]] = []
        # Steps, and the seconds that they have taken, at the looks of late: over a tenth of all.
        self._recent: deque[tuple[int, float]] = deque()

    def hold_back(self, estimate: Callable[[Clock], float]) -> None:
        """Holds back the time of what comes after the training, half of the minutes at most.

        It is estimated now, and is longer or shorter by as much as steps become.
        """
        if self.minutes is not None and self._repeated is None and distributed.is_first():
            self._after = estimate(self._clock)

    def used(self) -> float:
        """Seconds that the training has taken so far, those of earlier sittings too."""
        return self._earlier + self._clock() - self._began

    def place(self, step: int) -> float:
        """The place in the schedule of a step, counted from 0: from 0 to below ``steps``."""
        self._taken = step
        if not self._recent:
            self._recent.append((step, self._working()))
        return max(self._place, float(step))

    def over(self, step: int) -> bool:
        """Whether the training ends after so many steps; looks at the clock if that is due."""
        self._taken = step
        if step >= self._due or step >= self.steps:
            self._look(step)
        return step >= self.steps or self._place >= self.steps

    def within(self, epochs: Iterable[int]) -> Iterator[int]:
        """The epochs, as long as there is time for one."""
        for epoch in epochs:
            if self._place >= self.steps:
                return
            yield epoch

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Measures what comes after an epoch's last step."""
        began = self._clock()
        yield
        self._kept = self._clock()
        self._closed += self._kept - began
        if self._each():
            # Counted in steps, so that a machine that has become slower is slower here too.
            self._closing = (self._kept - began) / self._each()

    def due(self) -> bool:
        """Whether a training that has minutes should keep what it has come to, within an epoch."""
        now = self._clock()
        if self.minutes is None or now - self._kept < KEEP:
            return False
        self._kept = now
        return True

    def share(self) -> float:
        """How much of the training is done, from 0 to 1."""
        by_steps = self._taken / self.steps
        return min(1.0, max(by_steps, self.used() / self._span()))

    def left(self) -> float:
        """Seconds that the training will go on for, by its recent pace; NaN if unknown."""
        by_clock = self._span() - self.used()
        if len(self._recent) < 2:
            return by_clock if self.minutes is not None else math.nan
        rest = self.steps - self._taken
        closings = rest // self._epoch_steps + 1
        return max(0.0, min(by_clock, self._each() * (rest + closings * self._closing)))

    def end(self, path: Path, say: Callable[[str], None]) -> None:
        """Writes what the minutes were used for, and each look at the clock, as JSON; says it."""
        if self.minutes is None or not distributed.is_first():
            return
        step = self._looks[-1][0] if self._looks else 0
        used, epochs = self.used(), step / self._epoch_steps
        record = {
            "minutes": self.minutes,
            "seconds": round(used, 3),
            "steps": step,
            "epochs": round(epochs, 3),
            "most_steps": self.steps,
            "looks": [[a, round(b, 3), c] for a, b, c in self._looks],
        }
        write_json(path, record)
        passes = f"{step:,} steps, {epochs:,.1f} passes over the images"
        whole = step >= self.steps
        say(
            f"{used / 60:.3g} of {self.minutes:.3g} minutes: {passes}"
            + ("; the recipe takes no more for so few pictures" if whole else "")
        )

    def state_dict(self) -> dict[str, Any]:
        """The state that a resumed training needs."""
        return {"seconds": self.used(), "place": self._place, "looks": list(self._looks)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what an earlier sitting left; time that has been used stays used."""
        self._earlier += max(0.0, state.get("seconds", 0.0) - self.used())
        self._place = max(self._place, state.get("place", 0.0))
        self._looks = [(int(a), float(b), float(c)) for a, b, c in state.get("looks", [])]

    def _look(self, step: int) -> None:
        """Reads the clock, and has all ranks know the place and when to look again."""
        self._recent.append((step, self._working()))
        self._refer()
        while len(self._recent) > 2 and self._old(*self._recent[0]):
            self._recent.popleft()
        if self.minutes is None:
            self._due = step + max(1, self.steps // LOOKS)
            return
        if self._repeated is not None:
            self._place = next(place for at, _, place in self._repeated if at >= step)
            self._due = next((at for at, _, _ in self._repeated if at > step), self.steps)
        else:
            reading = torch.tensor([self._timed_place(step), self._next(step)], dtype=torch.float64)
            self._place, self._due = distributed.firsts(reading).tolist()
        self._looks.append((step, self.used(), self._place))

    def _span(self) -> float:
        """Seconds that the training itself may take: without what comes after it."""
        slower = 1.0 if self._each_then is None else self._each() / self._each_then
        return self._seconds - min(self._after * slower, self._seconds / 2)

    def _refer(self) -> None:
        """Notes how fast the machine is as the training begins, once that is known.

        The first step is left out: it chooses kernels.
        """
        if self._each_then is not None or len(self._recent) < 3:
            return
        (first, began), (last, ended) = self._recent[1], self._recent[-1]
        if ended - began >= REFERENCE * self._seconds:
            self._each_then = (ended - began) / (last - first)

    def _timed_place(self, step: int) -> float:
        """The place in the schedule after so many steps, by this rank's clock."""
        each, used = self._each(), self.used()
        whole = self._span() - each * self._closing
        if used + each / 2 >= whole:  # half of another step would be too late
            return float(self.steps)
        return max(self._place, float(step), self.steps * used / whole)

    def _next(self, step: int) -> float:
        """The number of steps after which to look at the clock again."""
        (before, began), (_, ended) = self._recent[-2], self._recent[-1]
        taken, seconds = step - before, ended - began
        wanted = taken * self._seconds / LOOKS / seconds if seconds > 0 else math.inf
        # At most twice as many as before: the first steps on a GPU are started, not taken.
        return step + max(1.0, math.floor(min(2 * taken, wanted)))

    def _old(self, step: int, seconds: float) -> bool:
        """Whether a look was before the last tenth of what the training may take."""
        if self.minutes is None:
            return self._taken - step > self.steps / 10
        return self._working() - seconds > self._seconds / 10

    def _working(self) -> float:
        """Seconds that the steps of this sitting have taken."""
        return self.used() - self._closed

    def _each(self) -> float:
        """Seconds that a step has taken of late."""
        if not self._recent:
            return 0.0
        (first, began), (last, ended) = self._recent[0], self._recent[-1]
        return (ended - began) / max(1, last - first)
