"""Muon: momentum whose matrices are made orthogonal before each step."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Coefficients of the quintic iteration (Jordan et al. 2024): steep at 0, so that five
# iterations bring every singular value to about 1 (0.7 to 1.2), exactly 1 being needless.
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
MATCH_ADAM = 0.2


class Muon(torch.optim.Optimizer):
    """Muon for convolutions' filters and other matrices, one iteration for all of a shape.

    Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), with
    Nesterov momentum, decoupled weight decay, and steps scaled by 0.2·sqrt(max(rows, columns))
    so that Adam's learning rates fit (Liu et al. 2025, arXiv 2502.16982, section 2.2). A
    filter bank (out, in, h, w) is a matrix (out, in·h·w). torch.optim.Muon takes no filters.

    Args:
        parameters: Tensors of two or more dimensions.
        lr: Learning rate.
        momentum: Decay rate of the momentum.
        weight_decay: Decoupled weight decay.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Takes a step for every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            held = [p for p in group["params"] if p.grad is not None]
            if not held:
                continue
            for parameter in held:
                if parameter not in self.state:
                    self.state[parameter]["momentum"] = torch.zeros_like(parameter)
            momenta = [self.state[p]["momentum"] for p in held]
            gradients = [p.grad for p in held]
            torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
            ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
            torch._foreach_mul_(held, 1 - group["lr"] * group["weight_decay"])
            for alike in _by_shape(held, ahead).values():
                _move(alike, group["lr"])


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (n, r, c) with the same singular vectors and singular values near 1."""
    a, b, c = QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def _by_shape(
    held: list[nn.Parameter], ahead: tuple[Tensor, ...]
) -> dict[torch.Size, list[tuple[nn.Parameter, Tensor]]]:
    groups: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
    for parameter, direction in zip(held, ahead, strict=True):
        groups[parameter.shape].append((parameter, direction))
    return groups


def _move(alike: list[tuple[nn.Parameter, Tensor]], lr: float) -> None:
    """Moves parameters of one shape by their orthogonal directions."""
    matrices = torch.stack([direction.flatten(1) for _, direction in alike])
    scale = MATCH_ADAM * math.sqrt(max(matrices.shape[1:]))
    for (parameter, _), made in zip(alike, orthogonal(matrices), strict=True):
        parameter.sub_(made.view_as(parameter), alpha=lr * scale)
