"""The roofline of a training step on a GPU: what the encoder reaches of the card's matrix rate.

Three measurements: images/s of the training as it is (compiled), the rate of large matrix
products in the same precision, and the kernels of uncompiled steps by kind (`step.py`), in which
they can be told apart. A kernel of our own for the objective pays where its share is above 5 %.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from gpu import arguments, cifar10, parsed, sitting, synchronise, where
from measuring import say, table
from step import KINDS, LOSS, Profile, profiled
from vicinal.encoder import build_encoder, projector
from vicinal.files import read_json, read_rows, write_json
from vicinal.images import ImageSet, load
from vicinal.recipes import override, read_recipe
from vicinal.recipes.recipe import Recipe
from vicinal.training.device import Engine, open_engine
from vicinal.training.loop import ArrayBatches, pretrain
from vicinal.views import Augment, GeneratedNeighbours, channel_statistics

LARGE = {"cuda": 8192, "cpu": 512}
SHARE = 5.0


def main() -> None:
    parser = arguments(__doc__, "gpu-roofline")
    parser.add_argument("--data", default=cifar10()[0])
    parser.add_argument("--recipe", default="gpu")
    parser.add_argument("--images", type=int, help="At most so many training images.")
    asked = parsed(parser)
    recipe = override(read_recipe(asked.recipe), asked.set)
    engine = open_engine(asked.device, recipe.training.precision)
    path = asked.out / "roofline.json"
    kept: dict[str, Any] = read_json(path) if path.is_file() else {}
    with sitting(asked.minutes):
        images = load(asked.data, size=recipe.views.size, limit=asked.images).train
        for name, work in (
            ("matrix", lambda: matrix_rate(engine)),
            ("operations", lambda: operations(recipe, images)),
            ("images", lambda: image_rate(recipe, images, engine)),
            ("profile", lambda: shares(recipe, images, engine)),
        ):
            if name not in kept:
                say(f"measuring {name}")
                kept[name] = work()
                write_json(path, kept)
    report(kept, recipe, engine)


def matrix_rate(engine: Engine) -> float:
    """Operations a second of a large square product in the training's precision."""
    size = LARGE[engine.device]
    dtype = torch.bfloat16 if engine.precision == "bf16" else torch.float32
    a, b = torch.randn(2, size, size, device=engine.device, dtype=dtype)
    best = float("inf")
    for _ in range(10):
        synchronise(engine.device)
        began = time.perf_counter()
        for _ in range(10):
            a @ b
        synchronise(engine.device)
        best = min(best, (time.perf_counter() - began) / 10)
    return 2 * size**3 / best


def operations(recipe: Recipe, images: ImageSet) -> float:
    """Operations of encoder and projector for one image: two views, forward and backward."""
    encoder = build_encoder(recipe.encoder, channels=images.channels, size=images.size)
    model = torch.nn.Sequential(
        encoder, projector(recipe.encoder.dimension, recipe.projector.widths)
    )
    views = torch.randn(4, images.channels, images.size, images.size)
    with FlopCounterMode(display=False) as counter:
        model(views).sum().backward()
    return 2 * counter.get_total_flops() / len(views)


def image_rate(recipe: Recipe, images: ImageSet, engine: Engine) -> float:
    """Images a second in the second of two epochs, when all is compiled."""
    pairs = GeneratedNeighbours(Augment(recipe.views, *channel_statistics(images.pixels)))
    train, test = ArrayBatches(images.pixels, pairs), ArrayBatches(images.pixels[:1], pairs)
    with tempfile.TemporaryDirectory() as folder:
        pretrain(train, test, recipe, Path(folder), engine.fabric, epochs=2, quiet=True)
        rows = read_rows(Path(folder) / "losses.csv")
    return float(rows[-1]["images_per_second"])


def shares(recipe: Recipe, images: ImageSet, engine: Engine) -> dict[str, float]:
    """Milliseconds of each kind of kernel in an uncompiled step."""
    plain = override(recipe, ["training.compile=off"])
    made: Profile = profiled(plain, images.pixels, engine)
    return {kind: made.spent[kind] / 1000 for kind in KINDS}


def report(kept: dict[str, Any], recipe: Recipe, engine: Engine) -> None:
    """The roofline and the kernels' shares."""
    rows = []
    if "matrix" in kept:
        rows.append(("large matrix products, TFLOP/s", f"{kept['matrix'] / 1e12:.3g}"))
    if "operations" in kept:
        rows.append(("operations an image, GFLOP", f"{kept['operations'] / 1e9:.3g}"))
    if "images" in kept:
        achieved = kept["images"] * kept["operations"]
        rows += [
            ("images/s", f"{kept['images']:,.0f}"),
            ("achieved, TFLOP/s", f"{achieved / 1e12:.3g}"),
            ("of the matrix rate", f"{achieved / kept['matrix']:.1%}"),
        ]
    print(table((f"recipe {recipe.name}, {engine.precision}", "measured"), rows) + "\n")
    if "profile" in kept:
        whole = sum(kept["profile"].values())
        parts = [(k, f"{v:.3g}", f"{v / whole:.1%}") for k, v in kept["profile"].items()]
        header = ("kernels of an uncompiled step", "ms", "share")
        print(table(header, [*parts, ("all", f"{whole:.3g}", "")]))
        share = 100 * kept["profile"][LOSS] / whole
        verdict = "would pay" if share > SHARE else "would not pay"
        print(
            f"\nThe loss takes {share:.1f} % of it: its own kernel {verdict} (above {SHARE:g} %)."
        )
    print(where(engine.device))


if __name__ == "__main__":
    main()
