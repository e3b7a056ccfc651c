"""Odd places: a small mark in a texture is found, and where it is; equal to a search one by one."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_sample_image
from sklearn.metrics import roc_auc_score

from vicinal.evaluations.odd_places import Places, fit_places, halves, marked
from vicinal.evaluations.same_picture import made_small

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def texture() -> Pixels:
    """400 squares of 64 pixels from the roofs and trees of one photograph."""
    photograph = load_sample_image("china.jpg")
    rng = np.random.default_rng(0)
    corners = rng.integers([150, 0], [340, 576], size=(400, 2))
    return np.stack([photograph[y : y + 64, x : x + 64] for y, x in corners])


@pytest.fixture(scope="module")
def places(texture: Pixels) -> Places:
    small = made_small(texture[:300])
    return fit_places(small, [small], 100)[0]


def with_dot(pictures: Pixels, x: int, y: int, colour: tuple[int, int, int]) -> Pixels:
    made = pictures.copy()
    made[:, y - 3 : y + 4, x - 3 : x + 4] = colour
    return made


def test_a_small_mark_makes_a_picture_odd(texture: Pixels, places: Places) -> None:
    usual = texture[300:]
    odd = with_dot(usual, 40, 20, (255, 0, 255))
    scores = [places.oddest(made_small(pictures)).scores for pictures in (usual, odd)]
    assert roc_auc_score(np.repeat([0, 1], 100), np.concatenate(scores)) > 0.95


@pytest.mark.parametrize(("x", "y"), [(12, 12), (52, 30), (32, 50)])
def test_the_place_is_that_of_the_mark(texture: Pixels, places: Places, x: int, y: int) -> None:
    found = places.oddest(made_small(with_dot(texture[300:], x, y, (255, 0, 255))))
    apart = np.abs(found.places - np.array([x, y]) / 64).max(axis=1)
    assert (apart < 0.16).mean() > 0.9  # within a cell's half, of x and of y


def test_as_a_search_one_by_one_says(texture: Pixels, places: Places) -> None:
    """Cells, axes and distances by numpy in float64, one picture after the other."""
    filters = places.filters.filters.double().numpy()
    offsets = places.filters.offsets.double().numpy()
    found = places.oddest(made_small(texture[300:310]))
    for row, picture in enumerate(made_small(texture[300:310]).astype(np.float64) / 255):
        cells = np.zeros((8, 8, 2 * len(filters)))
        responses = np.zeros((27, 27, len(filters)))
        for y in range(27):
            for x in range(27):
                patch = picture[y : y + 6, x : x + 6].transpose(2, 0, 1)
                scale = 1 / np.sqrt(patch.var() + 10 / 255**2)
                responses[y, x] = (filters * patch).sum(axis=(1, 2, 3)) * scale - offsets
        for y in range(8):
            for x in range(8):
                own = responses[3 * y : 3 * y + 5, 3 * x : 3 * x + 5].reshape(25, -1)
                both = [np.maximum(own - 0.25, 0), np.maximum(-own - 0.25, 0)]
                cells[y, x] = np.sqrt(np.concatenate([one.mean(axis=0) for one in both]))
        flat = places.axes.transform(cells.reshape(64, -1))
        apart = np.linalg.norm(flat[:, None] - places.bank[None].astype(np.float64), axis=2).min(1)
        # Of a cell that is in the bank, float32 leaves some thousandths where there is nothing.
        assert found.scores[row] == pytest.approx(np.sort(apart)[-3:].mean(), rel=1e-3, abs=1e-3)


def test_a_picture_of_the_bank_is_not_odd(texture: Pixels, places: Places) -> None:
    assert places.oddest(made_small(texture[:20])).scores == pytest.approx(0, abs=5e-3)


def test_halves_part_no_group() -> None:
    group = np.full(200, -1, np.int32)
    group[:120] = np.arange(120) // 3
    half = halves(200, group)
    assert 40 < half.sum() < 160
    assert all(len(set(half[group == number].tolist())) == 1 for number in range(40))
    assert (half == halves(200, group)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_marks_are_small_and_the_same_each_time(texture: Pixels, channels: int) -> None:
    pictures = texture[:50, :, :, :channels]
    found = marked(pictures)
    assert found.shape == pictures.shape
    assert (found == marked(pictures)).all()
    changed = (found != pictures).any(axis=3).mean(axis=(1, 2))
    assert (changed > 0).mean() > 0.9
    assert changed.max() < 0.03


def test_blank_pictures_have_no_odd_place() -> None:
    blank = np.full((30, 32, 32, 1), 200, np.uint8)
    with torch.no_grad():
        found = fit_places(blank, [blank], 30)[0].oddest(blank)
    assert found.scores == pytest.approx(0)
    assert ((found.places > 0) & (found.places < 1)).all()
