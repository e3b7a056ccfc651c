import numpy as np
import pytest
import scipy.stats

from vicinal.errors import InputError
from vicinal.evaluations.probe import group_accuracy
from vicinal.evaluations.score import Score, wilson_interval

CONFUSION = np.array([[8, 1, 1, 0], [2, 6, 1, 1], [0, 0, 9, 1], [0, 0, 5, 5]])


def test_shares_by_hand() -> None:
    first, second = group_accuracy(CONFUSION, [("a", [0, 1]), ("b", [2, 3])])
    assert first.accuracy.value == pytest.approx(14 / 20)
    assert first.confused_within.value == pytest.approx(3 / 20)
    assert first.confused_between.value == pytest.approx(3 / 20)
    assert second.accuracy.value == pytest.approx(14 / 20)
    assert second.confused_within.value == pytest.approx(6 / 20)
    assert second.confused_between.value == 0


def test_scores_say_how_to_read_them() -> None:
    three, one = group_accuracy(CONFUSION, [("a", [0, 1, 2]), ("b", [3])])
    assert (three.name, one.name) == ("a", "b")
    for share, name, right, total, chance, better in (
        (three.accuracy, "a_accuracy", 23, 30, 1 / 4, "higher"),
        (three.confused_within, "a_confused_within", 5, 30, 2 / 4, "lower"),
        (three.confused_between, "a_confused_between", 2, 30, 1 / 4, "lower"),
        (one.accuracy, "b_accuracy", 5, 10, 1 / 4, "higher"),
        (one.confused_within, "b_confused_within", 0, 10, 0.0, "lower"),
        (one.confused_between, "b_confused_between", 5, 10, 3 / 4, "lower"),
    ):
        interval = wilson_interval(right, total)
        assert share == Score(
            name, right / total, 0.0, 1.0, better, chance, total, interval=interval
        )  # type: ignore[arg-type]


def test_groups_that_overlap_or_do_not_exist_are_refused() -> None:
    with pytest.raises(InputError, match="overlap"):
        group_accuracy(CONFUSION, [("a", [0, 1]), ("b", [1, 2])])
    with pytest.raises(InputError, match="4 classes"):
        group_accuracy(CONFUSION, [("a", [0, 9])])


def test_classes_that_are_not_there_and_groups_without_images_are_refused() -> None:
    with pytest.raises(InputError, match="name -1 to 4, but there are 4 classes"):
        group_accuracy(CONFUSION, [("a", [-1]), ("b", [4])])
    with pytest.raises(InputError, match="groups of classes name 4 to 4"):
        group_accuracy(CONFUSION, [("a", [4])])
    with pytest.raises(InputError, match="group 'a' has no test images; leave it out"):
        group_accuracy(np.diag([0, 1]), [("a", [0])])


def test_no_groups_are_no_results() -> None:
    assert group_accuracy(CONFUSION, []) == []


@pytest.mark.parametrize(("right", "n"), [(0, 9), (3, 10), (50, 200), (7, 7)])
def test_a_shares_interval_is_scipys(right: int, n: int) -> None:
    theirs = scipy.stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson_interval(right, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
