"""The learning rate as a function of the place in a training."""

from __future__ import annotations

import math

from vicinal.recipes.recipe import Training


def learning_rate(place: float, steps: int, steps_per_epoch: float, training: Training) -> float:
    """Learning rate of a step: a linear warm-up, then constant or half a cosine to 0."""
    warmup = min(steps, round(training.warmup_epochs * steps_per_epoch))
    if place < warmup:
        return training.learning_rate * min(place + 1, warmup) / warmup
    if training.schedule == "constant":
        return training.learning_rate
    progress = (place - warmup) / max(1, steps - warmup)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
