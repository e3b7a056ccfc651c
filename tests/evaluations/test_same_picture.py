"""Copies of photographs are the same in small, whatever their quality and size; others are not."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

from vicinal.evaluations.same_picture import contrast, made_small, others
from vicinal.representations.embeddings import Embeddings
from vicinal.verbs.duplicates import find_duplicates

CROPS = 60


def square(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture.resize((32, 32), Image.Resampling.LANCZOS))


@pytest.fixture(scope="module")
def photos() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Crops of a photograph on a grid, and a copy of each in another size and quality."""
    rng = np.random.default_rng(0)
    whole = Image.fromarray(load_sample_image("flower.jpg"))
    crops, copies = [], []
    for number in range(CROPS):
        left, top = number % 10 * 60, number // 10 * 60
        crop = whole.crop((left, top, left + 80, top + 80))
        side = int(rng.integers(40, 160))
        file = io.BytesIO()
        crop.resize((side, side)).save(file, "JPEG", quality=int(rng.integers(50, 91)))
        crops.append(square(crop))
        copies.append(square(Image.open(file)))
    return np.stack(crops), np.stack(copies)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 1.0])
def test_pixels_find_what_an_encoder_of_no_use_does_not(
    share: float, photos: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> None:
    """The representations keep hardly more of a copy than of any other picture."""
    count = int(share * CROPS)
    pixels = np.concatenate([photos[0], photos[1][:count]])
    rng = np.random.default_rng(0)
    array = rng.normal(size=(CROPS, 16))
    array = np.concatenate([array, array[:count] + 0.5 * rng.normal(size=(count, 16))])
    embeddings = Embeddings(array.astype(np.float32), np.arange(len(array)).astype(str))
    small = made_small(pixels)
    pairs = find_duplicates(embeddings, small=small).pairs
    assert all(right - left == CROPS for left, right in pairs.tolist())  # not one false
    detailed = contrast(small[:count]) > 20  # of a blurred background nothing is left in small
    assert len(pairs) >= detailed.sum()
    assert share < 1 or detailed.sum() > 25


def test_pixels_leave_out_what_only_the_encoder_takes_for_the_same(
    photos: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    array = np.random.default_rng(0).normal(size=(CROPS, 16)).astype(np.float32)
    array[1::2] = array[::2] + np.float32(0.001)
    embeddings = Embeddings(array, np.arange(CROPS).astype(str))
    assert len(find_duplicates(embeddings).pairs) == CROPS // 2
    left = find_duplicates(embeddings, small=made_small(photos[0])).pairs
    assert len(left) < CROPS // 4
    mirrored = photos[0].copy()
    mirrored[1::2] = mirrored[::2, :, ::-1]
    assert len(find_duplicates(embeddings, small=made_small(mirrored)).pairs) == CROPS // 2


def test_a_picture_in_small_is_the_mean_of_its_fields() -> None:
    pixels = np.random.default_rng(0).integers(256, size=(3, 32, 32, 3), dtype=np.uint8)
    means = pixels.reshape(3, 8, 4, 8, 4, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(made_small(pixels), means, rtol=1e-5)
    assert made_small(pixels[:, :5, :13, :1]).shape == (3, 8, 8, 1)
    plain = np.full((1, 8, 8, 3), 7.0, np.float32) * np.array([30, 10, 1], np.float32)
    assert contrast(plain)[0] == 0
    assert others(np.concatenate([plain, plain * 1.001]), np.array([[0, 1]])).tolist() == [False]
