"""The encoder's earlier forms differ from the encoder by what they say, and by no more."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

import vicinal
from vicinal.encoder import BACKBONES, build_encoder

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def earlier(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setitem(BACKBONES, "plain", BACKBONES["plain"])
    return importlib.import_module("earlier")


def built(recipe: vicinal.Recipe) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_encoder(recipe.encoder, channels=3, size=recipe.views.size).eval()


def test_forms_read_less_of_the_same_maps(earlier: ModuleType) -> None:
    recipe = vicinal.read_recipe("laptop")
    images = torch.randn(4, 3, 32, 32)
    whole = built(recipe)(images)
    forms = {"": whole}
    for name in earlier.FORMS:
        _, form = earlier.split(f"seed=1 form={name}")
        changed = earlier.take(form, recipe)
        forms[name] = built(changed)(images)
        assert forms[name].shape == (4, changed.encoder.dimension)
    assert torch.equal(built(earlier.take(earlier.Form(), recipe))(images), whole)
    assert torch.equal(forms["last-two"], whole[:, 4 * 64 :])
    assert torch.equal(forms["last-quarters"], whole[:, 4 * (64 + 128) :])
    mean = whole[:, 4 * (64 + 128) :].unflatten(1, (256, 4)).mean(dim=2)
    torch.testing.assert_close(forms["last-mean"], mean)


def test_without_a_form_any_encoder_is_as_it_is(earlier: ModuleType) -> None:
    photos = vicinal.read_recipe("photos")
    earlier.take(earlier.FORMS["last-mean"], vicinal.read_recipe("laptop"))
    settings, form = earlier.split("seed=1")
    assert (settings, form) == (["seed=1"], None)
    assert earlier.take(form, photos) is photos
    assert built(photos)(torch.randn(1, 3, 96, 96)).shape == (1, photos.encoder.dimension)
    with pytest.raises(SystemExit, match="only a plain encoder of 3 stages"):
        earlier.take(earlier.FORMS["last-mean"], photos)


def test_an_unknown_form_is_one_line(earlier: ModuleType) -> None:
    with pytest.raises(SystemExit, match="form=other: should be one of last-mean, "):
        earlier.split("form=other")
