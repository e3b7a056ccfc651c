"""From readings to threads."""

import pytest

from vicinal.cores import fitting


@pytest.mark.parametrize(
    ("most", "cores", "others", "now", "threads"),
    [
        (2, 2, 0.0, 2, 2),
        (2, 2, 0.4, 2, 2),  # the second thread still pays
        (2, 2, 0.5, 2, 1),
        (2, 2, 1.0, 2, 1),
        (2, 2, 2.0, 2, 1),  # never none
        (2, 2, 1.0, 1, 1),
        (2, 2, 0.4, 1, 1),  # neither to nor fro
        (2, 2, 0.2, 1, 2),
        (16, 16, 3.1, 16, 13),
        (16, 16, 3.6, 16, 12),
        (8, 64, 40.0, 8, 8),  # a quota of 8 among 64 cores, 24 of them free
        (8, 64, 60.0, 8, 4),
        (8, 64, 0.0, 4, 8),
        (1, 2, 0.0, 1, 1),
        (2, 2, 0.0, 4, 2),
    ],
)
def test_fitting(most: int, cores: int, others: float, now: int, threads: int) -> None:
    assert fitting(most, cores, others, now) == threads


def test_a_number_that_fits_still_fits_when_it_is_taken() -> None:
    for tenths in range(90):
        for now in range(1, 9):
            chosen = fitting(8, 8, tenths / 10, now)
            assert fitting(8, 8, tenths / 10, chosen) == chosen
