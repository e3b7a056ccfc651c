"""What to label first: better than a draw, spread, and never what has a label already."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from vicinal.errors import InputError
from vicinal.evaluations.selection import METHODS, select

IMAGES, LABELS = load_digits(return_X_y=True)
ARRAY = IMAGES.astype(np.float32)


def accuracy(rows: np.ndarray) -> float:
    probe = LogisticRegression(max_iter=300).fit(ARRAY[rows] / 16, LABELS[rows])
    return float((probe.predict(ARRAY / 16) == LABELS).mean())


def test_typical_pictures_teach_more_than_a_draw() -> None:
    for count in (20, 60):
        means = {
            method: np.mean(
                [accuracy(select(ARRAY, count, method=method, seed=s).rows) for s in range(4)]
            )
            for method in ("typical", "random")
        }
        assert means["typical"] > means["random"] + 0.03


def test_one_of_each_cluster_the_largest_first() -> None:
    rng = np.random.default_rng(0)
    sizes = [50, 30, 20, 10]
    group = np.repeat(np.arange(4), sizes)
    array = (np.eye(4)[group] * 100 + rng.normal(size=(110, 4))).astype(np.float32)
    found = select(array, 4)
    assert group[found.rows].tolist() == [0, 1, 2, 3]
    assert found.stands_for.tolist() == sizes
    labelled = np.array([0, 55])
    beside = select(array, 2, labelled=labelled)
    assert group[beside.rows].tolist() == [2, 3]
    assert beside.labelled == 2


def test_k_centre_is_the_greedy_cover() -> None:
    array = np.array([[0.0], [1], [2], [10], [11], [30]], np.float32)
    assert set(select(array, 3, method="k-centre", labelled=np.array([0])).rows) == {5, 4, 2}


@pytest.mark.parametrize("method", METHODS)
def test_all_that_is_left_may_be_asked_for(method: str) -> None:
    array = ARRAY[np.arange(60) // 2]  # each picture twice
    held = np.arange(10)
    found = select(array, 50, labelled=held, method=method)
    assert sorted(found.rows.tolist()) == list(range(10, 60))
    assert select(array, 7, method=method).rows.tolist() == (
        select(array, 7, method=method).rows.tolist()
    )
    assert found.stands_for.sum() <= 50


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"count": 1798}, "1,797 pictures; ask for 1 to 1797"),
        ({"count": 1797, "labelled": np.arange(5)}, "1,792 pictures not among the 5"),
        ({"count": 2, "labelled": np.arange(1796)}, "1 picture not among the 1,796 labelled; ask"),
        ({"labelled": np.arange(1797)}, "all 1,797 pictures are labelled already; none is left"),
        ({"count": 0}, "count=0"),
        ({"method": "best"}, "give typical, k-centre, random"),
        ({"array": np.full((9, 3), np.nan, np.float32)}, "NaN"),
    ],
)
def test_what_cannot_be_chosen_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        select(**({"array": ARRAY, "count": 10} | changes))
