"""Wrong labels: flipped ones come first, and what cannot be judged is said."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from vicinal.errors import InputError
from vicinal.evaluations.wrong_labels import judged_by_classifier, wrong_labels

IMAGES, LABELS = load_digits(return_X_y=True)
ARRAY = IMAGES.astype(np.float32)
LIKE = np.array([6, 8, 3, 9, 7, 9, 5, 4, 1, 5])  # a digit that each is taken for


def flipped(kind: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(LABELS))[:90]
    given = LABELS.copy()
    given[rows] = (LABELS[rows] + rng.integers(1, 10, 90)) % 10
    if kind == "alike":
        given[rows] = LIKE[LABELS[rows]]
    return given, rows


@pytest.mark.parametrize("kind", ["uniform", "alike"])
def test_flipped_labels_of_digits_come_first(kind: str) -> None:
    given, wrong = flipped(kind)
    found = wrong_labels(ARRAY, given)
    first = found.rows[: round(0.075 * len(LABELS))]
    assert np.isin(wrong, first).mean() >= 0.8
    assert np.isin(found.rows[found.contradicted], wrong).mean() > 0.9
    place = {row: i for i, row in enumerate(found.rows.tolist())}
    caught = np.array([place[row] for row in wrong if row in first])
    assert (found.suggested[caught] == LABELS[found.rows[caught]]).mean() > 0.9
    assert (np.diff(found.scores) <= 0).all()
    assert sorted(found.rows.tolist()) == list(range(len(LABELS)))


def test_neighbours_and_what_they_say_are_of_the_pictures_themselves() -> None:
    given, _ = flipped("uniform")
    found = wrong_labels(ARRAY, given, k=5)
    unit = ARRAY / np.linalg.norm(ARRAY, axis=1, keepdims=True)
    for place in range(0, 1797, 300):
        row = found.rows[place]
        apart = np.linalg.norm(unit - unit[row], axis=1)
        apart[row] = np.inf
        assert set(found.neighbours[place]) == set(np.argsort(apart)[:5])
        assert (
            found.agreeing[place] == (given[found.neighbours[place]] == found.suggested[place])
        ).all()
        assert found.given[place] == given[row]


def test_right_labels_and_pure_chance() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 8)) * 20
    classes = np.repeat(np.arange(4), 30)
    array = (centres[classes] + rng.normal(size=(120, 8))).astype(np.float32)
    right = wrong_labels(array, classes)
    assert not right.contradicted.any()
    assert right.accuracy.value == 1
    chance = wrong_labels(rng.normal(size=(400, 8)).astype(np.float32), np.arange(400) % 2)
    assert abs(chance.accuracy.value - 0.5) < 0.1


def test_pictures_without_a_label_and_rare_classes_are_left_out_and_counted() -> None:
    given = LABELS.copy()
    given[::3] = -1
    given[np.flatnonzero(given >= 0)[:3]] = 17
    found = wrong_labels(ARRAY, given)
    assert found.unjudged == 3
    assert set(found.rows.tolist()) == set(np.flatnonzero((given >= 0) & (given < 17)).tolist())
    assert not np.isin([-1, 17], found.suggested).any()


@pytest.mark.parametrize(
    ("array", "classes", "said"),
    [
        (ARRAY, np.full(1797, -1), "two classes of 5"),
        (ARRAY, np.zeros(1797, np.int64), "found 1 such among 1 classes"),
        (ARRAY, np.arange(1797), "found 0 such"),
        (np.full_like(ARRAY, np.nan), LABELS, "NaN"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    array: np.ndarray, classes: np.ndarray, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        wrong_labels(array, classes)


def test_the_doubt_is_that_of_its_definition() -> None:
    given, _ = flipped("alike")
    rows = np.random.default_rng(0).permutation(len(LABELS))[:300]
    array, labels = ARRAY[rows], given[rows]
    found = wrong_labels(array, labels, k=7)
    shares = judged_by_classifier(array, labels, 0)
    unit = array.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for place in range(0, 300, 7):
        row = found.rows[place]
        near = [n for n in np.argsort(-unit @ unit[row], kind="stable") if n != row][:7]
        prior = [(labels == c).mean() for c in range(10)]
        votes = [(sum(labels[near] == c) + 2 * prior[c]) / 9 for c in range(10)]
        q = [(2 * shares[row, c] + votes[c]) / 3 for c in range(10)]
        best = max((c for c in range(10) if c != labels[row]), key=lambda c: q[c])
        ahead = q[best] - q[labels[row]]
        doubt = -np.log(q[labels[row]] + 1e-3) * ahead if ahead > 0 else ahead
        assert found.scores[place] == pytest.approx(doubt, rel=1e-5, abs=1e-6)
        assert found.suggested[place] == best
        assert found.confidence[place] == pytest.approx(shares[row, best])
        assert found.given_confidence[place] == pytest.approx(shares[row, labels[row]])
    assert found.scores.min() >= -1
    assert (found.scores > 0).any()
