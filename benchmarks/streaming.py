"""Streams against arrays: memory as the number of images grows, and throughput.

`python benchmarks/streaming.py [IMAGES ...]`, by default 10⁴, 10⁵ and 10⁶ of 32 × 32 pixels;
each number is measured in a process of its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from measuring import extra_memory, section, table
from vicinal.images.shards import open_shards, write_shards
from vicinal.recipes import override, read_recipe
from vicinal.training.batches import BatchSource, StreamBatches
from vicinal.training.device import open_engine
from vicinal.training.loop import ArrayBatches, pretrain
from vicinal.views import Augment, GeneratedNeighbours

SIZE, BATCH, BUFFER = 32, 256, 10_000
STEPS, ROUNDS = 80, 9  # two buffers; a round is a quarter of a minute on a free core
# A network that costs little, which leaves a slow stream nothing to hide behind.
TINY = ("widths=[8]", "dimension=32")
PAIRS = GeneratedNeighbours(Augment(read_recipe("laptop").views, (0.5,) * 3, (0.25,) * 3))


def main(counts: list[int]) -> None:
    """Prints the Markdown section."""
    memory = [_apart("memory", count) for count in counts]
    rates = _apart("throughput", STEPS * BATCH)
    waiting = BUFFER * 3 * SIZE**2 / 2**20
    section(
        "Streams",
        "Does a stream's memory stay bounded as images grow in number, and is it as quick as an "
        "array in memory?",
        [
            table(
                ["images", "in shards, MiB", "extra memory, MiB", "images read a second"],
                [
                    [f"{n:,}", f"{m['stored']:,.0f}", f"{m['extra']:,.0f}", f"{m['rate']:,.0f}"]
                    for n, m in zip(counts, memory, strict=True)
                ],
            ),
            table(
                ["images from", "made into views, images/s", "trained on, images/s"],
                [
                    [name, *(f"{rates[f'{name} {what}']:,.0f}" for what in ("views", "trained"))]
                    for name in ("array", "stream")
                ],
            ),
        ],
        [
            f"Colour images of {SIZE} × {SIZE} pixels, shards of 64 MiB, batches of {BATCH}, a "
            f"buffer of {BUFFER:,} images ({waiting:.0f} MiB).",
            "Memory: most resident bytes beyond those before, over an epoch read and shuffled.",
            f"Throughput: {STEPS * BATCH:,} images, medians of {ROUNDS} rounds. Trained: an epoch "
            "of the `laptop` recipe in float32 with one stage of 8 channels, so that images and "
            "views are about half of the work.",
            "The stream's rate over the array's, median of the rounds' ratios: "
            f"{rates['views, seconds']:.2f} for views, {rates['trained, seconds']:.2f} for "
            "training; by processor time, which neighbours on the machine disturb less and which "
            "leaves out waiting for the disk, "
            f"{rates['views, processor']:.2f} and {rates['trained, processor']:.2f}.",
        ],
    )


def _apart(what: str, count: int) -> dict[str, float]:
    """What this script, run for one measurement, printed."""
    done = subprocess.run(
        [sys.executable, __file__, what, str(count)], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _images(count: int) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    for start in range(0, count, 1000):
        shape = (min(1000, count - start), SIZE, SIZE, 3)
        yield rng.integers(0, 256, shape, dtype=np.uint8)


def _epoch(feed: BatchSource, steps: int) -> None:
    """An epoch of views."""
    for _ in feed.batches(torch.Generator().manual_seed(0), steps, BATCH):
        pass


def _taken(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and seconds of processor time, that it takes."""
    began = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began[0], time.process_time() - began[1]


def _memory(folder: str, count: int) -> dict[str, float]:
    from vicinal.images.image_stream import Sequence, shuffled_batches

    write_shards({"train": _images(count)}, Path(folder))
    shards = open_shards(folder, test_images=0).shards
    order = tuple(np.random.default_rng(0).permutation(len(shards.counts)).tolist())
    end = count // BATCH * BATCH
    seconds: list[float] = []

    def epoch() -> None:
        began = time.perf_counter()
        batches = shuffled_batches(
            Sequence(shards, order),
            (0, end),
            batch=BATCH,
            capacity=BUFFER,
            rng=np.random.default_rng(0),
        )
        for _ in batches:
            pass
        seconds.append(time.perf_counter() - began)

    extra = extra_memory(epoch, warm_up=False) / 2**20
    return {"stored": count * 3 * SIZE**2 / 2**20, "extra": extra, "rate": end / seconds[0]}


def _throughput(folder: str, count: int) -> dict[str, float]:
    write_shards({"train": _images(count)}, Path(folder) / "store")
    stream = open_shards(f"{folder}/store", test_images=0)
    pixels = np.concatenate(list(_images(count)))
    materials = {
        "array": ArrayBatches(pixels, PAIRS),
        "stream": StreamBatches(stream, PAIRS, BUFFER),
    }
    changes = ["training.epochs=1", f"training.batch_size={BATCH}", "projector.widths=[64,64]"]
    changes += [f"encoder.{change}" for change in TINY]
    recipe, steps = override(read_recipe("laptop"), changes), count // BATCH
    test = ArrayBatches(pixels[:1], PAIRS)
    fabric = open_engine("cpu", "float32").fabric

    def trained(material: ArrayBatches | StreamBatches) -> None:
        with tempfile.TemporaryDirectory() as run:
            pretrain(material, test, recipe, Path(run), fabric, epochs=1, quiet=True)

    def viewed(material: ArrayBatches | StreamBatches) -> None:
        _epoch(material.on(torch.device("cpu")), steps)

    works = {"views": viewed, "trained": trained}
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for turn in range(-1, ROUNDS):  # one round to warm up
        for name in list(materials)[:: 1 if turn % 2 else -1]:
            for what, work in works.items():
                found = _taken(partial(work, materials[name]))
                if turn >= 0:
                    taken.setdefault((name, what), []).append(found)
    rates = {}
    for what in works:
        for name in materials:
            seconds = statistics.median(found[0] for found in taken[name, what])
            rates[f"{name} {what}"] = steps * BATCH / seconds
        rounds = list(zip(taken["array", what], taken["stream", what], strict=True))
        for at, measure in enumerate(("seconds", "processor")):
            rates[f"{what}, {measure}"] = statistics.median(a[at] / b[at] for a, b in rounds)
    return rates


if __name__ == "__main__":
    if sys.argv[1:2] in (["memory"], ["throughput"]):
        measure = _memory if sys.argv[1] == "memory" else _throughput
        with tempfile.TemporaryDirectory() as place:
            print(json.dumps(measure(place, int(sys.argv[2]))))
    else:
        main([int(count) for count in sys.argv[1:]] or [10**4, 10**5, 10**6])
