"""Does memory stay flat? Trains for some minutes and opens the store again and again.

    python benchmarks/soak.py --minutes 30 --data cifar10

The resident memory is sampled every two seconds from the first epoch's end on (before that,
buffers still grow), and its greatest rise over the first tenth of the samples is printed with
the number of open files before and after 200 open-close cycles of the store. Exits with status 1
if the memory rises by more than five per cent or a file stays open.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from PIL import Image

from vicinal.errors import InputError
from vicinal.images import load
from vicinal.recipes import override, read_recipe
from vicinal.training.device import open_engine
from vicinal.training.loop import pretrain
from vicinal.training.train_encoder import data_of_arrays

ALLOWED = 1.05
CYCLES = 200
EVERY = 2.0
PAGE = os.sysconf("SC_PAGE_SIZE")


class _TimeIsUpError(Exception):
    pass


class Sampler(threading.Thread):
    """Samples the resident memory, in MiB, once ``file`` has a second line (an epoch is done)."""

    def __init__(self, file: Path) -> None:
        super().__init__(daemon=True)
        self.file = file
        self.samples: list[float] = []
        self.over = threading.Event()

    def run(self) -> None:
        """Samples until told that it is over."""
        while not self.over.wait(EVERY):
            if self.samples or (
                self.file.is_file() and len(self.file.read_text("utf-8").splitlines()) > 2
            ):
                pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
                self.samples.append(pages * PAGE / 2**20)


def train(minutes: float, data: str, recipe_name: str, limit: int | None) -> list[float]:
    """Resident memory in MiB over a training of so many minutes."""
    recipe = override(read_recipe(recipe_name), ["training.epochs=100000"])
    splits = load(data, size=recipe.views.size, seed=recipe.seed, limit=limit)
    engine = open_engine("auto", recipe.training.precision)
    until = time.monotonic() + 60 * minutes

    class Stop:
        """A logger that ends the training when its time is up."""

        def log_metrics(self, metrics: object, step: int) -> None:
            if time.monotonic() > until:
                raise _TimeIsUpError

        def save(self) -> None:
            pass

    with tempfile.TemporaryDirectory() as folder:
        sampler = Sampler(Path(folder) / "losses.csv")
        sampler.start()
        try:
            data = data_of_arrays(recipe, splits.train.pixels, splits.test.pixels)
            pretrain(
                data.train,
                data.test,
                recipe,
                Path(folder),
                engine.fabric,
                epochs=recipe.training.epochs,
                title="soak",
                loggers=[Stop()],  # type: ignore[list-item]
            )
        except _TimeIsUpError:
            pass
        finally:
            sampler.over.set()
            sampler.join()
    return sampler.samples


def open_and_close() -> tuple[int, int]:
    """Open files before and after `CYCLES` openings of the same store, let go each time."""
    with tempfile.TemporaryDirectory() as folder:
        pictures, store = Path(folder, "pictures"), Path(folder, "store")
        pictures.mkdir()
        for number in range(64):
            Image.new("RGB", (32, 32), (4 * number, 0, 0)).save(pictures / f"{number}.png")
        counts = []
        for cycle in range(CYCLES + 1):
            splits = load(f"folder:{pictures}", size=32, data_dir=store)
            splits.train.pixels.sum()
            del splits
            if cycle in (0, CYCLES):
                gc.collect()
                counts.append(len(os.listdir("/proc/self/fd")))
    return counts[0], counts[1]


def main() -> None:
    """Prints both figures, and says by the exit status whether they are as they should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--recipe", default="laptop")
    parser.add_argument("--limit", type=int)
    asked = parser.parse_args()
    try:
        samples = train(asked.minutes, asked.data, asked.recipe, asked.limit)
    except InputError as error:
        sys.exit(f"soak: {error}")
    before, after = open_and_close()
    print(f"{CYCLES} openings of the store: {before} open files before, {after} after")
    if len(samples) < 10:
        sys.exit(f"soak: only {len(samples)} samples after the first epoch; give more --minutes")
    first = statistics.median(samples[: max(1, len(samples) // 10)])
    rise = max(samples) / first
    print(
        f"{asked.recipe} on {asked.data}, {asked.minutes:g} minutes, {len(samples)} samples: "
        f"{first:,.0f} MiB after the first epoch, at most {max(samples):,.0f} MiB "
        f"({rise - 1:+.1%}), {samples[-1]:,.0f} MiB at the end"
    )
    sys.exit(rise > ALLOWED or after > before)


if __name__ == "__main__":
    main()
