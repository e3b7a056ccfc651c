"""Optimisers by name."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vicinal.recipe import Training
from vicinal.training.muon import Muon


def build_optimizers(model: nn.Module, training: Training) -> list[torch.optim.Optimizer]:
    """The recipe's optimisers, which share its learning rate; each parameter is in one of them.

    Adam has weight decay in the gradient, AdamW apart; both are one fused kernel a step.
    With ``muon``, the filters of all convolutions but the first go to Muon and the rest to
    AdamW.
    """
    filters: list[Tensor] = []
    if training.optimizer == "muon":
        filters = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)][1:]
    apart = {id(parameter) for parameter in filters}
    kind = torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW
    optimizers: list[torch.optim.Optimizer] = [
        kind(
            [parameter for parameter in model.parameters() if id(parameter) not in apart],
            lr=training.learning_rate,
            betas=training.betas,
            weight_decay=training.weight_decay,
            fused=True,
        )
    ]
    if filters:
        optimizers.append(
            Muon(filters, lr=training.learning_rate, weight_decay=training.weight_decay)
        )
    return optimizers
