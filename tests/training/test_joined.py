"""What a training ends with: the network's numbers beside patch features."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from vicinal import VICReg
from vicinal.encoder import build_encoder
from vicinal.encoder.layers import FlipAveraged
from vicinal.encoder.patches import WithPatches, fit_patches, patch_features
from vicinal.encoder.saved import Preparation, load_encoder, read_metadata, save_encoder
from vicinal.recipes import override, read_recipe
from vicinal.recipes.recipe import KEPT, Encoder, Recipe
from vicinal.training.device import open_engine
from vicinal.training.start import read_initial_weights
from vicinal.training.train_encoder import (
    add_patches,
    as_seen,
    data_of_arrays,
    kept_encoder,
    train_encoder,
)
from vicinal.views import channel_statistics, normalise

ENCODER = Encoder(backbone="plain", widths=(4, 8), dimension=48, patches=6)
RECIPE = Recipe(encoder=ENCODER)


def pictures(count: int, side: int = 32) -> np.ndarray:
    made = np.random.default_rng(0).integers(0, 256, (count, side // 4, side // 4, 3), np.uint8)
    return made.repeat(4, axis=1).repeat(4, axis=2)


def joined(pixels: np.ndarray, recipe: Recipe = RECIPE) -> tuple[nn.Module, nn.Module, Preparation]:
    torch.manual_seed(0)
    side = pixels.shape[1]
    made = Preparation(side, 3, *channel_statistics(pixels))
    network = build_encoder(recipe.encoder, channels=3, size=side).eval()
    return add_patches(network, pixels, recipe, made), network, made


def on_axes(block: np.ndarray, length: float) -> np.ndarray:
    """Products (N, N) of a block on scikit-learn's axes, over the fourth roots of the variances."""
    pca = PCA(len(block) - 1).fit(block)
    found = pca.transform(block) / pca.explained_variance_**0.25
    found *= np.sqrt(length / np.square(found).sum(axis=1).mean())
    return np.asarray(found @ found.T)


@pytest.mark.parametrize("side", [32, 68])
def test_each_block_is_on_its_axes_and_the_networks_counts_half(side: int) -> None:
    pixels = pictures(40, side)
    encoder, network, made = joined(pixels)
    images = normalise(torch.from_numpy(pixels), made.mean, made.std)
    with torch.no_grad():
        found = encoder(images).numpy()
        own = (network(images) + network(images.flip(3))).numpy() / 2
    assert found.shape == (40, 2 * KEPT) == (40, ENCODER.numbers)
    for block, length in zip(np.split(found, 2, axis=1), (0.5, 1), strict=True):
        np.testing.assert_allclose(np.square(block).sum(axis=1).mean(), length, rtol=1e-3)
        assert np.ptp(np.linalg.norm(block, axis=1)) > 0.01  # odd pictures lie farther out
    np.testing.assert_allclose(found[:, :KEPT] @ found[:, :KEPT].T, on_axes(own, 0.5), atol=2e-3)


