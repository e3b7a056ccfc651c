import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vicinal import InputError, NeighbourAnomalyDetector

Array = NDArray[np.float64]


def points(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((count, 4))


def test_oddness_is_scikit_learns_mean_distance() -> None:
    train, new = points(80), points(20, 1)
    detector = NeighbourAnomalyDetector(k=3).fit(train)
    judge = NearestNeighbors(n_neighbors=3).fit(train.astype(np.float32))
    own = judge.kneighbors()[0].mean(axis=1)
    np.testing.assert_allclose(detector.decision_scores_, own, rtol=1e-5)
    theirs = judge.kneighbors(new.astype(np.float32))[0].mean(axis=1)
    np.testing.assert_allclose(detector.score_samples(new), -theirs, rtol=1e-5)
    assert detector.threshold_ == pytest.approx(np.sort(own)[75], rel=1e-5)
    assert detector.labels_.sum() == 4  # of 80


def test_the_contract_holds_together() -> None:
    train, new = points(200), points(50, 1) * 2
    detector = NeighbourAnomalyDetector(contamination=0.1)
    fitted_rows = detector.fit_predict(train)
    assert (fitted_rows == -1).sum() == detector.labels_.sum() == 20
    np.testing.assert_array_equal(fitted_rows == -1, detector.labels_ == 1)
    assert detector.offset_ == -detector.threshold_
    decision = detector.decision_function(new)
    np.testing.assert_allclose(decision, detector.score_samples(new) - detector.offset_)
    np.testing.assert_array_equal(detector.predict(new), np.where(decision < 0, -1, 1))
    assert set(detector.predict(new)) == {-1, 1}


def test_a_row_leaves_itself_out_by_index_so_that_duplicates_count() -> None:
    twins = np.repeat(np.arange(3.0)[:, None] * 10, 2, axis=0)
    detector = NeighbourAnomalyDetector(k=1).fit(twins)
    np.testing.assert_array_equal(detector.decision_scores_, 0)
    alone = NeighbourAnomalyDetector(k=1).fit(twins[::2])
    np.testing.assert_array_equal(alone.decision_scores_, 10)


def test_normalised_oddness_does_not_see_length() -> None:
    train, new = points(60), points(10, 1)
    detector = NeighbourAnomalyDetector(normalise=True).fit(train)
    np.testing.assert_allclose(
        detector.score_samples(new * 50), detector.score_samples(new), atol=1e-5
    )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.01, 0.05, 0.1, 1 / 3, 0.5]),
    st.integers(0, 80),
    st.sampled_from([3, 10**6]),  # few values tie often
)
def test_calibrated_outliers_are_those_of_small_p_value(
    seed: int, contamination: float, extra: int, values: int
) -> None:
    generator = np.random.default_rng(seed)
    count = int(np.ceil(1 / contamination)) - 1 + extra
    train, normal, new = (generator.integers(0, values, (n, 1)) for n in (30, count, 40))
    detector = NeighbourAnomalyDetector(k=1, contamination=contamination).fit(train)
    detector.calibrate(normal)
    p_values = detector.p_values(new)
    calibration, asked = -detector.score_samples(normal), -detector.score_samples(new)
    counted = 1 + (calibration[None] >= asked[:, None]).sum(axis=1)
    np.testing.assert_allclose(p_values, counted / (count + 1))
    np.testing.assert_array_equal(detector.predict(new) == -1, p_values <= contamination + 1e-12)


@pytest.mark.parametrize("calibrated", [True, False])
def test_p_values_of_normal_rows_are_uniform(calibrated: bool) -> None:
    """Over many draws the share of p ≤ α is α; one draw's share scatters, their mean less."""
    shares = []
    for seed in range(60):
        train, normal, new = np.split(points(400, seed), [200, 300])
        detector = NeighbourAnomalyDetector().fit(train)
        if calibrated:
            detector.calibrate(normal)
        shares.append([(detector.p_values(new) <= level).mean() for level in (0.1, 0.3)])
    np.testing.assert_allclose(np.mean(shares, axis=0), [0.1, 0.3], atol=0.03)


def test_finds_another_kind_of_digit() -> None:
    pixels, digit = load_digits(return_X_y=True)
    normal, odd = pixels[digit == 0], pixels[digit != 0]
    detector = NeighbourAnomalyDetector().fit(normal[:100]).calibrate(normal[100:])
    assert (detector.predict(odd) == -1).mean() > 0.95


def test_in_a_pipeline_cloned_and_pickled() -> None:
    train, new = points(60), points(20, 1)
    pipeline = make_pipeline(StandardScaler(), NeighbourAnomalyDetector(k=1)).fit(train)
    again = pickle.loads(pickle.dumps(clone(pipeline).fit(train)))
    np.testing.assert_array_equal(pipeline.score_samples(new), again.score_samples(new))
    np.testing.assert_array_equal(pipeline.predict(new), again.predict(new))


def test_refuses_in_one_line() -> None:
    with pytest.raises(InputError, match=r"contamination=0.7: give a share above 0, at most 0.5"):
        NeighbourAnomalyDetector(contamination=0.7).fit(points(10))
    for wrong in ({"contamination": "auto"}, {"k": 1.5}, {"k": float("nan")}, {"k": 0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            NeighbourAnomalyDetector(**wrong).fit(points(10))
    with pytest.raises(InputError, match="k=20 neighbours but only 9 images"):
        NeighbourAnomalyDetector(k=20).fit(points(10))
    fitted = NeighbourAnomalyDetector().fit(points(10))
    with pytest.raises(InputError, match=r"18 normal images cannot .* give at least 19"):
        fitted.calibrate(points(18))
    with pytest.raises(InputError, match="X has 3 features"):
        fitted.predict(points(5)[:, :3])
