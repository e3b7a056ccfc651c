"""From photographs in a folder to squares of pixels in one array on the disk: time and memory."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from measuring import exponent, extra_memory, interleaved, ratio, say, section, table, versions
from vicinal.cores import set_threads
from vicinal.images import load_parts
from vicinal.images.decoding import Decoding

SIZE = 96
PHOTOS, SIDE = 160, 2000  # of 3 megapixels, as a telephone sends them
MANY, SMALL = (500, 2_000, 8_000), 320
ROUNDS = 3
GOAL = 64  # MiB


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        photos = written(folder / "photos", PHOTOS, SIDE)
        contestants: dict[str, Callable[[], object]] = {
            "ours": lambda: ours(photos),
            "ours, one thread": lambda: on_one_core(photos),
            "torchvision ImageFolder, Resize, CenterCrop, DataLoader": lambda: torchvision(photos),
        }
        say("in turn: " + ", ".join(contestants))
        seconds = interleaved(contestants, rounds=ROUNDS)
        memory = {name: extra_memory(work) for name, work in contestants.items()}
        growth = []
        for count in MANY:
            few = written(folder / str(count), count, SMALL)
            growth.append(extra_memory(lambda few=few: ours(few)))  # type: ignore[misc]
            say(f"{count} pictures: {growth[-1]} bytes")
    section(
        "Decoding",
        f"How fast do JPEG photographs of {SIDE} × {3 * SIDE // 4} pixels become squares of "
        f"{SIZE}, and what memory does it take?",
        [
            table(
                ["", "photographs/s", "ours is", "extra MiB"],
                [
                    [
                        name,
                        f"{PHOTOS / statistics.median(taken):.0f}",
                        "" if name == "ours" else f"{ratio(taken, seconds['ours']):.1f}×",
                        f"{memory[name] / 2**20:.0f}",
                    ]
                    for name, taken in seconds.items()
                ],
            ),
            table(
                ["pictures", "extra MiB"],
                [
                    [f"{count:,}", f"{extra / 2**20:.0f}"]
                    for count, extra in zip(MANY, growth, strict=True)
                ],
            ),
        ],
        [
            f"Extra memory at {MANY[-1]:,} pictures, whose pixels are "
            f"{MANY[-1] * 3 * SIZE**2 / 2**20:.0f} MiB: goal at most {GOAL} MiB: "
            + ("met" if growth[-1] <= GOAL * 2**20 else "missed")
            + f"; it grows as N^{exponent(MANY, [max(one, 2**20) for one in growth]):.2f}.",
            "Both write the squares to a file. Ours reads a large JPEG at a fraction of its size "
            "(Pillow's draft mode) and lists what cannot be read, at which torchvision's stops. "
            f"The peer has {cores()} worker processes, whose own memory is not counted.",
            "The photographs are scikit-learn's two, turned and scaled. "
            f"{versions('pillow', 'torchvision')}; median of {ROUNDS} rounds, {cores()} cores.",
        ],
    )


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def written(folder: Path, count: int, side: int) -> Path:
    """A folder with one class of so many JPEG files, ``side`` pixels wide."""
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    distinct = min(count, 64)  # as many files, of which several are links to the same bytes
    (folder / "all").mkdir(parents=True)
    for number in range(count):
        file = folder / "all" / f"{number:06d}.jpg"
        if number < distinct:
            turned = photos[number % 2].rotate(number).resize((side, 3 * side // 4))
            turned.save(file, quality=90)
        else:
            os.link(folder / "all" / f"{number % distinct:06d}.jpg", file)
    return folder


def ours(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as data:
        load_parts(f"folder:{folder}/all", Decoding(SIZE, 3), data_dir=Path(data))


def on_one_core(folder: Path) -> None:
    set_threads(1)
    try:
        ours(folder)
    finally:
        set_threads(None)


def torchvision(folder: Path) -> None:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    transform = v2.Compose([v2.Resize(SIZE), v2.CenterCrop(SIZE), v2.PILToTensor()])
    images = ImageFolder(folder, transform)
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".npy") as file:
        shape = (len(images), 3, SIZE, SIZE)
        array = np.lib.format.open_memmap(file.name, "w+", np.uint8, shape)
        done = 0
        for batch, _ in DataLoader(images, 64, num_workers=cores()):
            array[done : done + len(batch)] = batch.numpy()
            done += len(batch)
        array.flush()


if __name__ == "__main__":
    main()
