"""Training that goes on from weights: what moves, how fast, and what is kept."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image
from torch import nn

from vicinal import ImageSet
from vicinal.encoder.patches import WithPatches
from vicinal.encoder.pretrained import initial_encoder, open_start, preparation_for, with_start
from vicinal.encoder.saved import Preparation, load_encoder
from vicinal.evaluations import own_view
from vicinal.evaluations.own_view import keep_better, kept_sentence, measured, read_kept
from vicinal.recipes import override, read_recipe
from vicinal.recipes.recipe import KEPT, Recipe
from vicinal.training import train_encoder as train_module
from vicinal.training.device import Engine, open_engine
from vicinal.training.start import read_initial_weights
from vicinal.training.train_encoder import data_of_arrays, kept_encoder, train_encoder
from vicinal.views import normalise

timm = pytest.importorskip("timm", reason="needs timm, an extra")
QUICK = (
    "views.size=64",
    "views.blur_kernel=3",
    "projector.widths=[16,16]",
    "training.epochs=2",
    "training.batch_size=8",
    "training.precision=float32",
    "training.warmup_epochs=0",
    "encoder.patches=4",
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Going on from timm's smallest network, whose BatchNorm has seen noise."""
    torch.manual_seed(0)
    network = timm.create_model("test_efficientnet").train()
    for _ in range(3):
        network(torch.randn(8, 3, 64, 64))
    file = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file(network.state_dict(), file)
    start = f"encoder.start=timm:test_efficientnet@{file}"
    return with_start(override(read_recipe("pretrained"), [start, *QUICK]))


@pytest.fixture(scope="module")
def images(recipe: Recipe) -> ImageSet:
    size = open_start(recipe.encoder.start).preparation.size
    photo = load_sample_image("china.jpg")
    places = np.random.default_rng(0).integers(photo.shape[0] - size, size=(24, 2))
    crops = np.stack([photo[top : top + size, left : left + size] for top, left in places])
    return ImageSet("crops", crops, np.arange(24).astype(np.str_))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return open_engine("cpu", "float32")


def learned(recipe: Recipe, images: ImageSet, folder: Path, engine: Engine) -> torch.nn.Module:
    folder.mkdir()
    alone = override(recipe, ["encoder.patches=0"])
    return train_encoder(data_of_arrays(alone, images.pixels), alone, folder, engine)


def moved(recipe: Recipe, network: torch.nn.Module, name: str) -> float:
    before = open_start(recipe.encoder.start).weights[name]
    return float((network.state_dict()[name] - before).abs().max())


def test_it_starts_from_the_weights_and_holds_their_statistics(
    recipe: Recipe, images: ImageSet, tmp_path: Path, engine: Engine
) -> None:
    network = learned(recipe, images, tmp_path / "held", engine)
    rate = recipe.training.learning_rate * recipe.training.encoder_rate
    assert 0 < moved(recipe, network, "conv_stem.weight") <= 1.1 * 6 * rate  # Adam's 6 steps
    assert moved(recipe, network, "bn1.running_mean") == 0
    free = override(recipe, ["training.batchnorm=batch", "training.encoder_rate=1"])
    network = learned(free, images, tmp_path / "free", engine)
    assert moved(recipe, network, "conv_stem.weight") > 2 * 6 * rate
    assert moved(recipe, network, "bn1.running_mean") > 0


