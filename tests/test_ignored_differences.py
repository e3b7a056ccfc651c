"""Words for what should not count, against what views then do to real pictures."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_image
from torch import Tensor

from vicinal.cli.options import ignored_words
from vicinal.errors import InputError
from vicinal.estimators.vicreg import VICReg
from vicinal.explore import Request
from vicinal.explore.request import check, recipe_of
from vicinal.recipes import override, read_recipe
from vicinal.recipes.ignored_differences import OFF, ignored, ignoring
from vicinal.views import Augment

SIZE = 32


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    photo = torch.from_numpy(load_sample_image("flower.jpg").copy())
    return torch.stack([photo[y : y + SIZE, 200 : 200 + SIZE] for y in range(100, 116)])


@pytest.mark.parametrize("count", range(len(OFF) + 1))
def test_views_differ_in_the_words_and_in_nothing_else(count: int) -> None:
    for words in combinations(OFF, count):
        for name in ("seed", "digits", "photos"):
            assert set(ignored(ignoring(read_recipe(name), words).views)) == set(words)


def test_what_a_recipe_has_keeps_its_strength() -> None:
    recipe = override(read_recipe("seed"), ["views.brightness=0.1", "views.flip=0.3"])
    views = ignoring(recipe, ["brightness", "flip", "rotation"]).views
    assert (views.brightness, views.contrast, views.flip) == (0.1, 0.4, 0.3)
    assert (views.rotation, views.hue, views.blur) == (180, 0, 0)
    assert ignoring(recipe, ["color"]).views.hue == recipe.views.hue


def test_where_colour_counts_views_keep_it(pictures: Tensor) -> None:
    """A view of one flat colour has that colour, whatever is done beside."""
    flat = torch.zeros_like(pictures)
    flat[..., 0], flat[..., 1] = 200, 90
    for words, keeps in ((["flip", "scale", "blur"], True), (["colour", "scale"], False)):
        views = ignoring(read_recipe("seed"), words).views
        made = Augment(views, (0.0,) * 3, (1.0,) * 3)(flat, torch.Generator().manual_seed(0))
        near = torch.allclose(made * 255, flat.permute(0, 3, 1, 2).float(), atol=1)
        assert near == keeps


def test_only_the_place_of_the_crop_is_left_where_everything_counts(pictures: Tensor) -> None:
    views = ignoring(read_recipe("seed"), []).views
    assert ignored(views) == ()
    augment = Augment(views, (0.0,) * 3, (1.0,) * 3)
    a, b = (augment(pictures, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert not torch.equal(a, b)
    assert a.min() >= 0
    assert a.max() <= 1


def test_another_word_is_refused_with_the_words_there_are() -> None:
    with pytest.raises(InputError, match="ignore='hue': the words are colour, brightness, flip"):
        ignoring(read_recipe("seed"), ["hue"])


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, None), ("nothing", ()), ("flip, Colour", ("flip", "colour")), ("blur", ("blur",))],
)
def test_words_on_the_command_line(text: str | None, words: tuple[str, ...] | None) -> None:
    assert ignored_words(text) == words


def test_explore_trains_by_the_words_and_says_how_it_goes_on(tmp_path: Path) -> None:
    asked = Request("digits", recipe="seed", ignore=("flip", "blur"))
    recipe = recipe_of(asked, "digits", tmp_path)
    assert recipe is not None
    assert ignored(recipe.views) == ("flip", "blur")
    assert "--ignore flip,blur" in asked.command(tmp_path)
    assert "--ignore nothing" in Request("digits", ignore=()).command(tmp_path)
    with pytest.raises(InputError, match="nothing is trained"):
        check(Request("digits", encoder=tmp_path, ignore=("flip",)))


def test_the_estimator_has_them_too() -> None:
    pictures = load_digits().images[:40].astype(np.uint8) * 15
    tiny = ["encoder.widths=[8]", "encoder.dimension=8", "projector.widths=[8]"]
    tiny += ["training.warmup_epochs=0", "training.batch_size=8"]
    model = VICReg("digits", tiny, epochs=1, ignore=["scale", "flip"]).fit(pictures)
    assert ignored(model.recipe_.views) == ("flip", "scale")
    with pytest.raises(InputError, match="ignore must be a list"):
        VICReg("digits", tiny, epochs=1, ignore="scale").fit(pictures)
