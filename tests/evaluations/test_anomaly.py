import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from sklearn.neighbors import NearestNeighbors

from vicinal.errors import InputError
from vicinal.evaluations.anomalies import AnomalyResult, anomaly_scores, detect
from vicinal.representations.representations import Representations

CLASSES = ("0", "1", "2")


def images(
    array: NDArray[np.floating], labels: NDArray[np.int64] | None = None, name: str = "set"
) -> Representations:
    return Representations(
        array=array.astype(np.float32),
        ids=np.array([f"{name}/{row}" for row in range(len(array))]),
        labels=labels,
        class_names=CLASSES if labels is not None else (),
    )


ORIGIN = images(np.zeros((3, 1)))


def scored(low: NDArray[np.floating], high: NDArray[np.floating], **settings: int) -> AnomalyResult:
    """A detection in which the images' anomaly scores are the given positive numbers."""
    return detect(
        ORIGIN, images(low[:, None]), images(high[:, None]), **{"bootstrap": 20} | settings
    )


def judged(result: AnomalyResult) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    truth = np.repeat([0, 1], [len(result.normal_scores), len(result.anomalous_scores)])
    return truth, np.concatenate([result.normal_scores, result.anomalous_scores])


def test_score_is_the_mean_distance_to_the_k_nearest() -> None:
    generator = np.random.default_rng(0)
    train, queries = generator.standard_normal((60, 4)), generator.standard_normal((20, 4))
    outside = NearestNeighbors(n_neighbors=3).fit(train)
    expected = outside.kneighbors(queries)[0].mean(axis=1)
    scores = anomaly_scores(train.astype(np.float32), queries.astype(np.float32), k=3)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    own = anomaly_scores(*[train.astype(np.float32)] * 2, k=3, exclude_self=True)
    np.testing.assert_allclose(own, outside.kneighbors()[0].mean(axis=1), rtol=1e-5)


def test_normalised_scores_do_not_see_length() -> None:
    generator = np.random.default_rng(0)
    train, queries = generator.standard_normal((60, 4)), generator.standard_normal((20, 4))
    expected = NearestNeighbors(n_neighbors=2).fit(train / np.linalg.norm(train, axis=1)[:, None])
    unit = queries / np.linalg.norm(queries, axis=1)[:, None]
    scores = anomaly_scores(
        train.astype(np.float32), (queries * 50).astype(np.float32), normalise=True
    )
    np.testing.assert_allclose(scores, expected.kneighbors(unit)[0].mean(axis=1), rtol=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from([3, 20, 10**6]),  # few values tie often
)
def test_agrees_with_scikit_learn(seed: int, normals: int, anomalies: int, values: int) -> None:
    generator = np.random.default_rng(seed)
    low = generator.integers(0, values, normals) * 1.0
    result = scored(low, generator.integers(0, values, anomalies) + 0.3 * values // 3)
    truth, scores = judged(result)
    assert result.auroc.value == pytest.approx(roc_auc_score(truth, scores))
    assert result.aupr.value == pytest.approx(average_precision_score(truth, scores))
    assert result.aupr_normal.value == pytest.approx(average_precision_score(1 - truth, -scores))
    flagged, caught, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert result.fpr95.value == pytest.approx(flagged[caught >= 0.95].min())
    # Thinned to corners, the curve is still the same line.
    upper = np.interp(flagged + 1e-12, result.false_positive_rate, result.true_positive_rate)
    assert np.all(upper >= caught - 1e-9)
    area = np.trapezoid(result.true_positive_rate, result.false_positive_rate)
    assert area == pytest.approx(result.auroc.value)


def test_a_long_curve_is_thinned_to_points_of_its_own() -> None:
    generator = np.random.default_rng(0)
    result = scored(generator.random(4000) + 1, generator.random(4000) + 1.3)
    truth, scores = judged(result)
    flagged, caught, _ = roc_curve(truth, scores, drop_intermediate=False)
    points = set(zip(flagged.tolist(), caught.tolist(), strict=True))
    own = list(
        zip(result.false_positive_rate.tolist(), result.true_positive_rate.tolist(), strict=True)
    )
    assert 250 < len(own) <= 500
    assert set(own) <= points
    assert own[0] == (0.0, 0.0)
    assert own[-1] == (1.0, 1.0)
    assert np.all(np.diff(result.false_positive_rate) >= 0)
    area = np.trapezoid(result.true_positive_rate, result.false_positive_rate)
    assert area == pytest.approx(result.auroc.value, abs=2e-3)


def test_perfect_detection() -> None:
    result = scored(np.linspace(1, 2, 50), np.linspace(3, 4, 30))
    assert result.auroc.value == 1.0
    assert result.aupr.value == pytest.approx(1.0, rel=1e-12)
    assert result.aupr_normal.value == pytest.approx(1.0, rel=1e-12)
    assert result.fpr95.value == 0.0
    assert result.auroc.interval == (1.0, 1.0)


def test_backwards_detection_is_told_as_it_is() -> None:
    result = scored(np.linspace(3, 4, 50), np.linspace(1, 2, 30))
    assert result.auroc.value == 0.0
    assert result.fpr95.value == 1.0


def test_chance_where_both_sets_are_alike() -> None:
    generator = np.random.default_rng(0)
    train, normal, alike = (images(generator.standard_normal((n, 6))) for n in (500, 3000, 1000))
    result = detect(train, normal, alike, bootstrap=200)
    for score, tolerance in (
        (result.auroc, 0.03),
        (result.aupr, 0.03),
        (result.aupr_normal, 0.03),
        (result.fpr95, 0.03),
    ):
        assert score.chance is not None
        assert score.value == pytest.approx(score.chance, abs=tolerance)
        assert score.n == 4000
    assert [result.auroc.chance, result.fpr95.chance] == [0.5, 0.95]
    assert [result.aupr.chance, result.aupr_normal.chance] == [0.25, 0.75]
    assert (result.auroc.better, result.fpr95.better) == ("higher", "lower")


def test_all_scores_equal_is_chance() -> None:
    result = scored(np.ones(8), np.ones(5))
    assert result.auroc.value == 0.5
    assert result.fpr95.value == 1.0
    assert result.false_positive_rate.tolist() == [0.0, 1.0]


def test_interval_covers_the_truth_about_19_times_in_20() -> None:
    generator = np.random.default_rng(0)
    truth = 0.7602  # P(N(1, 1) > N(0, 1)) = Φ(1 / √2)
    covered = 0
    for seed in range(100):
        low, high = generator.standard_normal(80) + 50, generator.standard_normal(60) + 51
        auroc = scored(low, high, bootstrap=200, seed=seed).auroc
        interval = auroc.interval
        assert interval is not None
        assert interval[0] < auroc.value < interval[1]
        covered += interval[0] <= truth <= interval[1]
    assert 88 <= covered <= 99


def test_interval_is_that_of_resampling_one_by_one() -> None:
    generator = np.random.default_rng(0)
    low, high = generator.integers(0, 9, 60) * 1.0, generator.integers(3, 12, 40) * 1.0
    result = scored(low, high, bootstrap=2000, seed=1)

    def area(low: NDArray[np.floating], high: NDArray[np.floating]) -> float:
        return float(((high[:, None] > low) + (high[:, None] == low) / 2).mean())

    assert result.auroc.value == pytest.approx(area(low, high))
    drawn = [area(generator.choice(low, 60), generator.choice(high, 40)) for _ in range(2000)]
    assert result.auroc.interval == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.01)
    assert result.auroc.seed == 1
    assert scored(low, high, bootstrap=2000, seed=1).auroc == result.auroc
    assert scored(low, high, bootstrap=2000, seed=2).auroc.interval != result.auroc.interval


