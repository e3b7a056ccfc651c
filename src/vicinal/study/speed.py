"""How fast this machine trains and embeds with a recipe, measured on random pixels."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal.encoder import build_encoder
from vicinal.encoder.saved import Preparation
from vicinal.files import read_rows
from vicinal.images import ImageSet
from vicinal.recipe import Recipe
from vicinal.representations.embed import embed
from vicinal.training.device import Engine
from vicinal.training.loop import Material, pretrain
from vicinal.views import Augment, GeneratedNeighbours

MOST_IMAGES = 64
"""Images a step: a whole batch of a large encoder would take longer than a user waits."""


@dataclass(frozen=True)
class Speed:
    """What a recipe does on this machine.

    Attributes:
        recipe: Its name.
        training: Images a second in training, each of them two views, forward and backward.
        embedding: Images a second through the trained encoder.
        epochs: The recipe's passes over the training set.
    """

    recipe: str
    training: float
    embedding: float
    epochs: int

    def minutes(self, images: int) -> float:
        """Expected minutes to train on ``images`` images and embed them once."""
        return images * (self.epochs / self.training + 1 / self.embedding) / 60


def measure_speed(recipe: Recipe, engine: Engine, *, channels: int, seconds: float) -> Speed:
    """Trains for about ``seconds`` by the loop that trains anything, and embeds for as long.

    A first step is not counted: in it the libraries choose and compile their kernels.
    """
    batch = min(recipe.training.batch_size, MOST_IMAGES)
    training = recipe.training.model_copy(
        # Compiling takes longer than what is measured here, and would count in it.
        update={"batch_size": batch, "warmup_epochs": 0.0, "test_images": 1, "compile": "off"}
    )
    recipe = recipe.model_copy(update={"training": training})
    first = _training_rate(recipe, engine, channels, steps=1)
    steps = max(1, round(first * seconds / batch))
    return Speed(
        recipe=recipe.name,
        training=_training_rate(recipe, engine, channels, steps),
        embedding=_embedding_rate(recipe, engine, channels, seconds),
        epochs=recipe.training.epochs,
    )


def _training_rate(recipe: Recipe, engine: Engine, channels: int, steps: int) -> float:
    """Images a second of an epoch of so many steps, as the loop's own log has it."""
    half = (0.5,) * channels
    pairs = GeneratedNeighbours(Augment(recipe.views, half, half))
    train = Material(_noise(recipe, steps * recipe.training.batch_size, channels), pairs)
    test = Material(train.pixels[:1], pairs)
    with tempfile.TemporaryDirectory() as folder:
        pretrain(train, test, recipe, Path(folder), engine.fabric, epochs=1, quiet=True)
        return float(read_rows(Path(folder) / "losses.csv")[0]["images_per_second"])


def _embedding_rate(recipe: Recipe, engine: Engine, channels: int, seconds: float) -> float:
    half = (0.5,) * channels
    size = recipe.views.size
    encoder = build_encoder(recipe.encoder, channels=channels, size=size)
    noise = _noise(recipe, MOST_IMAGES, channels)
    images = ImageSet("noise", noise, np.arange(len(noise)).astype(np.str_))
    preparation = Preparation(size, channels, half, half)

    def run() -> None:
        bf16 = engine.precision == "bf16"
        embed(encoder, images, preparation, device=engine.device, bf16=bf16)

    run()
    began, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < seconds or not done:
        run()
        done += len(noise)
    return done / elapsed


def _noise(recipe: Recipe, count: int, channels: int) -> NDArray[np.uint8]:
    size = recipe.views.size
    drawn = np.random.default_rng(recipe.seed).integers(
        256, size=(min(count, 1024), size, size, channels), dtype=np.uint8
    )
    # The same pixels again and again cost as much as others, and less memory.
    return drawn[np.arange(count) % len(drawn)]