class Unsteady(nn.Module):
    """A network that rounds otherwise in every call, as a batch of another size does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.network(images)
        return found * (1 + 1e-6 * torch.rand(1))


def test_one_picture_over_and_over_is_one_row_over_and_over() -> None:
    pixels = pictures(1).repeat(65, axis=0)
    made = Preparation(32, 3, *channel_statistics(pixels))
    network = Unsteady(build_encoder(ENCODER, channels=3, size=32)).eval()
    encoder = add_patches(network, pixels, RECIPE, made)
    with torch.no_grad():
        found = encoder(normalise(torch.from_numpy(pixels[:3]), made.mean, made.std))
    assert (found == 0).all()


def test_the_second_block_is_that_of_the_patches() -> None:
    pixels = pictures(40)
    encoder, _, made = joined(pixels)
    assert isinstance(encoder, WithPatches)
    both = (pixels, np.ascontiguousarray(pixels[:, :, ::-1]))
    raw = np.sqrt(sum(patch_features(encoder.filters, one) for one in both) / 2)
    with torch.no_grad():
        found = encoder(normalise(torch.from_numpy(pixels), made.mean, made.std)).numpy()[:, KEPT:]
    np.testing.assert_allclose(found @ found.T, on_axes(raw, 1), atol=2e-3)
    assert (
        encoder.filters.filters.shape
        == fit_patches(pixels, 6, np.random.RandomState(0)).filters.shape
    )


def test_coarse_patches_are_those_of_the_picture_at_half_its_size() -> None:
    pixels, recipe = pictures(40), override(RECIPE, ["encoder.coarse_patches=true"])
    encoder, _, made = joined(pixels, recipe)
    assert isinstance(encoder, WithPatches)
    assert encoder.coarse is not None
    halved = pixels.reshape(40, 16, 2, 16, 2, 3).astype(np.float64).mean((2, 4))
    raw = []
    for filters, seen, weight in ((encoder.filters, pixels, 1), (encoder.coarse, halved, 0.7)):
        both = (torch.from_numpy(side / 255).float() for side in (seen, seen[:, :, ::-1].copy()))
        with torch.no_grad():
            found = sum(filters(one.movedim(3, 1)) for one in both) / 2
        raw.append(weight * np.sqrt(found.numpy()))
    with torch.no_grad():
        found = encoder(normalise(torch.from_numpy(pixels), made.mean, made.std)).numpy()[:, KEPT:]
    expected = on_axes(np.concatenate(raw, axis=1), 1)
    np.testing.assert_allclose(found @ found.T, expected, atol=2e-3)
    # filters are whitened patches of the halved pictures, drawn after those of the whole
    rng = np.random.RandomState(recipe.seed)
    rng.permutation(40)
    fit_patches(pixels, 6, rng)
    drawn = fit_patches(halved.round().astype(np.uint8), 6, rng, 6)
    torch.testing.assert_close(encoder.coarse.filters, drawn.filters)


@pytest.mark.parametrize(("side", "coarse"), [(32, True), (8, True), (6, False)])
def test_a_file_has_coarse_patches_where_the_picture_is_large_enough(
    side: int, coarse: bool, tmp_path: Path
) -> None:
    recipe = override(RECIPE, ["encoder.coarse_patches=true", "encoder.backbone=small"])
    pixels = np.random.default_rng(0).integers(0, 256, (20, side, side, 3), np.uint8)
    encoder, _, made = joined(pixels, recipe)
    file = tmp_path / "encoder.safetensors"
    save_encoder(encoder, file, recipe=recipe.encoder, preparation=made)
    loaded, _ = load_encoder(file)
    assert isinstance(loaded, WithPatches)
    assert (loaded.coarse is not None) == coarse
    images = torch.rand(3, 3, side, side)
    with torch.no_grad():
        assert torch.equal(loaded(images), encoder(images))


def test_mirror_images_count_as_one_where_views_flip_alone() -> None:
    pixels, turned = pictures(10), override(RECIPE, ["views.flip=0"])
    for recipe, same in ((RECIPE, True), (turned, False)):
        encoder, _, made = joined(pixels, recipe)
        images = normalise(torch.from_numpy(pixels), made.mean, made.std)
        with torch.no_grad():
            apart = (encoder(images) - encoder(images.flip(3))).abs().max()
        assert (apart < 1e-4) == same


def test_two_pictures_and_pictures_all_alike_have_numbers() -> None:
    for pixels in (pictures(2), np.full((5, 32, 32, 3), 7, np.uint8)):
        encoder, _, made = joined(pixels)
        with torch.no_grad():
            found = encoder(normalise(torch.from_numpy(pixels), made.mean, made.std))
        assert found.shape == (len(pixels), 2 * KEPT)
        assert torch.isfinite(found).all()


def test_its_file_is_whole_and_a_training_goes_on_from_its_network(tmp_path: Path) -> None:
    encoder, network, made = joined(pictures(20))
    file = tmp_path / "encoder.safetensors"
    save_encoder(encoder, file, recipe=ENCODER, preparation=made)
    loaded, preparation = load_encoder(file)
    assert preparation == replace(made, neighbours="cosine")
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(images), encoder(images))
    for recipe in (RECIPE, override(RECIPE, ["encoder.coarse_patches=true"])):
        start = read_initial_weights(file, recipe)
        assert start.preparation == made  # a network alone is compared by L2, as one drawn is
        assert {name.removeprefix("0.") for name in start.weights} == set(network.state_dict())


def test_a_file_of_an_earlier_version_has_blocks_of_unit_length(tmp_path: Path) -> None:
    encoder, _, made = joined(pictures(20))
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        blocks = encoder(images).split(KEPT, dim=1)
    assert isinstance(encoder, WithPatches)
    encoder.unit_blocks = True
    file = tmp_path / "encoder.safetensors"
    save_encoder(encoder, file, recipe=ENCODER, preparation=made)
    loaded, preparation = load_encoder(file)
    assert preparation == made  # a file that says nothing of neighbours
    with torch.no_grad():
        found = loaded(images)
    torch.testing.assert_close(
        found, torch.cat([b / b.norm(dim=1, keepdim=True) for b in blocks], 1)
    )


def test_a_network_kept_on_the_way_is_a_file_without_patches(tmp_path: Path) -> None:
    _, network, made = joined(pictures(20))
    file = tmp_path / "encoder-epoch-1.safetensors"
    save_encoder(network, file, recipe=ENCODER, preparation=made)
    assert read_metadata(file)[0].numbers == ENCODER.dimension
    assert load_encoder(file)[0](torch.rand(2, 3, 32, 32)).shape == (2, 48)


ALONE = ["encoder.patches=0", "encoder.widths=[4, 8]", "encoder.dimension=48"]
ALONE += ["projector.widths=[8, 8]", "training.batch_size=8", "training.keep_epochs=[1]"]


@pytest.mark.parametrize("more", [["views.flip=0"], ["encoder.flip_averaged=false"], []])
def test_a_network_alone_sees_both_sides_where_views_flip(more: list[str], tmp_path: Path) -> None:
    pixels = pictures(16)
    recipe = override(read_recipe("laptop"), [*ALONE, "encoder.flip_averaged=true", *more])
    data, engine = data_of_arrays(recipe, pixels), open_engine("cpu", "float32")
    encoder = train_encoder(data, recipe, tmp_path, engine, epochs=1, quiet=True)
    images = torch.rand(5, 3, 32, 32)
    kept = kept_encoder(tmp_path, 1)
    for file in (tmp_path / "encoder.safetensors", kept):
        loaded, _ = load_encoder(file)
        with torch.no_grad():
            found, apart = loaded(images), loaded(images.flip(3))
            assert torch.equal(found, encoder(images))
        if more:
            assert not torch.allclose(found, apart, atol=1e-3)
            continue
        torch.testing.assert_close(found, apart)
        assert isinstance(loaded, FlipAveraged)
        network = loaded.network.double()
        with torch.no_grad():
            both = [network(side).numpy() for side in (images.double(), images.double().flip(3))]
        np.testing.assert_allclose(found.numpy(), np.mean(both, axis=0), rtol=1e-4, atol=1e-5)
        weights = read_initial_weights(file, recipe).weights  # a training goes on from the network
        assert {name[2:] for name in weights if name[0] == "0"} == set(network.state_dict())


def test_a_network_with_a_start_sees_one_side() -> None:
    recipe = override(read_recipe("pretrained"), ["encoder.flip_averaged=true"])
    network = nn.Identity()
    assert as_seen(network, recipe) is network


def test_the_estimator_ends_with_it() -> None:
    settings = ["encoder.patches=4", "encoder.widths=[4, 8]", "encoder.dimension=48"]
    settings += ["projector.widths=[8, 8]", "training.batch_size=8"]
    learned = VICReg(read_recipe("laptop"), settings, epochs=1, device="cpu").fit(pictures(16))
    assert learned.transform(pictures(16)).shape == (16, 2 * KEPT)
    assert len(learned.get_feature_names_out()) == 2 * KEPT
