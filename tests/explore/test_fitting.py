import pytest

from vicinal.explore.fitting import epochs_within, with_epochs
from vicinal.recipe import Recipe, Training


def recipe(epochs: int, warmup: float = 0.0) -> Recipe:
    return Recipe(training=Training(epochs=epochs, warmup_epochs=warmup))


def test_epochs_fill_the_minutes() -> None:
    assert epochs_within(8, 10_000, 250.0, recipe(40)) == 12  # 8·60·250 / 10,000


def test_there_is_one_epoch_at_least() -> None:
    assert epochs_within(0.01, 1_000_000, 10.0, recipe(40)) == 1


def test_a_large_set_takes_no_more_epochs_than_the_recipe() -> None:
    assert epochs_within(1e6, 50_000, 1000.0, recipe(40)) == 40


def test_a_small_set_is_passed_over_for_as_many_steps_as_a_larger_one() -> None:
    assert epochs_within(1e6, 500, 1000.0, recipe(40)) == 400


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 0.5), (10, 2.0)])
def test_the_warm_up_never_fills_the_training(epochs: int, warmup: float) -> None:
    shorter = with_epochs(recipe(40, 2.0), epochs).training
    assert (shorter.epochs, shorter.warmup_epochs) == (epochs, warmup)
