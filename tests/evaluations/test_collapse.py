import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vicinal.errors import InputError
from vicinal.evaluations.collapse import alpha_req, collapse


def gaussian(count: int, dimensions: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)


def paper_rankme(array: np.ndarray) -> float:
    singular = np.linalg.svd(array.astype(np.float64), compute_uv=False)
    share = singular / singular.sum() + 1e-7
    return float(np.exp(-(share * np.log(share)).sum()))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 60),
    st.integers(1, 20),
    st.floats(-3, 3),
    st.integers(0, 2**32 - 1),
)
def test_agrees_with_the_paper_and_numpy(count, dimensions, shift, seed):
    stretch = np.geomspace(1, 0.01, dimensions).astype(np.float32)
    array = (gaussian(count, dimensions, seed) * stretch + shift).astype(np.float32)
    result = collapse(array)
    centred = array.astype(np.float64) - array.astype(np.float64).mean(axis=0)
    assert result.rankme.value == pytest.approx(paper_rankme(array), rel=1e-3)
    assert result.rankme_centred.value == pytest.approx(paper_rankme(centred), rel=1e-3)
    covariance = np.cov(array.astype(np.float64), rowvar=False).reshape(dimensions, dimensions)
    expected = np.sort(np.linalg.eigvalsh(covariance))[::-1]
    np.testing.assert_allclose(result.spectrum, expected, atol=1e-9)
    deviations = array.std(axis=0, ddof=1, dtype=np.float64)
    assert result.std_mean.value == pytest.approx(deviations.mean())
    assert result.std_min.value == pytest.approx(deviations.min())
    assert result.top2_share.value == pytest.approx(expected[:2].sum() / expected.sum())


def test_isotropic_uses_every_dimension():
    result = collapse(gaussian(9000, 32))  # more rows than one block
    assert 31.9 < result.rankme.value <= 32
    assert result.top2_share.value == pytest.approx(2 / 32, rel=0.2)
    assert result.std_mean.value == pytest.approx(1, rel=0.02)
    assert result.dead_dimensions.value == 0
    assert result.rankme.high == 32


def test_two_lines_have_rank_two():
    plane = gaussian(500, 2) @ gaussian(2, 64, seed=1)
    result = collapse(plane)
    assert 1.5 < result.rankme.value < 2.01
    assert result.top2_share.value == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3])
def test_scale_changes_deviations_only(scale):
    array = gaussian(200, 16)
    full, small = collapse(array), collapse((array * scale).astype(np.float32))
    assert small.rankme.value == pytest.approx(full.rankme.value, rel=1e-6)
    assert small.top2_share.value == pytest.approx(full.top2_share.value, rel=1e-6)
    assert small.std_mean.value == pytest.approx(full.std_mean.value * scale, rel=1e-6)


def test_constant_arrays_are_finite():
    zeros = collapse(np.zeros((10, 4), np.float32))
    assert zeros.rankme.value == zeros.rankme_centred.value == zeros.std_mean.value == 0
    constant = collapse(np.full((10, 4), 0.1, np.float32))
    assert constant.rankme.value == pytest.approx(1, abs=1e-4)
    assert constant.rankme_centred.value == 0
    assert constant.top2_share.value == 1
    assert constant.dead_dimensions.value == 4


def test_counts_dead_dimensions_whatever_the_scale():
    array = gaussian(100, 8) * np.float32(1e-5)
    array[:, 2] = 0.3
    array[:, 5] *= 1e-4
    assert collapse(array).dead_dimensions.value == 2


def test_refuses_what_it_cannot_measure():
    with pytest.raises(InputError, match="at least 2"):
        collapse(np.zeros((1, 4), np.float32))
    with pytest.raises(InputError, match="NaN"):
        collapse(np.full((4, 4), np.nan, np.float32))
    with pytest.raises(InputError, match=r"\(N, F\)"):
        collapse(np.zeros(4, np.float32))


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_alpha_req_of_a_power_law(exponent):
    spectrum = np.arange(1, 65) ** -exponent
    assert alpha_req(spectrum) == pytest.approx(exponent)
    assert alpha_req(np.concatenate([spectrum, np.zeros(9)])) == pytest.approx(exponent)
    assert alpha_req(spectrum * 1e-9) == pytest.approx(exponent)  # whatever the scale
    rounding = spectrum[0] * np.finfo(np.float32).eps
    assert alpha_req(np.append(spectrum, [rounding, rounding / 2])) == pytest.approx(exponent)
    assert alpha_req(spectrum[:2]) == pytest.approx(exponent)
    assert alpha_req(spectrum[:1]) == 0
    assert alpha_req(np.zeros(4)) == 0
