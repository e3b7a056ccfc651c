"""Optimisers by name, LARS among them; what they train, and at what learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.recipes.recipe import Training


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
    kind = torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW
    return kind(
        parameters,
        lr=training.learning_rate,
        betas=training.betas,
        weight_decay=training.weight_decay,
        fused=True,
    )


def parameter_groups(encoder: nn.Module, model: nn.Module, training: Training) -> list[Any]:
    """The model's parameters for an optimiser; in two groups if the encoder's rate is another."""
    if training.encoder_rate == 1:
        return list(model.parameters())
    own = list(encoder.parameters())
    known = {id(parameter) for parameter in own}
    others = [parameter for parameter in model.parameters() if id(parameter) not in known]
    return [{"params": own, "share": training.encoder_rate}, {"params": others, "share": 1.0}]


def learning_rate(place: float, steps: int, steps_per_epoch: float, training: Training) -> float:
    """The rate at a place: a linear warm-up, then constant or half a cosine to 0."""
    warmup = min(steps, round(training.warmup_epochs * steps_per_epoch))
    if place < warmup:
        return training.learning_rate * min(place + 1, warmup) / warmup
    if training.schedule == "constant":
        return training.learning_rate
    progress = (place - warmup) / max(1, steps - warmup)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of all groups, each times its share; a CUDA graph reads a tensor."""
    for group in optimizer.param_groups:
        own = rate * group.get("share", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(own)
        else:
            group["lr"] = own


class Lars(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling (You, Gitman, Ginsburg, arXiv 1708.03888, algorithm 1).

    For weights w with gradient g, learning rate γ, weight decay β, momentum m and trust η:

        r = η ‖w‖ / (‖g‖ + β ‖w‖ + 1e-8)      with ``clip``: r ← min(r / γ, 1)
        v ← m v + r (g + β w)
        w ← w − γ v

    As the released VICReg recipes have it (solo-learn, lightly, eb_jepa): tensors of one
    dimension, which are biases and batch normalisation's, are excluded and take plain SGD, r = 1
    and β = 0; weights that are all 0 take it for that step, and those without gradient only v's.
    With ``clip`` a layer's rate γ r is min(η ‖w‖ / …, γ), a share η of its weights at most.

    Norms stay on the device and are taken of all layers at once, so nothing waits for them.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.02,
        clip: bool = True,
    ) -> None:
        momenta = {"momentum": momentum, "weight_decay": weight_decay}
        super().__init__(parameters, {"lr": lr, "trust": trust, "clip": clip} | momenta)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Takes one step; ``closure``, if given, computes the loss again and its gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            trained = [p for p in group["params"] if p.grad is not None]
            adapted = [p for p in trained if p.ndim > 1]
            excluded = [p for p in trained if p.ndim <= 1]
            if adapted:
                self._descend(adapted, _adapted_gradients(adapted, group), group)
            if excluded:
                self._descend(excluded, [_gradient(p) for p in excluded], group)
        return loss

    def _descend(
        self, weights: list[Tensor], gradients: list[Tensor], group: dict[str, Any]
    ) -> None:
        for weight in weights:
            if "momentum_buffer" not in self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        velocities = [self.state[weight]["momentum_buffer"] for weight in weights]
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, gradients)
        rate = group["lr"]
        if isinstance(rate, Tensor):  # in a CUDA graph, which must not read it back
            torch._foreach_sub_(weights, torch._foreach_mul(velocities, rate))
        else:
            torch._foreach_add_(weights, velocities, alpha=-rate)


def _adapted_gradients(weights: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
    """The velocity's part r (g + β w) of each layer."""
    gradients, decay = [_gradient(weight) for weight in weights], group["weight_decay"]
    of_weights = torch.stack(torch._foreach_norm(weights))
    of_gradients = torch.stack(torch._foreach_norm(gradients))
    ratios = group["trust"] * of_weights / (of_gradients + decay * of_weights + 1e-8)
    if group["clip"]:
        ratios = (ratios / group["lr"]).clamp(max=1)
    # Without a gradient there is no decay either; weights of 0 have no scale to take a share of.
    ratios = torch.where(of_gradients > 0, ratios, 0)
    ratios = torch.where(of_weights > 0, ratios, 1)
    decayed = torch._foreach_add(gradients, weights, alpha=decay)
    torch._foreach_mul_(decayed, list(ratios.unbind()))
    return list(decayed)


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None
    return weight.grad
