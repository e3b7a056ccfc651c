"""Patch features: held against plain float64 arithmetic, and used as people use them."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from vicinal import InputError, PatchFeatures
from vicinal.encoder.patches import fit_patches


def pictures(count: int, side: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(side)
    coarse = rng.integers(0, 256, (count, 4, 4, channels), dtype=np.uint8)
    return np.stack([np.kron(one, np.ones((side // 4, side // 4, 1), np.uint8)) for one in coarse])


def plain(made: PatchFeatures, picture: np.ndarray) -> np.ndarray:
    """One picture's features, patch by patch."""
    filters = made.filters_.filters.numpy().astype(np.float64)
    offsets = made.filters_.offsets.numpy().astype(np.float64)
    side, size = filters.shape[-1], picture.shape[0] - filters.shape[-1] + 1
    responses = np.empty((size, size, len(filters)))
    for top in range(size):
        for left in range(size):
            patch = picture[top : top + side, left : left + side].transpose(2, 0, 1) / 255.0
            patch = (patch - patch.mean()) / np.sqrt(patch.var() + 10 / 255**2)
            responses[top, left] = (filters * patch).sum(axis=(1, 2, 3)) - offsets
    low, high = slice(0, -(-size // 2)), slice(size // 2, size)
    quarters = [(low, low), (low, high), (high, low), (high, high)]
    signs = (np.maximum(responses - 0.25, 0), np.maximum(-responses - 0.25, 0))
    means = [[one[quarter].mean(axis=(0, 1)) for quarter in quarters] for one in signs]
    return np.array(means).transpose(0, 2, 1).ravel()


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (16, 3), (32, 3)])
def test_as_plain_float64_arithmetic(side: int, channels: int) -> None:
    images = pictures(12, side, channels)
    made = PatchFeatures(5).fit(images)
    for picture, found in zip(images[:3], made.transform(images[:3]), strict=True):
        np.testing.assert_allclose(found, plain(made, picture), rtol=1e-3, atol=2e-5)


def test_filters_are_whitened_patches_of_unit_length() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 1), dtype=np.uint8)
    found = fit_patches(images, 40, np.random.RandomState(0))
    # Patches of white noise are white but for their mean, which is taken off: whitening then
    # scales by 1 / √(1 + 0.1), up to how well 20,000 patches tell.
    lengths = np.linalg.norm(found.filters.numpy().reshape(40, -1), axis=1)
    np.testing.assert_allclose(lengths, 1 / np.sqrt(9 / 8 + 0.1), rtol=0.05)


@pytest.mark.parametrize("side", [8, 28, 96, 224])
def test_any_size_grey_or_colour(side: int) -> None:
    for channels in (1, 3):
        images = pictures(3, side, channels)
        found = PatchFeatures(6).fit_transform(images)
        assert found.shape == (3, 48)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        assert len(np.unique(found, axis=0)) == 3


def test_constant_pictures_give_finite_numbers() -> None:
    found = PatchFeatures(4, n_components=3).fit_transform(np.full((5, 8, 8, 1), 7, np.uint8))
    assert np.isfinite(found).all()


def test_the_seed_decides_and_pickles_and_clones_agree() -> None:
    images = pictures(10, 16)
    first = PatchFeatures(4, 3, random_state=1).fit(images)
    expected = first.transform(images)
    np.testing.assert_array_equal(clone(first).fit(images).transform(images), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).transform(images), expected)
    assert not np.allclose(
        PatchFeatures(4, 3, random_state=2).fit(images).transform(images), expected
    )


def test_whitened_features_have_unit_covariance() -> None:
    found = PatchFeatures(16, n_components=8).fit_transform(pictures(200, 8))
    np.testing.assert_allclose(np.cov(found.T), np.eye(8), atol=1e-3)


def test_better_than_pixels_on_few_digits() -> None:
    digits = load_digits()
    rows = np.arange(300)
    images, y = (digits.data * 255 / 16).astype(np.uint8)[rows], digits.target[rows]
    judge = RidgeClassifier(1.0)
    pixels = cross_val_score(judge, images / 255, y, cv=3).mean()
    patches = cross_val_score(make_pipeline(PatchFeatures(64), judge), images, y, cv=3).mean()
    assert patches > pixels + 0.01, (patches, pixels)


@pytest.mark.parametrize(
    ("parameters", "images", "said"),
    [
        ({"n_filters": 0}, pictures(3, 8), "n_filters=0"),
        ({"size": 3}, pictures(3, 8), "size=3"),
        ({"n_components": -1}, pictures(3, 8), "n_components=-1"),
        ({}, np.zeros((3, 2, 2, 1), np.uint8), "too small"),
        ({}, np.zeros((0, 8, 8, 1), np.uint8), "X: PatchFeatures needs at least 1 image, found 0"),
        ({}, [], "X: PatchFeatures needs at least 1 image, found 0"),
        ({}, np.zeros((0, 64)), "X: has 0 samples, and PatchFeatures needs at least 2"),
        ({}, np.zeros((3, 50)), "not square pictures"),
        ({}, np.full((3, 8, 8), 0.5), "whole numbers"),
    ],
)
def test_what_cannot_be_is_one_line(parameters: dict, images: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        PatchFeatures(**parameters).fit(images)
    assert "\n" not in str(error.value)
