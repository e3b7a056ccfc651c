import numpy as np
import pytest

from vicinal.errors import InputError
from vicinal.evaluations.confusion import group_accuracy

CONFUSION = np.array([[8, 1, 1, 0], [2, 6, 1, 1], [0, 0, 9, 1], [0, 0, 5, 5]])


def test_shares_by_hand() -> None:
    first, second = group_accuracy(CONFUSION, [("a", [0, 1]), ("b", [2, 3])])
    assert first.accuracy.value == pytest.approx(14 / 20)
    assert first.confused_within.value == pytest.approx(3 / 20)
    assert first.confused_between.value == pytest.approx(3 / 20)
    assert second.accuracy.value == pytest.approx(14 / 20)
    assert second.confused_within.value == pytest.approx(6 / 20)
    assert second.confused_between.value == 0


def test_groups_that_overlap_or_do_not_exist_are_refused() -> None:
    with pytest.raises(InputError, match="overlap"):
        group_accuracy(CONFUSION, [("a", [0, 1]), ("b", [1, 2])])
    with pytest.raises(InputError, match="4 classes"):
        group_accuracy(CONFUSION, [("a", [0, 9])])
