"""VICReg: variance-invariance-covariance regularisation (Bardes, Ponce, LeCun, ICLR 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypedDict

from torch import Tensor, nn

from vicinal.errors import InputError
from vicinal.objectives.across import invariance_across, regularisers_across
from vicinal.objectives.terms import (
    Terms,
    check_views,
    exact,
    invariance,
    precise,
    regularisers,
)

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


class Settings(Preset):
    """All keyword arguments of `vicreg`."""

    target_std: float
    epsilon: float


def _preset(convention: Convention, *weights: float) -> Preset:
    invariance_weight, variance_weight, covariance_weight = weights
    return Preset(
        invariance_weight=invariance_weight,
        variance_weight=variance_weight,
        covariance_weight=covariance_weight,
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
        if rows is None:
            closeness = invariance(z_a, z_b)
            spread_a, redundancy_a = regularisers(z_a, target_std, epsilon)
            spread_b, redundancy_b = regularisers(z_b, target_std, epsilon)
        else:
            closeness = invariance_across(z_a, z_b, rows)
            spread_a, redundancy_a = regularisers_across(z_a, rows, target_std, epsilon)
            spread_b, redundancy_b = regularisers_across(z_b, rows, target_std, epsilon)
        spread = (spread_a + spread_b) / views
        divisor = dimensions * max(dimensions - 1, 1) if pairs else dimensions
        redundancy = (redundancy_a + redundancy_b) / divisor
        total = (
            invariance_weight * closeness
            + variance_weight * spread
            + covariance_weight * redundancy
        )
    return Terms(
        total,
        {
            "invariance": closeness.detach(),
            "variance": spread.detach(),
            "covariance": redundancy.detach(),
        },
    )


class VICRegLoss(nn.Module):
    """`vicreg` as a module, for anybody's loop: returns the total, a scalar to minimise.

    Its arguments are those of `vicreg`. It has no weights and works on any device, under any
    autocast. For a loss by its parts, ``criterion.parts`` has those of the last call, or call
    `vicreg` itself.

    Attributes:
        settings: Keyword arguments that every call gives to `vicreg`.
        parts: The last call's unweighted ``invariance``, ``variance`` and ``covariance``,
            scalars, detached; empty before the first.
    """

    def __init__(
        self,
        *,
        invariance_weight: float = 25.0,
        variance_weight: float = 25.0,
        covariance_weight: float = 1.0,
        target_std: float = 1.0,
        epsilon: float = 1e-4,
        convention: Convention = "study",
    ) -> None:
        super().__init__()
        if convention not in CONVENTIONS:
            raise InputError(f"convention {convention!r}: give one of {', '.join(CONVENTIONS)}")
        self.settings = Settings(
            invariance_weight=invariance_weight,
            variance_weight=variance_weight,
            covariance_weight=covariance_weight,
            target_std=target_std,
            epsilon=epsilon,
            convention=convention,
        )
        self.parts: Mapping[str, Tensor] = {}

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """The total, a scalar, of two views' embeddings (B, D), B ≥ 2."""
        terms = vicreg(z_a, z_b, **self.settings)
        self.parts = terms.parts
        return terms.total

    def extra_repr(self) -> str:
        """The settings, as ``print`` shows a module's."""
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
