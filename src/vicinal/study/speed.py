"""What recipes cost on this machine: images a second, measured in less than a minute."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from vicinal import cores
from vicinal.encoder import build_encoder
from vicinal.encoder.pretrained import form_of
from vicinal.encoder.saved import Preparation
from vicinal.files import read_rows
from vicinal.images import ImageSet
from vicinal.recipes.recipe import Recipe
from vicinal.representations.embed import embed
from vicinal.training.device import Engine, open_engine
from vicinal.training.loop import ArrayBatches, pretrain
from vicinal.views import Augment, GeneratedNeighbours

FIRST_IMAGES = 8
"""Images of a try that is not counted: in it the libraries choose and compile their kernels."""
LEAST_IMAGES = 64
"""Images of a step that is: with fewer, what a step costs whatever its size would count most."""


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
    """Trains by the loop that trains anything for two thirds of ``seconds``, then embeds."""
    return Speed(
        recipe=recipe.name,
        training=measure_training(recipe, engine, channels=channels, seconds=2 / 3 * seconds),
        embedding=_measure_embedding(recipe, engine, channels, seconds / 3),
        epochs=recipe.training.epochs,
    )


def measure_training(recipe: Recipe, engine: Engine, *, channels: int, seconds: float) -> float:
    """Images a second in training, each of them two views, measured for about ``seconds``.

    A batch is the recipe's, or what the machine trains on in so long if that is less.
    """

    def train(images: int) -> float:
        # Memory is mapped in a first epoch. A large encoder has time for one, and it matters less.
        epochs = 2 if images >= 2 * LEAST_IMAGES else 1
        batch = min(recipe.training.batch_size, images // epochs)
        training = recipe.training.model_copy(
            # Compiling takes longer than what is measured here, and would count in it.
            update={"batch_size": batch, "warmup_epochs": 0.0, "test_images": 1, "compile": "off"}
        )
        tried = recipe.model_copy(update={"training": training})
        return _epoch_rate(tried, engine, channels, images // epochs // batch * batch, epochs)

    return _rate(train, seconds)


def _rate(run: Callable[[int], float], seconds: float) -> float:
    """Images a second, as ``run`` has it over as many images as take about ``seconds``.

    Their number grows until the rate no more than doubles, so that little of it is start-up.
    """
    rate = run(FIRST_IMAGES)
    while True:
        images = max(LEAST_IMAGES, round(rate * seconds))
        rate = run(images)
        if images / rate >= seconds / 2:
            return rate


def _epoch_rate(recipe: Recipe, engine: Engine, channels: int, images: int, epochs: int) -> float:
    """Images a second of the last of some epochs of so many, as the loop's own log has it."""
    half = (0.5,) * channels
    pairs = GeneratedNeighbours(Augment(recipe.views, half, half))
    train = ArrayBatches(_noise(recipe, images, channels, recipe.views.size), pairs)
    test = ArrayBatches(train.pixels[:1], pairs)
    with tempfile.TemporaryDirectory() as folder:
        pretrain(train, test, recipe, Path(folder), engine.fabric, epochs=epochs, quiet=True)
        return float(read_rows(Path(folder) / "losses.csv")[-1]["images_per_second"])


def _measure_embedding(recipe: Recipe, engine: Engine, channels: int, seconds: float) -> float:
    half = (0.5,) * channels
    size, _ = form_of(recipe)
    encoder = build_encoder(recipe.encoder, channels=channels, size=size)
    preparation = Preparation(size, channels, half, half)
    bf16 = engine.precision == "bf16"

    def run(images: int) -> float:
        noise = _noise(recipe, images, channels, size)
        named = ImageSet("noise", noise, np.arange(images).astype(np.str_))
        began = time.perf_counter()
        embed(encoder, named, preparation, device=engine.device, bf16=bf16)
        return images / (time.perf_counter() - began)

    return _rate(run, seconds)


def _noise(recipe: Recipe, count: int, channels: int, size: int) -> NDArray[np.uint8]:
    drawn = np.random.default_rng(recipe.seed).integers(
        256, size=(min(count, 1024), size, size, channels), dtype=np.uint8
    )
    # The same pixels again and again cost as much as others, and less memory.
    return drawn[np.arange(count) % len(drawn)]


SECONDS = 24.0
"""For all recipes together; each also has a first try that is not counted."""
MOST_SECONDS = 10.0
"""For one recipe."""


@dataclass(frozen=True)
class Speeds:
    """Speeds of some recipes, and where they were measured.

    Attributes:
        device: ``cpu`` or ``cuda``.
        precision: Arithmetic of each recipe.
        speeds: The recipes' speeds, in their order.
    """

    device: str
    precision: tuple[str, ...]
    speeds: tuple[Speed, ...]

    def rows(self, images: int) -> list[dict[str, Any]]:
        """A row for each recipe, with the minutes that so many training images would take."""
        return [
            asdict(speed) | {"precision": precision, "minutes": speed.minutes(images)}
            for speed, precision in zip(self.speeds, self.precision, strict=True)
        ]


@cores.shared()
def measure_recipes(recipes: Sequence[Recipe], device: str) -> Speeds:
    """Measures each recipe on colour pixels of its own size.

    Raises:
        InputError: If the device is not to be had.
    """
    console = Console(stderr=True)
    share = min(MOST_SECONDS, SECONDS / len(recipes))
    speeds, precision = [], []
    measured: dict[tuple[object, ...], Speed] = {}
    for recipe in recipes:
        engine = open_engine(device, recipe.training.precision)
        work = _work(recipe, engine)
        if work not in measured:
            with console.status(f"measuring {recipe.name}"):
                measured[work] = measure_speed(recipe, engine, channels=3, seconds=share)
        # Another recipe's steps may cost the same: on a processor `gpu` takes those of `seed`.
        own = replace(measured[work], recipe=recipe.name, epochs=recipe.training.epochs)
        speeds.append(own)
        precision.append(engine.precision)
    return Speeds(engine.device, tuple(precision), tuple(speeds))


def _work(recipe: Recipe, engine: Engine) -> tuple[object, ...]:
    """What a recipe's speed depends on."""
    training = recipe.training
    networks = (recipe.views, recipe.encoder, recipe.projector, engine.precision)
    return (*networks, training.optimizer, training.batch_size)