def test_patches_of_the_pictures_stand_beside_the_network_that_counts_double(
    recipe: Recipe, images: ImageSet, tmp_path: Path, engine: Engine
) -> None:
    still = override(recipe, ["training.learning_rate=1e-12", "training.keep_epochs=[1]"])
    data = data_of_arrays(still, images.pixels)
    encoder = train_encoder(data, still, tmp_path, engine)
    loaded, preparation = load_encoder(tmp_path / "encoder.safetensors")
    assert isinstance(encoder, WithPatches)
    assert isinstance(loaded, WithPatches)
    own = open_start(recipe.encoder.start)
    # Rows at unit length would not say how far a picture lies from the middle.
    assert preparation == replace(own.preparation, unit_length=False, neighbours="cosine")
    assert load_encoder(kept_encoder(tmp_path, 1))[1] == own.preparation  # of the network alone
    seen = normalise(torch.from_numpy(images.pixels), preparation.mean, preparation.std)
    with torch.no_grad():
        found, plain = loaded(seen), own.network()(seen)
        # Trained weights lie otherwise in memory, where sums round otherwise on some processors.
        assert torch.equal(found, encoder.to(memory_format=torch.contiguous_format)(seen))
    length = found[:, :KEPT].square().sum(1).mean(), found[:, KEPT:].square().sum(1).mean()
    np.testing.assert_allclose(length, (2, 1), rtol=1e-3)
    # The network sees a picture as it is, and patches see it and its mirror image.
    centred = (plain - loaded.centres[:256]) @ loaded.axes[:256]
    torch.testing.assert_close(found[:, :KEPT], centred, rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        apart = (loaded(seen) - loaded(seen.flip(3))).abs()
    assert apart[:, :KEPT].max() > 1e-2 > 10 * apart[:, KEPT:].max()


def test_a_run_is_trained_further_as_any_other(
    recipe: Recipe, images: ImageSet, tmp_path: Path, engine: Engine
) -> None:
    first, on = tmp_path / "first", tmp_path / "on"
    for folder in (first, on):
        folder.mkdir()
    train_encoder(data_of_arrays(recipe, images.pixels), recipe, first, engine)
    still = override(recipe, ["training.learning_rate=1e-12", "training.keep_epochs=[1]"])
    start = read_initial_weights(first / "encoder.safetensors", still)
    own = open_start(recipe.encoder.start).preparation
    assert start.preparation == own
    data = data_of_arrays(still, images.pixels, initial=start)
    train_encoder(data, still, on, engine, initial=start, choose=keep_better)
    assert read_kept(on) is None  # it began with the run's weights, not with theirs
    network, preparation = load_encoder(kept_encoder(on, 1))
    assert preparation == own
    state = network.state_dict()
    for name, value in start.weights.items():
        if name.startswith("0.") and name.endswith("weight"):
            torch.testing.assert_close(state[name[2:]], value, rtol=1e-4, atol=1e-5)


def test_images_are_prepared_as_the_network_has_it(recipe: Recipe, images: ImageSet) -> None:
    made = preparation_for(images.pixels, recipe.encoder)
    assert made == open_start(recipe.encoder.start).preparation
    assert made.size == images.size != recipe.views.size
    deep = preparation_for(images.pixels, recipe.encoder, (0.0, 4095.0))
    assert deep == replace(made, span=(0.0, 4095.0))  # that is the pictures' own


def test_the_better_is_kept_and_said(
    recipe: Recipe, images: ImageSet, tmp_path: Path, engine: Engine
) -> None:
    ruined = initial_encoder(recipe.encoder, channels=3, size=64)
    for weight in ruined.parameters():
        torch.nn.init.zeros_(weight)
    kept = keep_better(ruined, images.pixels, recipe, tmp_path, engine)
    for name, weight in open_start(recipe.encoder.start).weights.items():
        assert torch.equal(kept.state_dict()[name], weight)
    said = read_kept(tmp_path)
    assert said is not None
    assert said["kept"] == "before"
    assert (
        said["after"]
        < said["before"]
        == measured(kept, images.pixels, preparation_for(images.pixels, recipe.encoder), "cpu")
    )
    assert "was not kept" in kept_sentence(said)
    assert "was kept" in kept_sentence(said | {"kept": "after"})


def test_without_a_start_there_is_nothing_to_choose(
    images: ImageSet, tmp_path: Path, engine: Engine
) -> None:
    network = torch.nn.Identity()
    assert keep_better(network, images.pixels, read_recipe("laptop"), tmp_path, engine) is network
    assert read_kept(tmp_path) is None


def test_the_time_of_the_choice_is_that_of_what_it_embeds(monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = []

    def counted(_: object, views: ImageSet, *__: object, **___: object) -> SimpleNamespace:
        embedded.append(len(views))
        return SimpleNamespace(array=np.eye(len(views), dtype=np.float32))

    monkeypatch.setattr(own_view, "embed", counted)
    pixels = np.zeros((train_module.COMPARED + 9, 8, 8, 1), np.uint8)
    for network in (nn.Identity(), nn.Identity()):  # before and after
        assert measured(network, pixels, Preparation(8, 1, (0.0,), (1.0,)), "cpu") == 1
    assert sum(embedded) == train_module._EMBEDDED
