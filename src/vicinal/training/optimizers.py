"""Optimisers by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from vicinal.recipe import Training
from vicinal.training.lars import Lars


def build_optimizer(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], training: Training
) -> torch.optim.Optimizer:
    """Adam, with weight decay in the gradient, or AdamW, with it apart, or LARS.

    None of them reads a number back from the device; Adam's are one fused kernel a step.
    """
    if training.optimizer == "lars":
        return Lars(
            parameters,
            lr=training.learning_rate,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
            trust=training.trust,
            clip=training.trust_clip,
        )
    kinds: dict[str, type[torch.optim.Adam]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    kind = kinds[training.optimizer]
    return kind(
        parameters,
        lr=training.learning_rate,
        betas=training.betas,
        weight_decay=training.weight_decay,
        fused=True,
    )
