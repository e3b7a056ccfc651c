import pytest

from vicinal.recipes.recipe import Training
from vicinal.training.optimizers import learning_rate


def rates(training: Training, steps: int = 100, per_epoch: int = 10) -> list[float]:
    return [learning_rate(step, steps, per_epoch, training) for step in range(steps)]


def test_constant_is_constant() -> None:
    assert set(rates(Training(learning_rate=0.1))) == {0.1}


def test_warmup_rises_linearly_to_the_highest_rate() -> None:
    warm = rates(Training(learning_rate=0.1, warmup_epochs=2))
    assert warm[0] == pytest.approx(0.1 / 20)
    assert warm[19] == warm[20] == pytest.approx(0.1)
    assert warm[10] - warm[9] == pytest.approx(warm[1] - warm[0])


def test_cosine_falls_from_the_highest_rate_to_nearly_none() -> None:
    cosine = rates(Training(learning_rate=0.1, schedule="cosine", warmup_epochs=1))
    assert max(cosine) == pytest.approx(0.1)
    assert cosine[10:] == sorted(cosine[10:], reverse=True)
    assert cosine[55] == pytest.approx(0.05)
    assert 0 < cosine[-1] < 1e-4


def test_a_warmup_longer_than_the_training_never_divides_by_zero() -> None:
    short = rates(Training(learning_rate=0.1, schedule="cosine", warmup_epochs=50), steps=10)
    assert short[-1] == pytest.approx(0.1)
