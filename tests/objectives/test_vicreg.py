"""The objective against a float64 reference written from the paper's equations."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.errors import InputError
from vicinal.objectives import CONVENTIONS, PRESETS, VICRegLoss, vicreg
from vicinal.objectives.vicreg import gathers, regularisers


def reference(z_a: Tensor, z_b: Tensor, gamma: float = 1.0, eps: float = 1e-4) -> dict[str, float]:
    """Plain loops over the definitions: Σ over pairs, 1/(n−1), nothing clever."""
    n, d = z_a.shape
    rows_a, rows_b = z_a.double().tolist(), z_b.double().tolist()
    terms = {"variance": 0.0, "offdiagonal": 0.0}
    terms["invariance"] = sum(
        (a - b) ** 2
        for row_a, row_b in zip(rows_a, rows_b, strict=True)
        for a, b in zip(row_a, row_b, strict=True)
    ) / (n * d)
    for rows in (rows_a, rows_b):
        means = [sum(row[j] for row in rows) / n for j in range(d)]
        for i in range(d):
            for j in range(d):
                cov = sum((r[i] - means[i]) * (r[j] - means[j]) for r in rows) / (n - 1)
                if i == j:
                    terms["variance"] += max(0.0, gamma - math.sqrt(cov + eps)) / d
                else:
                    terms["offdiagonal"] += cov**2
    return terms


def draw(n: int, d: int, seed: int, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, d, generator=generator) @ torch.randn(d, d, generator=generator) / d**0.5
    return z + offset, z + 0.3 * torch.randn(n, d, generator=generator) + offset


@given(n=st.integers(2, 24), d=st.integers(1, 24), seed=st.integers(0, 10_000))
def test_every_part_is_the_papers_whichever_side_is_smaller(n: int, d: int, seed: int) -> None:
    z_a, z_b = draw(n, d, seed)
    expected = reference(z_a, z_b)
    parts = vicreg(z_a, z_b, convention="study").parts
    assert parts["invariance"].item() == pytest.approx(expected["invariance"], rel=1e-5, abs=1e-7)
    assert parts["variance"].item() == pytest.approx(expected["variance"], rel=1e-4, abs=1e-6)
    assert parts["covariance"].item() == pytest.approx(
        expected["offdiagonal"] / d, rel=1e-4, abs=1e-6
    )


@pytest.mark.parametrize(
    ("convention", "variance_factor", "divisor"),
    [("study", 1, 6), ("paper", 0.5, 6), ("solo", 1, 6), ("eb_jepa", 1, 30)],
)
def test_a_convention_changes_denominators_and_nothing_else(
    convention: str, variance_factor: float, divisor: int
) -> None:
    z_a, z_b = draw(10, 6, seed=1)
    z_a, z_b = 0.2 * z_a, 0.2 * z_b  # below the target, so the variance term is not 0
    expected = reference(z_a, z_b)
    terms = vicreg(
        z_a, z_b, invariance_weight=2, variance_weight=3, covariance_weight=5, convention=convention
    )
    variance = variance_factor * expected["variance"]
    covariance_term = expected["offdiagonal"] / divisor
    assert terms.parts["variance"].item() == pytest.approx(variance, rel=1e-4)
    assert terms.parts["covariance"].item() == pytest.approx(covariance_term, rel=1e-4)
    total = 2 * expected["invariance"] + 3 * variance + 5 * covariance_term
    assert terms.total.item() == pytest.approx(total, rel=1e-4)


def test_a_value_computed_by_hand() -> None:
    # z_a: means (0, 0), variances (2, 2), covariance 2; z_b: variances (0, 0).
    # invariance = (1+1+1+1)/4 = 1; variance = 0 + (1 − 0.01) = 0.99; covariance = 2·2²/2 = 4.
    z_a = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    z_b = torch.zeros(2, 2)
    terms = vicreg(z_a, z_b)
    assert terms.parts["invariance"].item() == pytest.approx(1.0)
    assert terms.parts["variance"].item() == pytest.approx(0.99)
    assert terms.parts["covariance"].item() == pytest.approx(4.0)
    assert terms.total.item() == pytest.approx(25 * 1 + 25 * 0.99 + 4)


def test_presets_name_every_convention_and_run() -> None:
    z_a, z_b = draw(8, 4, seed=0)
    assert set(PRESETS) == set(CONVENTIONS)
    totals = {name: vicreg(z_a, z_b, **preset).total.item() for name, preset in PRESETS.items()}
    assert totals["study"] == totals["solo"]
    assert len(set(totals.values())) == 3


@pytest.mark.parametrize(("n", "d"), [(8, 5), (5, 8), (2, 1), (2, 9), (6, 6)])
def test_gradients(n: int, d: int) -> None:
    z_a, z_b = draw(n, d, seed=3)
    z_a, z_b = z_a.double().requires_grad_(), z_b.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: vicreg(a, b).total, (z_a, z_b))


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e4])
@pytest.mark.parametrize(("n", "d"), [(256, 64), (64, 256), (128, 128), (128, 129)])
def test_large_means_and_near_square_shapes_keep_their_digits(
    n: int, d: int, offset: float
) -> None:
    z_a, z_b = draw(n, d, seed=5, offset=offset)
    exact = vicreg(z_a.double(), z_b.double())
    ours = vicreg(z_a, z_b)
    for name, value in exact.parts.items():
        assert ours.parts[name].item() == pytest.approx(value.item(), rel=2e-4), name


@pytest.mark.parametrize(("n", "d"), [(16, 8), (8, 16)])
def test_constant_dimensions_have_finite_gradients(n: int, d: int) -> None:
    z_a, z_b = draw(n, d, seed=2)
    z_a[:, ::2] = 7.0
    z_a.requires_grad_()
    vicreg(z_a, z_b).total.backward()
    assert z_a.grad is not None
    assert torch.isfinite(z_a.grad).all()
    vicreg(torch.ones(n, d, requires_grad=True), torch.ones(n, d)).total.backward()


@pytest.mark.parametrize("offset", [0.0, 10.0])
@pytest.mark.parametrize(("n", "d"), [(256, 64), (64, 256), (128, 128), (128, 129)])
def test_gradients_in_float32_are_those_of_the_formula(n: int, d: int, offset: float) -> None:
    z_a, z_b = (0.7 * z + offset for z in draw(n, d, seed=7))
    exact, ours = z_a.double().requires_grad_(), z_a.clone().requires_grad_()
    cov = torch.cov(exact.T)
    std = torch.sqrt(cov.diagonal() + 1e-4)
    off_diagonal = cov - torch.diag(cov.diagonal())
    hinge = torch.relu(1 - std).mean()
    close = (exact - z_b.double()).square().mean()
    (25 * close + 25 * hinge + off_diagonal.square().sum() / d).backward()
    vicreg(ours, z_b).total.backward()
    assert ours.grad is not None
    assert exact.grad is not None
    assert (ours.grad - exact.grad).norm() <= 1e-5 * exact.grad.norm()


@pytest.mark.parametrize(("n", "d"), [(12, 7), (7, 12)])
def test_a_weight_of_nothing_leaves_the_other_gradients(n: int, d: int) -> None:
    z = (0.1 * draw(n, d, seed=8)[0].double()).requires_grad_()
    parts = ("variance_weight", "covariance_weight")
    whole = torch.autograd.grad(vicreg(z, z.detach()).total, z)[0]
    alone = [torch.autograd.grad(vicreg(z, z.detach(), **{p: 0.0}).total, z)[0] for p in parts]
    assert torch.allclose(sum(alone), whole, rtol=1e-12, atol=1e-12)


def test_full_collapse_costs_the_whole_variance_term() -> None:
    z = torch.ones(32, 10)
    parts = vicreg(z, z).parts
    assert parts["variance"].item() == pytest.approx(2 * (1 - 0.01))  # sqrt(ε) = 0.01
    assert parts["invariance"].item() == 0
    assert parts["covariance"].item() == 0


@given(n=st.integers(2, 30), d=st.integers(1, 30), seed=st.integers(0, 1000))
def test_the_total_does_not_mind_which_view_is_first_or_the_order_of_images(
    n: int, d: int, seed: int
) -> None:
    z_a, z_b = draw(n, d, seed)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    total = vicreg(z_a, z_b).total.item()
    assert vicreg(z_b, z_a).total.item() == pytest.approx(total, rel=1e-4, abs=1e-5)
    assert vicreg(z_a[order], z_b[order]).total.item() == pytest.approx(total, rel=1e-4, abs=1e-5)


def test_statistics_are_float32_under_autocast() -> None:
    z_a, z_b = draw(64, 128, seed=4)
    with torch.autocast("cpu", torch.bfloat16):
        inside = vicreg(z_a.bfloat16(), z_b.bfloat16())
    outside = vicreg(z_a.bfloat16().float(), z_b.bfloat16().float())
    assert inside.total.dtype == torch.float32
    assert inside.total.item() == outside.total.item()


def test_both_sides_of_the_covariance_agree() -> None:
    z = draw(40, 60, seed=6)[0].double()
    _, wide = regularisers(z, 1.0, 1e-4)
    z = z - z.mean(dim=0)
    gram = z.T @ z / (len(z) - 1)
    direct = gram.square().sum() - gram.diagonal().square().sum()
    assert wide.item() == pytest.approx(direct.item(), rel=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [((4, 3), (4, 2), "one shape"), ((4,), (4,), "one shape"), ((1, 3), (1, 3), "at least 2")],
)
def test_wrong_shapes_are_refused(a: tuple[int, ...], b: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vicreg(torch.zeros(a), torch.zeros(b))


@pytest.mark.parametrize("name", [None, *PRESETS])
def test_the_module_is_the_function(name: str | None) -> None:
    settings: dict[str, Any] = {} if name is None else dict(PRESETS[name])
    criterion = VICRegLoss(**settings, target_std=2.0)
    z_a, z_b = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))
    z_a.requires_grad_()
    assert criterion.parts == {}
    loss = criterion(z_a, z_b)
    terms = vicreg(z_a, z_b, **settings, target_std=2.0)
    assert loss.shape == ()
    assert torch.equal(loss, terms.total)
    assert criterion.parts == terms.parts
    loss.backward()
    assert z_a.grad is not None
    assert not list(criterion.parameters())
    assert "target_std=2.0" in repr(criterion)


def test_the_module_refuses_an_unknown_convention() -> None:
    with pytest.raises(InputError, match="'mine': give one of study, paper"):
        VICRegLoss(convention="mine")  # type: ignore[arg-type]


def test_the_module_has_the_functions_defaults_and_says_its_settings() -> None:
    z_a, z_b = draw(8, 4, seed=0)
    small = 0.1 * z_a, 0.1 * z_b  # below the target, so that it and ε count
    assert torch.equal(VICRegLoss()(*small), vicreg(*small).total)
    wide = VICRegLoss(epsilon=0.5)
    assert torch.equal(wide(*small), vicreg(*small, epsilon=0.5).total)
    assert not torch.equal(wide(*small), vicreg(*small).total)
    assert "epsilon=0.5, " in repr(wide) or ", epsilon=0.5" in repr(wide)


def test_presets_are_the_published_weights() -> None:
    names = ("convention", "invariance_weight", "variance_weight", "covariance_weight")
    assert {name: tuple(preset[key] for key in names) for name, preset in PRESETS.items()} == {
        "study": ("study", 25, 25, 1),
        "paper": ("paper", 25, 25, 1),
        "solo": ("solo", 25, 25, 1),
        "eb_jepa": ("eb_jepa", 1, 1, 80),
    }


def test_the_cheaper_exchange_is_chosen() -> None:
    assert gathers(256, 2048)  # 0.5 M numbers against 4 M
    assert not gathers(4096, 512)
    assert not gathers(512, 512)  # ZZᵀ is not the smaller product
    for n in range(2, 40):
        for d in range(2, 40):
            moved, multiplied = (n * d, 2 * d * d), (2 * n * n * d, 2 * n * d * d)
            less = moved[0] < moved[1] and multiplied[0] < multiplied[1]
            assert gathers(n, d) == less, (n, d)
