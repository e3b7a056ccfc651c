"""train: one encoder by VICReg on generated neighbours, in a run folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vicinal.encoder.saved import save_encoder
from vicinal.files import read_rows, write_json
from vicinal.images import Splits, keep_skipped, load
from vicinal.recipe import Recipe
from vicinal.recipes import override, read_recipe
from vicinal.study.folder import (
    RunFolder,
    default_folder,
    describe_environment,
    open_run,
    recipe_for,
)
from vicinal.study.learners import learn_generated, preparation_of
from vicinal.training.device import Engine, open_engine


@dataclass(frozen=True)
class Trained:
    """A trained encoder.

    Attributes:
        run: The run folder.
        encoder: The encoder's file.
        images: How many images it was trained on.
        epochs: Passes over them.
        seconds: What the last sitting of the training took.
        loss: The mean objective in the last epoch, by part of the data.
    """

    run: Path
    encoder: Path
    images: int
    epochs: int
    seconds: float
    loss: dict[str, float]


def train(
    data: str,
    *,
    recipe: str | None = None,
    settings: Sequence[str] = (),
    limit: int | None = None,
    run: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    data_dir: Path | None = None,
) -> Trained:
    """Trains an encoder and writes recipe.toml, environment.json, losses.csv and the encoder.

    Pictures that cannot be used are left out and listed in skipped.csv.

    Images of the source's test part, or a held-out fifth, give the test curve and no gradient.

    Args:
        data: Source of the images, as `vicinal.images.load` takes it.
        recipe: A shipped recipe's name or a file; None for the one that fits.
        settings: ``section.field=value`` overrides.
        limit: At most so many training images.
        run: The run folder; None for the next of its kind under ``runs``.
        resume: Whether to go on with an interrupted run.
        device: ``auto``, ``cpu`` or ``cuda``.
        data_dir: Where downloads and decoded images are kept.

    Raises:
        InputError: If anything asked for cannot be used; nothing is overwritten.
    """
    chosen = override(read_recipe(recipe or recipe_for(data)), settings)
    engine = open_engine(device, chosen.training.precision)
    size, seed = chosen.views.size, chosen.seed
    splits = load(data, size=size, seed=seed, limit=limit, data_dir=data_dir)
    path = run or default_folder(data, chosen.name, resume=resume, prefix="train-")
    identity = {
        "verb": "train",
        "data": data,
        "limit": limit,
        "train": splits.train.fingerprint,
        "test": splits.test.fingerprint,
    }
    with open_run(path, identity, chosen, resume=resume) as folder:
        keep_skipped(splits.skipped, folder / "skipped.csv")
        encoder, losses = folder / "encoder.safetensors", folder / "losses.csv"
        with folder.stage("train", [encoder, losses]) as due:
            if due:
                _learn(splits, chosen, folder, engine)
        return Trained(
            run=path,
            encoder=encoder,
            images=len(splits.train),
            epochs=chosen.training.epochs,
            seconds=folder.seconds()["train"],
            loss=_last_losses(losses),
        )


def _learn(splits: Splits, recipe: Recipe, folder: RunFolder, engine: Engine) -> None:
    """Trains, and writes the run's files."""
    environment = describe_environment(recipe.seed, engine.device, engine.precision)
    write_json(folder / "environment.json", environment)
    encoder = learn_generated(splits.train, splits.test, recipe, folder.path, engine, title="train")
    save_encoder(
        encoder,
        folder / "encoder.safetensors",
        recipe=recipe.encoder,
        preparation=preparation_of(splits.train),
    )


def _last_losses(path: Path) -> dict[str, float]:
    """The total objective of the last epoch on train and, if measured, on test images."""
    return {row["split"]: float(row["total"]) for row in read_rows(path)}
