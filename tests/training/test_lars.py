"""LARS against the paper's algorithm written out in float64, one parameter at a time."""

import pytest
import torch
from torch import Tensor, nn

from vicinal.recipes.recipe import Training
from vicinal.training.optimizers import Lars, build_optimizer

SHAPES = ((8, 3, 3, 3), (8,), (5, 8), (5,), (4, 4), (3, 2), ())
ZERO_WEIGHTS, ZERO_GRADIENT, NO_GRADIENT = 4, 5, 6


class Reference:
    """You, Gitman, Ginsburg (2017), algorithm 1, with what released recipes exclude and clip."""

    def __init__(self, weights: list[Tensor], settings: dict[str, float], clip: bool) -> None:
        self.weights = [w.detach().clone() for w in weights]
        self.velocities = [torch.zeros_like(w) for w in self.weights]
        self.settings, self.clip = settings, clip

    def step(self, gradients: list[Tensor | None]) -> None:
        s = self.settings
        for i, gradient in enumerate(gradients):
            if gradient is None:
                continue
            weight, change = self.weights[i], gradient.clone()
            if weight.ndim > 1 and weight.norm().item() != 0 and gradient.norm().item() != 0:
                norm, steep = weight.norm().item(), gradient.norm().item()
                rate = s["trust"] * norm / (steep + s["weight_decay"] * norm + 1e-8)
                if self.clip:
                    rate = min(rate / s["lr"], 1.0)
                change = rate * (gradient + s["weight_decay"] * weight)
            self.velocities[i] = s["momentum"] * self.velocities[i] + change
            self.weights[i] = weight - s["lr"] * self.velocities[i]


def weights(dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    made = [
        nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype))
        for shape in SHAPES
    ]
    with torch.no_grad():
        made[ZERO_WEIGHTS].zero_()
    return made


def gradients(step: int) -> list[Tensor | None]:
    generator = torch.Generator().manual_seed(100 + step)
    scale = 10.0 ** (step - 3)  # from steps that are clipped to steps that are not
    made: list[Tensor | None] = [
        scale * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES
    ]
    made[ZERO_GRADIENT] = torch.zeros(SHAPES[ZERO_GRADIENT], dtype=torch.float64)
    made[NO_GRADIENT] = None
    return made


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 0.3, "momentum": 0.9, "weight_decay": 1e-4, "trust": 0.02},
        {"lr": 2.0, "momentum": 0.0, "weight_decay": 0.1, "trust": 0.001},
        {"lr": 0.3, "momentum": 0.9, "weight_decay": 0.0, "trust": 0.02},
    ],
    ids=["record", "no momentum", "no decay"],
)
def test_it_takes_the_papers_steps(settings: dict[str, float], clip: bool) -> None:
    ours = weights()
    theirs = Reference(list(ours), settings, clip)
    optimizer = Lars(ours, clip=clip, **settings)
    for step in range(6):
        found = gradients(step)
        for weight, gradient in zip(ours, found, strict=True):
            weight.grad = gradient
        optimizer.step()
        theirs.step(found)
        for weight, expected in zip(ours, theirs.weights, strict=True):
            torch.testing.assert_close(weight.detach(), expected, atol=1e-12, rtol=1e-12)


def test_it_goes_on_from_its_state() -> None:
    whole, parts = weights(torch.float32), weights(torch.float32)
    settings = Training(optimizer="lars", learning_rate=0.3, weight_decay=1e-4)

    def take(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, step: int) -> None:
        for weight, gradient in zip(parameters, gradients(step), strict=True):
            weight.grad = None if gradient is None else gradient.float()
        optimizer.step()

    uninterrupted = build_optimizer(whole, settings)
    first = build_optimizer(parts, settings)
    for step in range(2):
        take(whole, uninterrupted, step)
        take(parts, first, step)
    second = build_optimizer(parts, settings)
    second.load_state_dict(first.state_dict())
    take(whole, uninterrupted, 2)
    take(parts, second, 2)
    for a, b in zip(whole, parts, strict=True):
        assert torch.equal(a, b)


def test_the_recipe_sets_it() -> None:
    training = Training(
        optimizer="lars",
        learning_rate=0.7,
        momentum=0.5,
        weight_decay=0.01,
        trust=0.1,
        trust_clip=False,
    )
    optimizer = build_optimizer(weights(), training)
    assert isinstance(optimizer, Lars)
    group = optimizer.param_groups[0]
    names = ("lr", "momentum", "weight_decay", "trust", "clip")
    assert tuple(group[name] for name in names) == (0.7, 0.5, 0.01, 0.1, False)