def test_names_the_most_anomalous_of_both_sets() -> None:
    normal = images(np.array([[1.0], [9], [2]]), np.array([0, 1, 2]), "cifar")
    anomalous = images(np.array([[5.0], [10], [5], [3]]), name="mnist")
    most = detect(ORIGIN, normal, anomalous, most=4, bootstrap=1).most
    assert most.ids.tolist() == ["mnist/1", "cifar/1", "mnist/0", "mnist/2"]
    assert most.positions.tolist() == [1, 1, 0, 2]
    assert most.anomalous.tolist() == [True, False, True, True]
    assert most.scores.tolist() == [10, 9, 5, 5]
    assert most.classes == (None, "1", None, None)
    assert len(detect(ORIGIN, normal, anomalous, most=100, bootstrap=1).most.ids) == 7
    assert len(detect(ORIGIN, normal, anomalous, most=0, bootstrap=1).most.ids) == 0


def test_ranks_the_classes_of_the_anomalous_set() -> None:
    normal = images(np.ones((2, 1)))
    digits = images(np.array([[2.0], [4], [8]]), np.array([0, 0, 2]))
    means = detect(ORIGIN, normal, digits, bootstrap=1).class_means
    assert [(each.class_name, each.mean, each.n) for each in means] == [("2", 8, 1), ("0", 3, 2)]
    assert detect(ORIGIN, normal, normal, bootstrap=1).class_means == ()


def test_refuses_in_one_line() -> None:
    one, none = images(np.ones((1, 1))), images(np.ones((0, 1)))
    with pytest.raises(InputError, match="1 normal and 0 anomalous test images"):
        detect(ORIGIN, one, none)
    with pytest.raises(InputError, match="0 normal and 1 anomalous test images"):
        detect(ORIGIN, none, one)
    with pytest.raises(InputError, match="k=4 neighbours but only 3 images"):
        detect(ORIGIN, one, one, k=4)
    with pytest.raises(InputError, match="bootstrap=0"):
        detect(ORIGIN, one, one, bootstrap=0)
    with pytest.raises(InputError, match="as many features"):
        detect(ORIGIN, images(np.ones((2, 3))), one)
