"""The learning rate as a function of the place in a training."""

from __future__ import annotations

import math

from vicinal.recipes.recipe import Training


def learning_rate(place: float, steps: int, steps_per_epoch: float, training: Training) -> float:
    """Learning rate of a step: a linear warm-up, then constant or half a cosine to 0.

    Args:
        place: Where the training is, from 0 to below ``steps``: the steps taken, or as many as
            the share of its time that it has used, see `vicinal.training.budget`.
        steps: Steps in the whole training.
        steps_per_epoch: Steps in an epoch, of which the recipe counts those of the warm-up.
        training: The recipe's numbers.
    """
    warmup = min(steps, round(training.warmup_epochs * steps_per_epoch))
    if place < warmup:
        return training.learning_rate * min(place + 1, warmup) / warmup
    if training.schedule == "constant":
        return training.learning_rate
    progress = (place - warmup) / max(1, steps - warmup)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
