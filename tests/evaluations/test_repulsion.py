"""The repulsion by FFT against its definition, and the maps it makes."""

import numpy as np
import pytest
from openTSNE import _tsne

from vicinal.evaluations.repulsion import repulsion


def by_definition(points: np.ndarray) -> tuple[np.ndarray, float]:
    apart = points[:, None] - points[None]
    q = 1 / (1 + (apart**2).sum(axis=2))
    np.fill_diagonal(q, 0)
    return -(q[:, :, None] ** 2 * apart).sum(axis=1), q.sum()


@pytest.mark.parametrize(("scale", "most"), [(1e-4, 0.01), (1.0, 1e-3), (15.0, 0.08)])
def test_forces_and_their_sum_are_those_of_the_definition(scale: float, most: float) -> None:
    points = np.random.default_rng(0).normal(size=(1500, 2)) * scale + [40, -7]
    forces, total = repulsion(points)
    expected, expected_total = by_definition(points)
    assert total == pytest.approx(expected_total, rel=5e-3)
    error = np.abs(forces - expected).mean() / np.abs(expected).mean()
    assert error < most


def test_it_is_about_as_close_as_opentsnes_own_interpolation() -> None:
    points = np.random.default_rng(0).normal(size=(2000, 2)) * 15
    expected, total = by_definition(points)
    theirs = np.zeros_like(points)
    _tsne.estimate_negative_gradient_fft_2d(points.copy(), theirs, 3, 50, 1.0)
    forces, normalisation = repulsion(points)
    ours_off = np.abs(forces / normalisation - expected / total).mean()
    assert ours_off <= 1.5 * np.abs(theirs - expected / total).mean()


def test_a_far_point_makes_the_grid_coarser_not_larger() -> None:
    points = np.random.default_rng(0).normal(size=(100, 2))
    points[0] = 1e7
    forces, total = repulsion(points)
    assert np.isfinite(forces).all()
    assert total > 0
