"""The objectives beside VICReg: float64 references written from the papers, and known values."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.stats import norm
from torch import Tensor

from vicinal.errors import InputError
from vicinal.objectives import (
    OBJECTIVES,
    BarlowLoss,
    Criterion,
    NTXentLoss,
    SIGRegLoss,
    TCRLoss,
    Terms,
    VISRegLoss,
    barlow,
    directions,
    ntxent,
    of_recipe,
    sigreg,
    slices,
    tcr,
    vicreg,
    visreg,
    without_spread,
)
from vicinal.recipes import override
from vicinal.recipes.recipe import Objective, Recipe
from vicinal.representations.spectral import LaplacianEigenmaps

SIZES = [(12, 7), (7, 12), (20, 40)]
OTHERS = [name for name in OBJECTIVES if name != "vicreg"]


def drawn(n: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(n, d, generator=generator, dtype=torch.float64)
    other = base + 0.5 * torch.randn(n, d, generator=generator, dtype=torch.float64)
    scale = torch.linspace(0.5, 2, d, dtype=torch.float64)
    return base * scale + 0.3, other * scale


def own(name: str, z_a: Tensor, z_b: Tensor, *settings: str, rows: int | None = None) -> Terms:
    objective = override(Recipe(), [f"objective.name={name}", *settings]).objective
    return of_recipe(z_a, z_b, objective, rows, *directions(objective, z_a.shape[1], 0))


# References: plain, slow, and by autograd.


def barlow_reference(a: Tensor, b: Tensor) -> Tensor:
    hats = [(z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt() for z in (a, b)]
    c = hats[0].T @ hats[1] / len(a)
    diagonal = c.diagonal()
    return (1 - diagonal).square().sum() + 0.0051 * (c - diagonal.diag()).square().sum()


def integral(z: Tensor, along: Tensor, knots: np.ndarray[Any, Any]) -> Tensor:
    """∫ by the trapezoidal rule at knots (K,), the mean over the slices, by complex numbers."""
    t = torch.from_numpy(knots)
    empirical = torch.exp(1j * (z @ along.double())[..., None] * t).mean(0)
    wanted = torch.exp(-t.square() / 2)
    return torch.trapezoid((empirical - wanted).abs().square() * wanted, t, dim=1).mean()


def sigreg_reference(a: Tensor, b: Tensor) -> Tensor:
    along, knots = slices(a.shape[1], 256, 0), np.linspace(-3, 3, 33)
    middle = (a + b) / 2
    near = torch.stack([a - middle, b - middle]).square().mean()
    s = len(a) * (integral(a, along, knots) + integral(b, along, knots)) / 2
    return 0.95 * near + 0.05 * s


def visreg_reference(a: Tensor, b: Tensor) -> Tensor:
    along, middle = slices(a.shape[1], 256, 0).double(), (a + b) / 2
    total = 0.4 * torch.stack([a - middle, b - middle]).square().mean()
    wanted = torch.from_numpy(norm.ppf(np.arange(1, len(a) + 1) / (len(a) + 1)))
    for z in (a, b):
        mu, sigma = z.mean(0), z.std(0, unbiased=False)
        hat = (z - mu.detach()) / (sigma.detach() + 1e-4)
        shape = ((hat @ along).sort(dim=0).values - wanted[:, None]).square().mean()
        total = total + 0.3 * (mu.square().mean() + (sigma - 1).square().mean() + shape)
    return total


def ntxent_reference(a: Tensor, b: Tensor) -> Tensor:
    z = F.normalize(torch.cat([a, b]), dim=1)
    logits = (z @ z.T / 0.2).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    partner = (torch.arange(len(z)) + len(a)) % len(z)
    return F.cross_entropy(logits, partner)


def tcr_reference(a: Tensor, b: Tensor) -> Tensor:
    units, d = [F.normalize(z, dim=1) for z in (a, b)], a.shape[1]
    scale = d / (0.2 * len(a))
    rates = [torch.logdet(torch.eye(d).double() + scale * z.T @ z) / 2 for z in units]
    mean = sum(units) / 2
    return -sum(rates) / 2 - 200 * sum(F.cosine_similarity(z, mean).mean() for z in units) / 2


REFERENCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "barlow": barlow_reference,
    "sigreg": sigreg_reference,
    "visreg": visreg_reference,
    "ntxent": ntxent_reference,
    "tcr": tcr_reference,
}


@pytest.mark.parametrize(("n", "d"), SIZES)
@pytest.mark.parametrize("name", OTHERS)
def test_loss_and_gradients_are_the_papers(name: str, n: int, d: int) -> None:
    mine = [z.requires_grad_() for z in drawn(n, d)]
    theirs = [z.requires_grad_() for z in drawn(n, d)]
    ours, expected = own(name, *mine).total, REFERENCES[name](*theirs)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-9)
    of_ours, of_theirs = torch.autograd.grad(ours, mine), torch.autograd.grad(expected, theirs)
    for one, other in zip(of_ours, of_theirs, strict=True):
        assert (one - other).norm() <= 1e-8 * other.norm()


@pytest.mark.parametrize(("n", "d"), [(64, 32), (32, 128)])
@pytest.mark.parametrize("name", OTHERS)
def test_float32_keeps_five_digits(name: str, n: int, d: int) -> None:
    exact = [z.requires_grad_() for z in drawn(n, d, seed=1)]
    single = [z.detach().float().requires_grad_() for z in exact]
    ours, expected = own(name, *single).total, own(name, *exact).total
    assert ours.dtype == torch.float32
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)
    pairs = zip(
        torch.autograd.grad(ours, single), torch.autograd.grad(expected, exact), strict=True
    )
    for one, other in pairs:
        assert (one.double() - other).norm() <= 2e-5 * other.norm()


@pytest.mark.parametrize("name", OTHERS)
def test_statistics_are_float32_under_autocast(name: str) -> None:
    halves = [z.bfloat16().requires_grad_() for z in drawn(16, 24)]
    with torch.autocast("cpu", torch.bfloat16):
        inside = own(name, *halves).total
    inside.backward()  # type: ignore[no-untyped-call]
    whole = [z.detach().float().requires_grad_() for z in halves]
    outside = own(name, *whole).total
    outside.backward()  # type: ignore[no-untyped-call]
    assert inside.item() == outside.item()
    for half, one in zip(halves, whole, strict=True):
        assert half.grad is not None
        assert one.grad is not None
        assert torch.equal(half.grad, one.grad.bfloat16())


@pytest.mark.parametrize("name", OTHERS)
def test_neither_the_order_of_images_nor_of_views_counts(name: str) -> None:
    a, b = drawn(16, 9)
    order, total = torch.randperm(16), own(name, a, b).total.item()
    assert own(name, b, a).total.item() == pytest.approx(total, rel=1e-9)
    assert own(name, a[order], b[order]).total.item() == pytest.approx(total, rel=1e-9)


# Values worked by hand.


def test_barlow_by_hand() -> None:
    # Standardised columns: a (1, −1) and (1, −1), b (1, −1) and (−1, 1): C = [[1, −1], [1, −1]].
    a = torch.tensor([[2.0, 5.0], [0.0, 1.0]]).double()
    b = torch.tensor([[7.0, 0.0], [3.0, 9.0]]).double()
    parts = barlow(a, b, epsilon=1e-15).parts
    assert parts["invariance"].item() == pytest.approx(4)  # (1 − 1)² + (1 + 1)²
    assert parts["redundancy"].item() == pytest.approx(2)
    assert barlow(a, a, epsilon=1e-15).parts["invariance"].item() == pytest.approx(
        0
    )  # biased: C_ii = 1


@pytest.mark.parametrize(
    ("convention", "collapsed", "near"),
    [
        ("lejepa", 0.40205 * 8, 0.25),
        ("stable_pretraining", 0.40205 * 16, 0.25),
        ("eb_jepa", 0.39996, 1.0),
    ],
)
def test_sigreg_by_hand(convention: Any, collapsed: float, near: float) -> None:
    nothing, along = torch.zeros(8, 4).double().requires_grad_(), slices(4, 16, 0)
    terms = sigreg(nothing, nothing, along, weight=0.5, convention=convention)
    assert terms.parts["normality"].item() == pytest.approx(collapsed, rel=2e-5)
    assert terms.parts["invariance"].item() == 0
    (gradient,) = torch.autograd.grad(terms.total, nothing)
    assert gradient.abs().max() == 0  # the trap: a collapsed batch is not pushed apart
    # Views at 1 and −1 lie 1 from their mean, and 2 from each other.
    one = torch.ones(8, 4).double()
    parts = sigreg(one, -one, along, convention=convention).parts
    assert parts["invariance"].item() == pytest.approx(4 * near)


def test_sigreg_weighs_as_its_conventions_say() -> None:
    a, b = drawn(16, 8)
    along = slices(8, 64, 0)
    given = {"lejepa": (0.75, 0.25), "eb_jepa": (1, 0.25), "stable_pretraining": (1, 0.25)}
    for convention, (near, far) in given.items():
        terms = sigreg(a, b, along, weight=0.25, convention=convention)  # type: ignore[arg-type]
        expected = near * terms.parts["invariance"] + far * terms.parts["normality"]
        assert terms.total.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("n", [16, 256])
def test_sigreg_of_normal_rows_is_1_0525_on_average(n: int) -> None:
    # 1.0525 is the rule's own integral of (1 − e^(−t²)) e^(−t²/2); over 300 draws ± 0.02.
    generator = torch.Generator().manual_seed(0)
    found = [
        sigreg(z, z, slices(8, 64, number)).parts["normality"].item()
        for number in range(300)
        for z in (torch.randn(n, 8, generator=generator),)
    ]
    assert np.mean(found) == pytest.approx(1.0525, abs=0.08)


def test_visreg_by_hand() -> None:
    alike = torch.full((10, 3), 2.0).double().requires_grad_()
    terms = visreg(alike, alike, slices(3, 8, 0))
    assert terms.parts["scale"].item() == 1
    assert terms.parts["centre"].item() == pytest.approx(4)
    (gradient,) = torch.autograd.grad(terms.total, alike)
    assert gradient.isfinite().all()
    # One dimension whose standardised rows are the quantiles times their own spread.
    quantiles = torch.from_numpy(norm.ppf(np.arange(1, 101) / 101))[:, None]
    parts = visreg(quantiles, quantiles.flip(0), torch.ones(1, 1), epsilon=0).parts
    spread = quantiles.std(unbiased=False).item()
    expected = (1 / spread - 1) ** 2 * quantiles.square().mean().item()
    assert parts["shape"].item() == pytest.approx(expected)
    assert parts["centre"].item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("n", [2, 10])
def test_ntxent_of_a_collapsed_batch(n: int) -> None:
    alike = torch.ones(n, 5).double()
    assert ntxent(alike, alike).total.item() == pytest.approx(math.log(2 * n - 1))
    decoupled = ntxent(alike, alike, decoupled=True).total.item()
    assert decoupled == pytest.approx(math.log(2 * n - 2))


def test_ntxent_by_hand() -> None:
    # Two orthogonal images, each view right: every row has 1/τ to its own, 0 to the other two.
    z = torch.eye(2).double()
    assert ntxent(z, z, temperature=0.5).total.item() == pytest.approx(-2 + math.log(math.e**2 + 2))
    decoupled = ntxent(z, z, temperature=0.5, decoupled=True).total.item()
    assert decoupled == pytest.approx(-2 + math.log(2))
    assert ntxent(z, z).parts["alignment"].item() == pytest.approx(-5)  # τ = .2
    assert ntxent(z, z, decoupled=True).parts["alignment"].item() == pytest.approx(-10)  # τ = .1


def test_tcr_by_hand() -> None:
    # B = D = 2, orthogonal rows: I + 2/(.2·2)·I, so logdet = 2·log 6 and the rate is −log 6.
    z = torch.eye(2).double()
    terms = tcr(z, z)
    assert terms.parts["rate"].item() == pytest.approx(-math.log(6))
    assert terms.parts["alignment"].item() == pytest.approx(-1)
    assert terms.total.item() == pytest.approx(-math.log(6) - 200)


# What must not matter, and what follows from what.


def test_barlow_does_not_mind_shift_and_positive_scale_of_a_dimension() -> None:
    a, b = drawn(20, 6)
    scale = torch.tensor([0.01, 3, 10, 0.5, 1, 100]).double()
    moved = a * scale + torch.arange(6), b * scale.flip(0) - 5
    assert barlow(*moved, epsilon=1e-15).total.item() == pytest.approx(
        barlow(a, b, epsilon=1e-15).total.item(), rel=1e-9
    )
    assert barlow(-a, b, epsilon=1e-15).total.item() != pytest.approx(
        barlow(a, b, epsilon=1e-15).total.item()
    )


@pytest.mark.parametrize("name", ["ntxent", "tcr"])
def test_the_length_of_a_row_counts_for_nothing(name: str) -> None:
    a, b = drawn(12, 6)
    lengths = torch.linspace(0.1, 9, 12).double()[:, None]
    total = own(name, a, b).total.item()
    assert own(name, a * lengths, b / lengths).total.item() == pytest.approx(total)


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_the_duality_of_rows_and_columns(n: int, d: int) -> None:
    # Garrido et al., ICLR 2023: what contrastive and non-contrastive terms differ by.
    z = drawn(n, d)[0]
    rows, columns = z @ z.T, z.T @ z
    off = [m.square().sum() - m.diagonal().square().sum() for m in (rows, columns)]
    left = off[0] + z.square().sum(dim=1).square().sum()
    right = off[1] + z.square().sum(dim=0).square().sum()
    assert left.item() == pytest.approx(right.item(), rel=1e-12)


def test_free_embeddings_under_vicreg_span_laplacian_eigenmaps() -> None:
    # Balestriero and LeCun, arXiv 2205.11508: with free embeddings of a fixed graph's nodes, the
    # invariance of its edges beside variance and covariance asks for the smoothest directions.
    generator = np.random.default_rng(0)
    points = generator.normal(size=(40, 3)).astype(np.float32) * (4, 2, 1)
    maps = LaplacianEigenmaps(n_components=2, n_neighbors=6, random_state=0)
    wanted = maps.fit_transform(points)
    near = np.linalg.norm(points[:, None] - points[None], axis=2).argsort(axis=1)[:, 1:7]
    joined = np.zeros((40, 40), bool)
    joined[np.repeat(np.arange(40), 6), near.ravel()] = True
    first, second = map(torch.from_numpy, np.nonzero(joined | joined.T))
    degree = torch.from_numpy((joined | joined.T).sum(axis=1)).double()
    free = torch.randn(40, 2, generator=torch.Generator().manual_seed(0)).double()
    free.requires_grad_()
    optimizer = torch.optim.LBFGS([free], max_iter=800, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        # Every end of an edge is a row, so that a node counts as often as it has edges. Deviations
        # of less than 1 keep to where the hinge is smooth.
        weights = {"variance_weight": 1.0, "covariance_weight": 1000.0}
        terms = vicreg(free[first], free[second], **weights, epsilon=1e-12)  # type: ignore[arg-type]
        terms.total.backward()  # type: ignore[no-untyped-call]
        return terms.total

    optimizer.step(loss)
    weights = degree.sqrt().numpy()[:, None]
    found = free.detach().numpy()
    spans = [
        np.linalg.qr(weights * (z - np.average(z, axis=0, weights=degree.numpy())))[0]
        for z in (found, wanted.astype(np.float64))
    ]
    cosines = np.linalg.svd(spans[0].T @ spans[1])[1]
    assert cosines.min() > 0.999


# As modules, and by a recipe.


@pytest.mark.parametrize(
    ("module", "function", "settings"),
    [
        (BarlowLoss, barlow, {"redundancy": 0.1}),
        (NTXentLoss, ntxent, {"decoupled": True}),
        (TCRLoss, tcr, {"alignment": 50.0}),
    ],
)
def test_the_module_is_the_function(
    module: type[Criterion], function: Callable[..., Terms], settings: dict[str, Any]
) -> None:
    a, b = drawn(8, 5)
    criterion = module(**settings)
    assert criterion.parts == {}
    assert torch.equal(criterion(a, b), function(a, b, **settings).total)
    assert torch.equal(module()(a, b), function(a, b).total)
    assert criterion.parts == function(a, b, **settings).parts
    assert next(iter(settings)) in repr(criterion)
    assert not list(criterion.parameters())
    with pytest.raises(InputError, match="has no 'lambda_'"):
        module(lambda_=1)


@pytest.mark.parametrize("module", [SIGRegLoss, VISRegLoss])
def test_slices_are_new_each_call_and_come_back(module: type[Criterion]) -> None:
    a, b = (z.float() for z in drawn(8, 5))
    criterion, again = module(slices=4, seed=3), module(slices=4, seed=3)
    first, second = criterion(a, b), criterion(a, b)
    assert not torch.equal(first, second)
    assert torch.equal(again(a, b), first)
    resumed = module(slices=4, seed=3)
    resumed.load_state_dict(again.state_dict())
    assert torch.equal(resumed(a, b), second)
    assert not torch.equal(module(slices=4, seed=4)(a, b), first)


def test_slices_have_unit_length_and_come_from_what_they_are_drawn_from() -> None:
    found = slices(30, 7, 1, 2, 3)
    assert found.shape == (30, 7)
    assert torch.allclose(found.norm(dim=0), torch.ones(7))
    assert torch.equal(found, slices(30, 7, 1, 2, 3))
    assert not torch.equal(found, slices(30, 7, 1, 2, 4))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_recipe_names_it(name: str) -> None:
    a, b = drawn(10, 6)
    terms = own(name, a, b)
    assert tuple(terms.parts) == OBJECTIVES[name].parts
    assert not any(part.requires_grad for part in terms.parts.values())
    # Without its spread term a batch whose views are alike has nothing left to gain.
    objective = override(Recipe(), [f"objective.name={name}"]).objective
    without = without_spread(objective)
    alike = a.clone().requires_grad_()
    for settings, pushes in ((objective, True), (without, False)):
        total = of_recipe(alike, alike, settings, None, *directions(settings, 6, 0)).total
        (gradient,) = torch.autograd.grad(total, alike)
        if name != "vicreg":  # whose covariance stays
            assert (gradient.abs().max() > 1e-3) == pushes
    assert without != objective
    assert isinstance(without, Objective)


def test_a_share_above_one_is_refused_where_it_is_one() -> None:
    with pytest.raises(InputError, match=r"objective\.sigreg\.weight = 10: must be 1 or less"):
        override(Recipe(), ["objective.sigreg.weight=10"])
    override(Recipe(), ["objective.sigreg.weight=10", "objective.sigreg.convention=eb_jepa"])
    with pytest.raises(InputError, match=r"objective\.name"):
        override(Recipe(), ["objective.name=byol"])


@pytest.mark.parametrize(("n", "d"), SIZES)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_rank_of_one_finds_what_no_rank_finds(name: str, n: int, d: int) -> None:
    """With ``rows`` the way of many ranks is taken, and the whole batch is this rank's."""
    alone, ranked = ([z.requires_grad_() for z in drawn(n, d)] for _ in range(2))
    found, expected = own(name, *ranked, rows=n), own(name, *alone)
    assert found.total.item() == pytest.approx(expected.total.item(), rel=1e-12)
    assert found.parts.keys() == expected.parts.keys()
    for part, value in expected.parts.items():
        assert found.parts[part].item() == pytest.approx(value.item(), rel=1e-9)
    for mine, theirs in zip(
        torch.autograd.grad(found.total, ranked),
        torch.autograd.grad(expected.total, alone),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_a_module_without_slices_has_no_state_and_slices_have_defaults() -> None:
    a, b = drawn(9, 6)
    assert BarlowLoss().get_extra_state() == 0
    module = SIGRegLoss()
    assert module.get_extra_state() == 0
    expected = sigreg(a, b, slices(6, 256, 0, 0)).total
    assert module(a, b).item() == pytest.approx(expected.item())
    assert module.get_extra_state() == 1
    expected = sigreg(a, b, slices(6, 256, 0, 1)).total
    assert module(a, b).item() == pytest.approx(expected.item())
    with pytest.raises(InputError, match=r"has no 'lambda': it has \[.*'slices', 'seed'\]"):
        SIGRegLoss(**{"lambda": 1})
    with pytest.raises(InputError) as refused:
        BarlowLoss(slices=3)
    assert "'seed'" not in str(refused.value)


def test_defaults_are_those_that_are_published() -> None:
    defaults = {
        barlow: {"redundancy": 0.0051, "epsilon": 1e-5},
        sigreg: {"weight": 0.05, "convention": "lejepa"},
        visreg: {"weight": 0.6, "epsilon": 1e-4},
        ntxent: {"temperature": None, "uniformity": 1.0, "decoupled": False},
        tcr: {"rate": 1.0, "alignment": 200.0, "distortion": 0.2},
    }
    for function, expected in defaults.items():
        known = inspect.signature(function).parameters
        assert {name: known[name].default for name in expected} == expected
