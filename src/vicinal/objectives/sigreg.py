"""SIGReg: embeddings that look normal in every direction (Balestriero and LeCun, LeJEPA, 2025)."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vicinal.objectives.terms import Criterion, Terms, exact, whole_batch

Convention = Literal["lejepa", "eb_jepa", "stable_pretraining"]
LAST = 3.0
"""The integral is taken from −3 to 3."""
BLOCK = 2**15
"""Numbers at a time on a CPU, whose caches they stay in."""


class Rules(NamedTuple):
    """What a convention does."""

    knots: int
    """Knots of the trapezoidal rule."""
    halved: bool
    """The knots lie from 0 to 3 and count twice, for the integrand is even; else from −3 to 3."""
    times_rows: bool
    """The statistic is multiplied by the number of rows."""
    pooled: bool
    """One statistic of all views' rows together, not the mean of one a view."""


# One name, three losses: a published λ means something only with these.
CONVENTIONS: dict[Convention, Rules] = {
    "lejepa": Rules(17, halved=True, times_rows=True, pooled=False),
    "eb_jepa": Rules(10, halved=False, times_rows=False, pooled=False),
    "stable_pretraining": Rules(17, halved=True, times_rows=True, pooled=True),
}


def sigreg(
    z_a: Tensor,
    z_b: Tensor,
    directions: Tensor,
    *,
    weight: float = 0.05,
    convention: Convention = "lejepa",
    rows: int | None = None,
) -> Terms:
    r"""SIGReg's loss of two views' embeddings (LeJEPA, arXiv 2511.08544, algorithm 2).

        s = n · mean over slices a of ∫ from −3 to 3 of |φ̂_a(t) − e^(−t²/2)|² e^(−t²/2) dt
        φ̂_a(t) = (1/n) Σ_r e^(i t ⟨a, z_r⟩)

    by the trapezoidal rule, and by convention

        lejepa              (1 − λ)·m + λ·s; s of each view's B rows, mean of the views; 17 knots
                            from 0 to 3, doubled; λ .02 to .05 (galilai-group/lejepa, MINIMAL.md)
        stable_pretraining  m + λ·s; s of all 2B rows together, so n = 2B; knots as there; λ .02
        eb_jepa             4m + λ·s/n; as lejepa, but 10 knots from −3 to 3; λ 10

    where m is the mean squared distance to the mean of the two views, over 2·B·D entries, a
    fourth of the mean squared difference. A view whose rows are all 0 has s = .40205·n, without
    a gradient; of rows drawn from N(0, I), s is 1.0525 on average at any n (lejepa's knots).

    ``directions`` (D, S) are slices of unit length, see `slices`; ``weight`` is λ. The rest, and
    errors, are those of `vicreg`. Parts are ``invariance``, m or 4m, and ``normality``, s or s/n,
    unweighted.
    """
    rules = CONVENTIONS[convention]
    with exact(z_a):
        z_a, z_b = whole_batch(z_a, z_b, rows)
        invariance = (z_a - z_b).square().mean()
        samples = [torch.cat([z_a, z_b])] if rules.pooled else [z_a, z_b]
        found = [_statistic(z, directions, rules) for z in samples]
        normality = torch.stack(found).mean() * (len(samples[0]) if rules.times_rows else 1)
        if convention != "eb_jepa":
            invariance = invariance / 4
        near = 1 - weight if convention == "lejepa" else 1.0
        total = near * invariance + weight * normality
    return Terms(total, {"invariance": invariance.detach(), "normality": normality.detach()})


class SIGRegLoss(Criterion):
    """`sigreg` as a module with ``slices`` new directions a call, see `Criterion`."""

    function = staticmethod(sigreg)
    sliced = True


def _statistic(z: Tensor, directions: Tensor, rules: Rules) -> Tensor:
    """The mean over slices of the integral, of one sample (n, D)."""
    projected = directions.to(z.dtype).T @ z.T
    mean: Tensor = _Normality.apply(projected, rules.knots, rules.halved)
    return mean


class _Normality(torch.autograd.Function):
    """The mean over rows of (S, n) of the integral; value and gradient in one pass.

    The knots are evenly spaced, so e^(i t x) at one is that at the one before, turned by a
    constant angle: one sine and one cosine an entry, and no array of entries × knots.
    """

    @staticmethod
    def forward(ctx: Any, projected: Tensor, knots: int, halved: bool) -> Tensor:
        at, weights = _rule(knots, halved)
        gradient = torch.empty_like(projected)
        totals = projected.new_empty(len(projected))
        count = len(projected)
        if projected.device.type == "cpu":
            count = max(1, BLOCK // projected.shape[1])
        for begin in range(0, len(projected), count):
            some = slice(begin, begin + count)
            _integrate(projected[some], at, weights, totals[some], gradient[some])
        ctx.save_for_backward(gradient.div_(len(projected)))
        return totals.mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream, None, None


def _rule(knots: int, halved: bool) -> tuple[list[float], list[float]]:
    """The knots above 0, evenly spaced, and what each counts; at 0 the integrand is 0."""
    at = np.linspace(0.0 if halved else -LAST, LAST, knots)
    step = at[1] - at[0]
    weights = np.where(at == LAST, step, 2 * step) * np.exp(-(at**2) / 2)
    above = at > 0
    return at[above].tolist(), weights[above].tolist()


def _integrate(
    x: Tensor, at: list[float], weights: list[float], totals: Tensor, gradient: Tensor
) -> None:
    """Writes the integral of each row of x (S, n) and its gradient (S, n)."""
    turn_cos, turn_sin = (x * (at[1] - at[0])).cos(), (x * (at[1] - at[0])).sin()
    cos, sin = (x * at[0]).cos(), (x * at[0]).sin()
    totals.zero_()
    gradient.zero_()
    for t, weight in zip(at, weights, strict=True):
        real = cos.mean(dim=1, keepdim=True) - float(np.exp(-(t**2) / 2))
        imaginary = sin.mean(dim=1, keepdim=True)
        totals += weight * (real.square() + imaginary.square()).squeeze(1)
        slope = 2 * weight * t / x.shape[1]
        gradient.addcmul_(cos, imaginary, value=slope).addcmul_(sin, real, value=-slope)
        if t != at[-1]:
            turned = (cos * turn_cos).addcmul_(sin, turn_sin, value=-1)
            sin = sin.mul_(turn_cos).addcmul_(cos, turn_sin)
            cos = turned
