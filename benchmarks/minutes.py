"""Are minutes minutes? Trains for some, beside a neighbour that comes and goes.

    python benchmarks/minutes.py --minutes 2 --data digits
    python benchmarks/minutes.py --minutes 8 --data 'parquet:DATA/cifar10-{split}.parquet'

For each number of busy processes it prints the minutes asked for and used, by what the steps were
ended, the last learning rate as a share of the highest, and how far off the time left was that the
bar showed: the largest error from the first tenth on, as a share of what was really left, while
that was a tenth of the whole or more. The neighbour is there for a sixth of the time at a time.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from neighbours import WORK
from vicinal.files import read_json
from vicinal.study.train import train
from vicinal.training import log, loop


class Guest(threading.Thread):
    """Busy processes that work for ``seconds``, rest for as long, and so on."""

    def __init__(self, count: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self.seconds, self.over = seconds, threading.Event()
        self.processes = [subprocess.Popen([sys.executable, "-c", WORK]) for _ in range(count)]

    def run(self) -> None:
        """Wakes and stops them by turns, and ends them."""
        awake = True
        while not self.over.wait(self.seconds):
            awake = not awake
            for process in self.processes:
                process.send_signal(signal.SIGCONT if awake else signal.SIGSTOP)
        for process in self.processes:
            process.kill()
            process.wait()


def measured(minutes: float, data: str, recipe: str | None, guests: int) -> tuple[str, ...]:
    """One training, as a row of the table."""
    shown: list[tuple[float, float]] = []
    rates: list[float] = []
    advance, set_rate = log.TrainingLog.advance, loop.set_rate

    def advanced(self: log.TrainingLog, *words: object) -> None:
        advance(self, *words)  # type: ignore[arg-type]
        shown.append((self._budget.used(), self._budget.left()))

    def noted(optimizer: object, rate: float) -> None:
        rates.append(rate)
        set_rate(optimizer, rate)  # type: ignore[arg-type]

    log.TrainingLog.advance, loop.set_rate = advanced, noted  # type: ignore[assignment,method-assign]
    guest = Guest(guests, 60 * minutes / 6)
    try:
        with tempfile.TemporaryDirectory() as folder:
            guest.start()
            # So many epochs that the time ends first, however small the set.
            many = ["training.epochs=100000", "training.warmup_epochs=5000"]
            run = Path(folder) / "run"
            train(data, recipe=recipe, settings=many, minutes=minutes, run=run)
            record = read_json(Path(folder) / "run" / "minutes.json")
    finally:
        log.TrainingLog.advance, loop.set_rate = advance, set_rate  # type: ignore[method-assign]
        guest.over.set()
        guest.join()
    whole, used = record["seconds"], record["seconds"] / 60
    wrong = [
        abs(now + left - whole) / (whole - now)
        for now, left in shown
        if 0.1 * whole < now < 0.9 * whole
    ]
    return (
        str(guests),
        f"{minutes:g}",
        f"{used:.2f}",
        f"{used / minutes - 1:+.1%}",
        "steps" if record["steps"] == record["most_steps"] else "time",
        f"{record['steps']:,}",
        f"{rates[-1] / max(rates):.4f}",
        f"{max(wrong, default=0.0):.1%}",
    )


def main() -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--recipe")
    parser.add_argument("--guests", type=int, nargs="*", default=[0, 1, 2], help="Busy processes.")
    asked = parser.parse_args()
    rows = [measured(asked.minutes, asked.data, asked.recipe, n) for n in asked.guests]
    heads = ("guests", "minutes", "used", "off", "ended by", "steps", "last rate", "time left off")
    for row in (heads, ("---",) * len(heads), *rows):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
