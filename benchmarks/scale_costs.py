"""Writes docs/scale.md: what 10⁶, 10⁸ and 10⁹ images cost, measured here × stated rates.

``python benchmarks/scale_costs.py`` measures, runs scale_sim.py and writes the page;
``--sim FILE`` takes that script's output from a file. Work is measured in processor time on one
thread, which other programs on the machine change little.
"""

from __future__ import annotations

import argparse
import io
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from measuring import say
from scale_page import INDEXED, SIZE, Costs, page
from vicinal.encoder import build_encoder
from vicinal.encoder.projector import projector
from vicinal.files import replacing
from vicinal.images import decoding
from vicinal.recipes import override, read_recipe
from vicinal.representations.build_index import build_index
from vicinal.representations.index import Index, exact
from vicinal.representations.representations import Representations
from vicinal.views import Augment

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"


def measured() -> Costs:
    """Measures all of it here."""
    torch.set_num_threads(1)
    recipe = override(read_recipe("seed"), [f"views.size={SIZE}"])
    encoder = build_encoder(recipe.encoder, channels=3, size=SIZE).eval()
    width = recipe.encoder.dimension
    forward = operations(encoder, torch.zeros(1, 3, SIZE, SIZE))
    head = projector(width, recipe.projector.widths)
    # Of a product, the backward pass has two: towards the input and towards the weights.
    train = 2 * 3 * (forward + operations(head.eval(), torch.zeros(1, width)))
    batch = torch.zeros(16, SIZE, SIZE, 3, dtype=torch.uint8)
    augment = Augment(recipe.views, (0.5,) * 3, (0.2,) * 3)
    generator = torch.Generator().manual_seed(0)
    encoded = photograph()
    say(f"photograph: {len(encoded):,} bytes")

    def decode() -> None:
        decoding.decode(encoded, "photograph", size=SIZE, channels=3, pad=False)

    def embed() -> None:
        with torch.inference_mode():
            encoder(torch.zeros(4, 3, SIZE, SIZE))

    return Costs(
        decode=seconds(decode, 20),
        views=2 * seconds(lambda: augment(batch, generator), 3) / len(batch),
        forward=forward,
        train=train,
        embed=seconds(embed, 2) / 4,
        pixels=3.0 * SIZE**2,
        **indexed(width),
    )


def indexed(width: int) -> dict[str, float]:
    """What an image costs in an index, by its kind."""
    rng = np.random.default_rng(0)
    # Real representations lie in fewer dimensions than they have numbers.
    array = rng.normal(size=(INDEXED, 16)) @ rng.normal(size=(16, width))
    array = (array + 0.1 * rng.normal(size=array.shape)).astype(np.float32)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "all.parquet"
        Representations(array, np.array([f"{i:09d}.jpg" for i in range(INDEXED)])).save(source)
        found["representation"] = source.stat().st_size / INDEXED
        found["vector"] = 4.0 * width
        for kind in ("hnsw", "ivfpq"):
            folder = Path(scratch) / kind
            began = time.process_time()
            said = build_index(source, folder, kind)
            found[kind] = (time.process_time() - began) / INDEXED
            index = Index.open(folder)
            file = folder / index.description["faiss"]
            found[f"{kind}_bytes"] = file.stat().st_size / INDEXED
            say(said.summary())
        graph, rows = Index.open(Path(scratch) / "hnsw"), np.arange(1000)
        found["search"] = seconds(lambda: graph.nearest_of(rows, 5), 2) / len(rows)
        # Many queries share a pass, as in anomalies and duplicates.
        queries = array[:64]
        spent = seconds(lambda: exact(array, queries, 5), 2)
        found["passed"] = spent / len(queries) / INDEXED
    return found


def photograph() -> bytes:
    """A JPEG of 500 × 375 pixels as heavy as a photograph: soft shapes and some grain."""
    rng = np.random.default_rng(0)
    soft = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    large = np.asarray(soft.resize((500, 375), Image.Resampling.BICUBIC)).astype(np.int16)
    grain = large + rng.normal(0, 12, large.shape).astype(np.int16)
    held = io.BytesIO()
    Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(held, "JPEG", quality=90)
    return held.getvalue()


def operations(network: torch.nn.Module, example: torch.Tensor) -> float:
    """Floating-point operations of a forward pass; a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(example)
    return float(counter.get_total_flops())


def seconds(work: Callable[[], object], rounds: int) -> float:
    """The least processor time of some rounds."""
    work()
    least = math.inf
    for _ in range(rounds):
        began = time.process_time()
        work()
        least = min(least, time.process_time() - began)
    return least


def main() -> None:
    """Measures and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sim", type=Path, help="What scale_sim.py printed.")
    asked = parser.parse_args()
    costs = measured()
    say(str(costs))
    if asked.sim is not None:
        simulated = asked.sim.read_text("utf-8")
    else:
        script = Path(__file__).parent / "scale_sim.py"
        done = subprocess.run(
            [sys.executable, script], stdout=subprocess.PIPE, text=True, check=True
        )
        simulated = done.stdout
    with replacing(PAGE) as partial:
        partial.write_text(page(costs, simulated), "utf-8")


if __name__ == "__main__":
    main()
