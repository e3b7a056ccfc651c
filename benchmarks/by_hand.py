"""What Vicinal does by hand beside the library that could do it, where no other script has it.

python benchmarks/by_hand.py [ROUNDS]; peers: pip install webdataset timm. The silhouette alone, a
step of LARS, and pictures read from a tar file. What is equal is checked before it is timed.
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import timm.optim
import torch
import webdataset
from PIL import Image
from sklearn.metrics import silhouette_score

from data import folder
from measuring import interleaved, ratio, section, table, versions
from vicinal.evaluations.clusters import silhouette
from vicinal.images.decoding import Decoding
from vicinal.images.tar import open_tar
from vicinal.recipes import read_recipe
from vicinal.training.optimizers import Lars
from vicinal.training.start import networks

Work = Callable[[], object]
IMAGES = 5_000  # in the tar file
SIZE = 32


def silhouettes() -> dict[str, Work]:
    """10,000 points of 64 numbers in ten groups."""
    rng = np.random.default_rng(0)
    groups = rng.integers(10, size=10_000)
    points = (rng.normal(size=(10, 64))[groups] + rng.normal(size=(10_000, 64))).astype(np.float32)
    works: dict[str, Work] = {
        "ours": lambda: silhouette(points, groups).value,
        "scikit-learn": lambda: silhouette_score(points, groups),
    }
    ours, theirs = (float(work()) for work in works.values())  # type: ignore[arg-type]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    return works


def lars_steps() -> dict[str, Work]:
    """A step on the laptop recipe's encoder and projector, from the same weights and gradients."""
    settings = {"lr": 0.3, "momentum": 0.9, "weight_decay": 1e-4}
    steps: dict[str, Work] = {}
    weights = []
    for name in ("ours", "timm"):
        torch.manual_seed(0)
        _, model = networks(read_recipe("laptop"), (SIZE, SIZE, 3))
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter) / 100
        held = list(model.parameters())
        weights.append(held)
        if name == "ours":
            steps[name] = Lars(held, trust=0.02, clip=True, **settings).step
        else:  # which takes plain SGD where there is no decay
            flat = [{"params": [p for p in held if p.ndim <= 1], "weight_decay": 0.0}]
            deep = [{"params": [p for p in held if p.ndim > 1]}]
            steps[name] = timm.optim.Lars(
                flat + deep, trust_coeff=0.02, trust_clip=True, **settings
            ).step
    for work in steps.values():
        work()
    apart = max((a - b).abs().max().item() for a, b in zip(*weights, strict=True))
    assert apart < 1e-6, apart
    return steps


def tar_file(path: Path) -> None:
    """The first pictures of CIFAR-10 (JPEG copy), as they are encoded there."""
    cells = pq.read_table(folder() / "cifar10-train.parquet").column(0)[:IMAGES].to_pylist()
    with tarfile.open(path, "w") as out:
        for number, cell in enumerate(cells):
            encoded = cell["bytes"] if isinstance(cell, dict) else cell
            member = tarfile.TarInfo(f"{number:06}.png")
            member.size = len(encoded)
            out.addfile(member, io.BytesIO(encoded))


def readers(path: Path, cache: Path) -> dict[str, Work]:
    """All pictures of the tar file in order, decoded into arrays of 32 × 32."""
    stream = open_tar(str(path), Decoding(SIZE), cache=cache)

    def ours() -> np.ndarray:
        return np.concatenate(list(stream.shards.read(0, np.arange(IMAGES))))

    def squeezed(image: Image.Image) -> np.ndarray:
        return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))

    def theirs() -> np.ndarray:
        samples = webdataset.WebDataset(str(path), shardshuffle=False).decode("pil")
        return np.stack([squeezed(sample["png"]) for sample in samples])

    np.testing.assert_array_equal(ours(), theirs())
    return {"ours": ours, "webdataset": theirs}


def main(rounds: int) -> None:
    """Prints the Markdown section."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "pictures.tar")
        tar_file(path)
        cases = {
            "silhouette of 10,000 × 64 in 10 groups": silhouettes(),
            "a step of LARS, `laptop`": lars_steps(),
            f"{IMAGES:,} pictures of 32 × 32 from a tar file": readers(path, Path(name)),
        }
        rows = []
        for title, works in cases.items():
            seconds = interleaved(works, rounds=rounds)
            ours, (peer, theirs) = seconds["ours"], list(seconds.items())[1]
            spread = sorted(b / a for a, b in zip(ours, theirs, strict=True))
            rows.append(
                [title, peer, f"{ratio(theirs, ours):.2f}", f"{spread[0]:.2f} to {spread[-1]:.2f}"]
            )
    section(
        "By hand beside a library",
        "How many times as long does the library take that could do the same?",
        [table(["what", "library", "times as long", "lowest to highest round"], rows)],
        [
            f"Median of {rounds} rounds, in turn, {torch.get_num_threads()} thread(s).",
            versions("scikit-learn", "timm", "webdataset", "torch"),
        ],
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
