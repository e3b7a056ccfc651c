"""How long to train, where a user gives the minutes and not the epochs."""

from __future__ import annotations

from vicinal.recipe import Recipe
from vicinal.study.speed import measure_training
from vicinal.training.device import Engine

MINUTES = 8.0
"""What a training may take where nobody says: a first page within a quarter of an hour."""
_TRIAL_SECONDS = 4.0
_SMALL = 5_000  # pictures: a smaller set is passed over more often, as many steps as this many


def fitted_to(
    recipe: Recipe, engine: Engine, *, images: int, channels: int, minutes: float
) -> Recipe:
    """The recipe with as many epochs as fit into the minutes and are worth their time.

    The speed is that of a trial of a few seconds on this machine, so another machine, or a busy
    one, gets another number; it is written into the run's recipe, and a resumed run keeps it.

    Args:
        recipe: The recipe; its epochs are the most for 5,000 pictures and more, and fewer
            pictures are passed over more often.
        engine: Device and precision.
        images: Images in an epoch.
        channels: Their channels.
        minutes: What the training may take.
    """
    rate = measure_training(recipe, engine, channels=channels, seconds=_TRIAL_SECONDS)
    return with_epochs(recipe, epochs_within(minutes, images, rate, recipe))


def epochs_within(minutes: float, images: int, images_per_second: float, recipe: Recipe) -> int:
    """Epochs that fit into the minutes, from 1 to the most that are worth their time."""
    fit = int(minutes * 60 * images_per_second / images)
    most = round(recipe.training.epochs * max(1.0, _SMALL / images))
    return max(1, min(most, fit))


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe with another number of epochs, and no more of them to warm up than half."""
    warmup = min(recipe.training.warmup_epochs, epochs / 2)
    training = recipe.training.model_copy(update={"epochs": epochs, "warmup_epochs": warmup})
    return recipe.model_copy(update={"training": training})
