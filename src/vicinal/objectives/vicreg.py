"""VICReg: variance-invariance-covariance regularisation (Bardes, Ponce, LeCun, ICLR 2022).

On several ranks the terms are those of all ranks' rows, exact, by the cheaper of two exchanges. Let
n be the rows of the global batch, D its width and W the ranks, each with n/W rows. The variance and
the covariance term need Z's squared Frobenius norms, of ZᵀZ or of ZZᵀ alike:

    gather   every rank gets all rows, n·D numbers, and forms its own n/W rows of ZZᵀ
    reduce   every rank forms ZᵀZ of its own rows, and their D×D sums are added up

Gradients are written out: nothing is exchanged for them.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypedDict

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from vicinal.distributed import all_rows, share, summed, total, world_size
from vicinal.objectives.terms import Criterion, Terms, centre, check_views, exact, precise

Convention = Literal["study", "paper", "solo", "eb_jepa"]


class Denominators(NamedTuple):
    """What a convention divides by."""

    variance_views: int
    """1 sums the variance term over the two views, 2 takes their mean."""
    covariance_pairs: bool
    """True divides the covariance term by D(D−1), False by D."""


# One name, four losses: the published weights mean something only with these.
CONVENTIONS: dict[Convention, Denominators] = {
    "study": Denominators(variance_views=1, covariance_pairs=False),
    "paper": Denominators(variance_views=2, covariance_pairs=False),
    "solo": Denominators(variance_views=1, covariance_pairs=False),
    "eb_jepa": Denominators(variance_views=1, covariance_pairs=True),
}


class Preset(TypedDict):
    """Keyword arguments of `vicreg` that make up a published objective."""

    invariance_weight: float
    variance_weight: float
    covariance_weight: float
    convention: Convention


def _preset(convention: Convention, *weights: float) -> Preset:
    invariance, variance, covariance = weights
    return Preset(
        invariance_weight=invariance,
        variance_weight=variance,
        covariance_weight=covariance,
        convention=convention,
    )


# The published weights beside the convention they belong to: vicreg(z_a, z_b, **PRESETS["paper"]).
PRESETS: dict[str, Preset] = {
    "study": _preset("study", 25, 25, 1),
    "paper": _preset("paper", 25, 25, 1),
    "solo": _preset("solo", 25, 25, 1),
    "eb_jepa": _preset("eb_jepa", 1, 1, 80),
}


def vicreg(
    z_a: Tensor,
    z_b: Tensor,
    *,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    target_std: float = 1.0,
    epsilon: float = 1e-4,
    convention: Convention = "study",
    rows: int | None = None,
) -> Terms:
    r"""VICReg's loss of two views' embeddings.

        total = λ·invariance + μ·variance + ν·covariance
        invariance = (1/(B·D)) Σ (z_a − z_b)²
        variance   = (v(z_a) + v(z_b)) / a,   v(z) = (1/D) Σ_j max(0, γ − sqrt(Var(z_j) + ε))
        covariance = (c(z_a) + c(z_b)) / b,   c(z) = Σ_{i≠j} Cov(z)_ij²

    with Var and Cov unbiased, 1/(B−1), and by convention

        study    a = 1, b = D        the study's, variance summed over the views
        paper    a = 2, b = D        facebookresearch/vicreg (commit 4e12602) and lightly
        solo     a = 1, b = D        solo-learn: the paper's weights on twice its variance term
        eb_jepa  a = 1, b = D(D−1)   facebookresearch/eb_jepa, weights 1, 1, 80

    Statistics are computed in float32 (float64 stays float64) whatever autocast says.

    Args:
        z_a: Embeddings (B, D) of the first views, B ≥ 2.
        z_b: Embeddings (B, D) of the second views.
        invariance_weight: λ.
        variance_weight: μ; 0 leaves nothing against collapse.
        covariance_weight: ν.
        target_std: γ.
        epsilon: ε.
        convention: Whose denominators; `PRESETS` has the weights that go with it.
        rows: On several ranks, the rows of the global batch, whose statistics are taken and of
            which these are the rank's `vicinal.distributed.share`; None for these rows' own.

    Returns:
        The total and the unweighted parts ``invariance``, ``variance``, ``covariance``.

    Raises:
        ValueError: If the shapes differ, are not (B, D), or B < 2.
    """
    check_views(z_a, z_b, rows)
    views, pairs = CONVENTIONS[convention]
    dimensions = z_a.shape[1]
    with exact(z_a):
        z_a, z_b = precise(z_a), precise(z_b)
        closeness = invariance(z_a, z_b, rows)
        spread_a, redundancy_a = regularisers(z_a, target_std, epsilon, rows)
        spread_b, redundancy_b = regularisers(z_b, target_std, epsilon, rows)
        spread = (spread_a + spread_b) / views
        divisor = dimensions * max(dimensions - 1, 1) if pairs else dimensions
        redundancy = (redundancy_a + redundancy_b) / divisor
        loss = (
            invariance_weight * closeness
            + variance_weight * spread
            + covariance_weight * redundancy
        )
    parts = {"invariance": closeness, "variance": spread, "covariance": redundancy}
    return Terms(loss, {name: part.detach() for name, part in parts.items()})


class VICRegLoss(Criterion):
    """`vicreg` as a module; its arguments are those of `vicreg`, see `Criterion`."""

    function = staticmethod(vicreg)


def invariance(z_a: Tensor, z_b: Tensor, rows: int | None = None) -> Tensor:
    """Mean squared difference of two views' embeddings, over B·D entries.

    The paper's eq. 5 sums over D; its released code, and everyone since, takes this mean.
    """
    if rows is None:
        return F.mse_loss(z_a, z_b)
    return summed((z_a - z_b).square().sum() / (rows * z_a.shape[1]))


def regularisers(
    z: Tensor, target_std: float, epsilon: float, rows: int | None = None
) -> tuple[Tensor, Tensor]:
    """The variance and the covariance term of one view's embeddings (B, D).

        (1/D) Σ_j max(0, γ − sqrt(Var_j + ε))      VICReg's eqs. 1 and 2
        Σ_{i≠j} Cov_ij²                            its eqs. 3 and 4, before the division by D

    Exact, in O(B·D·min(B, D)): the Frobenius norms of ZᵀZ (D×D) and ZZᵀ (B×B) are equal (Garrido
    et al., ICLR 2023, "On the duality between contrastive and non-contrastive SSL"), so the
    smaller of the two is formed and the diagonal's part subtracted. The gradient takes one matrix
    product where autograd would take two.
    """
    n, dimensions = rows or len(z), z.shape[1]
    wide = dimensions > n if rows is None else gathers(n, dimensions)
    spread, redundancy = _Regularisers.apply(z, target_std, epsilon, rows, wide)
    return spread, redundancy


def gathers(rows: int, dimensions: int) -> bool:
    """Whether ranks gather rows, or else add up D×D sums: whichever costs a rank less.

    Of W ranks, gathering moves n·D·(W−1)/W numbers and multiplies 2·n²·D/W; adding up moves
    2·D²·(W−1)/W, for a ring's all-reduce moves every number twice, and multiplies 2·n·D²/W. So for
    n < D gathering is less of both. For n ≥ D ZZᵀ's norm less its diagonal's would lose digits.
    """
    return rows < dimensions


class _Regularisers(torch.autograd.Function):
    """`regularisers` with its gradient written out.

    With s = 4/(n−1)² and h_j = −1/(D (n−1) std_j) where std_j < γ, else 0, the gradients
    are Z diag(h) of the variance term, and of the covariance term s Z offdiag(ZᵀZ) or
    s (ZZᵀ Z − Z diag(ZᵀZ)). The columns of Z sum to 0, so theirs do, and the centring's
    own gradient would change nothing.
    """

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, target_std: float, epsilon: float, rows: int | None, wide: bool
    ) -> tuple[Tensor, Tensor]:
        n = rows or len(z)
        if wide:
            centred = centre(z if rows is None else all_rows(z.contiguous(), n))
            product = (centred if rows is None else centred[share(n)]) @ centred.T
            squares = centred.square().sum(dim=0)
            # With n < D the rank is below D, so the off-diagonal part is at least (D/(n−1) − 1)
            # times the diagonal's for equal variances, and the difference keeps its digits.
            norm = product.square().sum()
            norm = (norm if rows is None else total(norm)) - squares.square().sum()
        else:
            centred = centre(z) if rows is None else z - total(z.sum(dim=0)) / n
            product = centred.T @ centred
            product = product if rows is None else total(product)
            # The diagonal is cut out and not subtracted, as the rest may be tiny beside it.
            squares = product.diagonal().clone()
            norm = product.fill_diagonal_(0).square().sum()
        ctx.target_std, ctx.epsilon, ctx.rows, ctx.n, ctx.wide = target_std, epsilon, rows, n, wide
        ctx.save_for_backward(centred, product, squares)
        std = torch.sqrt(squares / (n - 1) + epsilon)
        return torch.relu(target_std - std).mean(), norm / (n - 1) ** 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, of_variance: Tensor, of_covariance: Tensor
    ) -> tuple[Tensor, None, None, None, None]:
        centred, product, squares = ctx.saved_tensors
        if ctx.rows is not None:
            of_variance, of_covariance = (g * world_size() for g in (of_variance, of_covariance))
        std = torch.sqrt(squares / (ctx.n - 1) + ctx.epsilon)
        hinge = (std < ctx.target_std) * of_variance / (-len(squares) * (ctx.n - 1) * std)
        scale = of_covariance * (4 / (ctx.n - 1) ** 2)
        with torch.autocast(centred.device.type, enabled=False):
            weights = product * scale
            if not ctx.wide:
                weights.diagonal().copy_(hinge)
                return centred @ weights, None, None, None, None
            mine = centred if ctx.rows is None else centred[share(ctx.n)]
            gradient = (weights @ centred).addcmul_(mine, hinge - squares * scale)
            return gradient, None, None, None, None
