"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from vicinal.recipe import Training


def learning_rate(step: int, steps: int, steps_per_epoch: int, training: Training) -> float:
    """Learning rate of a step: a linear warm-up, then constant or half a cosine to 0.

    Args:
        step: Position of the step in the whole training, from 0.
        steps: Steps in the whole training.
        steps_per_epoch: Steps in an epoch.
        training: The recipe's numbers.
    """
    warmup = min(steps, round(training.warmup_epochs * steps_per_epoch))
    if step < warmup:
        return training.learning_rate * (step + 1) / warmup
    if training.schedule == "constant":
        return training.learning_rate
    progress = (step - warmup) / max(1, steps - warmup)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
