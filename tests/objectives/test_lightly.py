"""The objective against lightly's VICRegLoss, which has the paper's denominators."""

import pytest
import torch
from lightly.loss import VICRegLoss as LightlyLoss

from vicinal.objectives import vicreg

CASES = 1_000


def drawn(case: int) -> tuple[torch.Tensor, torch.Tensor, tuple[float, float, float]]:
    """Two embeddings (n, d) float64 of any shape, scale, offset and rank, and three weights."""
    generator = torch.Generator().manual_seed(case)

    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    n, d, rank = whole(2, 48), whole(1, 48), whole(1, 48)
    scale = 10.0 ** (4 * torch.rand((), generator=generator).item() - 2)
    z_a = scale * (normal(n, rank) @ normal(rank, d) / rank**0.5 + 3 * normal(d))
    z_b = z_a + scale * torch.rand((), generator=generator) * normal(n, d)
    weights = (50 * torch.rand(3, generator=generator)).tolist()
    return z_a, z_b, (weights[0], weights[1], weights[2])


def test_a_thousand_random_cases_agree_to_five_digits() -> None:
    worst = 0.0
    for case in range(CASES):
        z_a, z_b, (invariance, variance, covariance) = drawn(case)
        ours = vicreg(
            z_a,
            z_b,
            invariance_weight=invariance,
            variance_weight=variance,
            covariance_weight=covariance,
            convention="paper",
        ).total
        theirs = LightlyLoss(invariance, variance, covariance, eps=1e-4)(z_a, z_b)
        assert ours.dtype == torch.float64
        worst = max(worst, abs(ours.item() / theirs.item() - 1))
    assert worst < 1e-5


@pytest.mark.parametrize("case", range(0, CASES, 40))
def test_gradients_agree(case: int) -> None:
    z_a, z_b, (invariance, variance, covariance) = drawn(case)
    gradients = []
    for ours in (True, False):
        a, b = z_a.clone().requires_grad_(), z_b.clone().requires_grad_()
        if ours:
            loss = vicreg(
                a,
                b,
                invariance_weight=invariance,
                variance_weight=variance,
                covariance_weight=covariance,
                convention="paper",
            ).total
        else:
            loss = LightlyLoss(invariance, variance, covariance, eps=1e-4)(a, b)
        gradients.append(torch.cat(torch.autograd.grad(loss, (a, b))))
    scale = gradients[1].abs().max().item()
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9 * scale)
