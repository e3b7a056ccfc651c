"""The record recipe on a GPU: training in sittings, then probes; and the settings to compare.

Variants are judged on a seeded tenth of the training images, whose labels the probe does not
see; ``--test`` looks at the test images, which is for the last word on one variant. solo-learn
publishes 92.07 % after 1,000 epochs, eb_jepa 90.12 % after 300. Goal: 92.07 % within 15 minutes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gpu import arguments, cifar10, parsed, sitting, where
from measuring import say, table
from vicinal import ImageSet, Representations, converged_probe, embed, knn_probe, load, load_encoder
from vicinal.evaluations.score import wilson_interval
from vicinal.files import read_json, read_rows, write_json
from vicinal.recipes import override, read_recipe
from vicinal.study.train import train
from vicinal.training.device import open_engine

VARIANTS: dict[str, tuple[str, ...]] = {
    "published": (),
    "eb_jepa": (
        "objective.convention=eb_jepa",
        "objective.invariance=1",
        "objective.variance=1",
        "objective.covariance=80",
    ),
    "paper-convention": ("objective.convention=paper",),
    "no-solarisation": ("views.solarise=0",),
    "blur": ("views.blur=0.5",),
    "batch-512": ("training.batch_size=512", "training.learning_rate=0.6"),
    "invariance-10": ("objective.invariance=10",),
    "projector-1024": ("projector.widths=[2048, 2048, 1024]",),
    "adamw": (
        "training.optimizer=adamw",
        "training.learning_rate=2e-3",
        "training.weight_decay=1e-4",
    ),
}
"""What to compare, each a change to the recipe; one at a time by ``--variant``."""


def main() -> None:
    parser = arguments(__doc__, "gpu-record")
    parser.add_argument("--data", default=cifar10()[0])
    parser.add_argument("--variant", choices=VARIANTS, default="published")
    parser.add_argument("--recipe", default="record")
    parser.add_argument("--epochs", type=int, help="Default: the recipe's.")
    parser.add_argument("--images", type=int, help="At most so many training images.")
    parser.add_argument("--test", action="store_true", help="Probe the test images too.")
    asked = parsed(parser)
    settings = [*VARIANTS[asked.variant], *asked.set]
    settings += [f"training.epochs={asked.epochs}"] if asked.epochs else []
    recipe = override(read_recipe(asked.recipe), settings)
    run = asked.out / f"{asked.variant}-{recipe.training.epochs}-epochs"
    with sitting(asked.minutes):
        trained = train(
            asked.data,
            recipe=asked.recipe,
            settings=settings,
            limit=asked.images,
            run=run,
            resume=(run / "run.json").is_file(),
            device=asked.device,
        )
        splits = load(asked.data, size=recipe.views.size, seed=recipe.seed, limit=asked.images)
        engine = open_engine(asked.device, recipe.training.precision)
        encoder, preparation = load_encoder(trained.encoder)

        def embedded(images: ImageSet) -> Representations:
            bf16 = engine.precision == "bf16"
            return embed(encoder, images, preparation, device=engine.device, bf16=bf16)

        whole = embedded(splits.train)
        shuffled = np.random.default_rng(recipe.seed).permutation(len(whole))
        held, fitted = np.split(shuffled, [len(whole) // 10])
        parts = {"held out": (whole.take(fitted), whole.take(held))}
        if asked.test:
            parts["test"] = whole, embedded(splits.test)
        found = {name: probed(*pair, asked.device) for name, pair in parts.items()}
        held_before = read_json(run / "probes.json") if (run / "probes.json").is_file() else {}
        write_json(run / "probes.json", held_before | found)
    report(asked.out, asked.device)


def probed(train: Representations, test: Representations, device: str) -> dict[str, float]:
    """Converged probe and 20-NN accuracy, and how many images they are of."""
    say(f"probing {len(test):,} images")
    return {
        "images": len(test),
        "linear": converged_probe(train, test, device=device).accuracy.value,
        "knn": knn_probe(train, test, k=(20,), device=device)[0].accuracy.value,
    }


def report(out: Path, device: str) -> None:
    """Every variant so far: epochs done, seconds, and its probes."""
    rows = []
    for run in sorted(path.parent for path in out.glob("*/losses.csv")):
        epochs = [row for row in read_rows(run / "losses.csv") if row["split"] == "train"]
        seconds = sum(float(row["seconds"]) for row in epochs)
        probes = read_json(run / "probes.json") if (run / "probes.json").is_file() else {}
        cells = [shown(probes.get(part)) for part in ("held out", "test")]
        rows.append((run.name, len(epochs), f"{seconds / 60:.1f}", *cells))
    header = ("variant", "epochs done", "minutes of epochs", "held out: linear, 20-NN", "test")
    print(table(header, rows))
    print("\nPublished: solo-learn 92.07 % (online probe, 1,000 epochs), eb_jepa 90.12 % (300).")
    print(where(device))
    print(f"Variants: {json.dumps(list(VARIANTS))}")


def shown(probe: dict[str, float] | None) -> str:
    if probe is None:
        return "–"
    images = int(probe["images"])
    low, high = wilson_interval(round(probe["linear"] * images), images)
    return f"{probe['linear']:.2%} ({low:.1%} to {high:.1%}), {probe['knn']:.2%}"


if __name__ == "__main__":
    main()
