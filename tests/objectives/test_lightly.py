"""The objectives against lightly's losses, where both define the same.

VICReg with the paper's denominators, Barlow Twins, NT-Xent and DCL agree. Not compared, for they
differ: lightly's `emp_ssl_loss` adds the logdet that EMP-SSL's paper subtracts, and its SIGReg and
VISReg pull to the first view, ours to the mean of the views.
"""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from lightly.loss import BarlowTwinsLoss, DCLLoss, NTXentLoss
from lightly.loss import VICRegLoss as LightlyLoss

from vicinal.objectives import Terms, barlow, ntxent, vicreg

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


SAME: dict[str, tuple[Callable[..., Terms], torch.nn.Module]] = {
    "barlow": (barlow, BarlowTwinsLoss(lambda_param=0.0051)),
    "ntxent": (ntxent, NTXentLoss(temperature=0.2)),
    "ntxent, decoupled": (partial(ntxent, decoupled=True), DCLLoss(temperature=0.1)),
}
"""By name: ours with its defaults, and lightly's with the same settings, where its own differ."""


@pytest.mark.parametrize("name", SAME)
def test_other_objectives_agree_in_value_and_gradient(name: str) -> None:
    ours, theirs = SAME[name]
    for case in range(60):
        z_a, z_b, _ = drawn(case)
        largest = z_a.abs().max().item()
        z_a, z_b = z_a.requires_grad_(), z_b.requires_grad_()
        losses = ours(z_a, z_b).total, theirs(z_a, z_b)
        torch.testing.assert_close(*losses, rtol=1e-9, atol=1e-9)
        of_ours, of_theirs = (torch.cat(torch.autograd.grad(one, (z_a, z_b))) for one in losses)
        # In one dimension a row of unit length has no gradient but rounding's.
        scale = max(of_theirs.abs().max().item(), 1 / largest)
        torch.testing.assert_close(of_ours, of_theirs, rtol=1e-6, atol=1e-9 * scale)
