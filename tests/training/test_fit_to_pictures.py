"""Which differences views may make is measured on the pictures."""

import numpy as np
import pytest

from vicinal.images import load
from vicinal.images.in_memory import squares
from vicinal.recipes import override
from vicinal.recipes.ignored_differences import ignored
from vicinal.recipes.recipe import Recipe, Views
from vicinal.training.fit_to_pictures import VISIBLE, accuracies, fitting, with_sides

RECIPE = Recipe(views=Views(size=32))


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    found = squares(load("digits", size=32).train.pixels[:600], 32, None)
    assert found is not None
    return found.pixels


def noise(count: int = 300, channels: int = 3) -> np.ndarray:
    """Pictures whose mirror images, other colours and other brightness are as likely."""
    rng = np.random.default_rng(0)
    made = rng.uniform(0, 1, (count, 8, 8, channels)) * rng.uniform(0.2, 1, (count, 1, 1, channels))
    return (255 * made).astype(np.uint8).repeat(4, 1).repeat(4, 2)


def test_a_mirrored_digit_can_be_told_and_is_not_ignored(digits: np.ndarray) -> None:
    assert accuracies(digits, RECIPE.views)["flip"] > 0.9
    kept = ignored(fitting(RECIPE, digits).views)
    assert "flip" not in kept
    assert {"scale", "blur"} <= set(kept)


@pytest.mark.parametrize("beside", ["flip_averaged=true", "patches=4"])
def test_an_encoder_sees_mirror_images_where_they_look_like_the_others(
    beside: str, digits: np.ndarray
) -> None:
    mirrored = override(RECIPE, [f"encoder.{beside}"])
    assert with_sides(mirrored, noise()) == mirrored
    kept = with_sides(mirrored, digits)
    assert not kept.encoder.mirrored
    assert not kept.encoder.flip_averaged
    for nothing_to_look_at in (RECIPE, override(mirrored, ["views.flip=0"])):
        assert with_sides(nothing_to_look_at, digits) == nothing_to_look_at


def test_what_cannot_be_told_stays_ignored() -> None:
    shares = accuracies(noise(), RECIPE.views)
    assert shares["flip"] == pytest.approx(0.5, abs=0.15)
    assert shares["colour"] < VISIBLE
    assert fitting(RECIPE, noise()) == RECIPE


def test_grey_pictures_of_three_channels_get_no_colour_work() -> None:
    grey = noise(channels=1).repeat(3, axis=3)
    assert accuracies(grey, RECIPE.views)["colour"] == 1
    found = fitting(RECIPE, grey).views
    assert (found.hue, found.saturation, found.grey) == (0, 0, 0)


def test_digits_are_equally_bright_and_stay_so(digits: np.ndarray) -> None:
    assert accuracies(digits, RECIPE.views)["brightness"] > VISIBLE
    assert fitting(RECIPE, digits).views.brightness == 0


def test_few_pictures_say_nothing() -> None:
    assert accuracies(noise(20), RECIPE.views) == {}
    assert fitting(RECIPE, noise(20)) == RECIPE


def test_what_the_views_do_not_do_is_not_asked(digits: np.ndarray) -> None:
    assert "flip" not in accuracies(digits, RECIPE.views.model_copy(update={"flip": 0.0}))
