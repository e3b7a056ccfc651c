"""The encoder beside what needs no training."""

from pathlib import Path

import numpy as np
import pytest

from vicinal.encoder import build_encoder
from vicinal.encoder.saved import Preparation, save_encoder
from vicinal.evaluations.own_view import own_view, views_of
from vicinal.explore.health import PRETRAINED_RIVAL, RIVALS, hold_against_rivals
from vicinal.images import load_parts
from vicinal.images.decoding import Decoding
from vicinal.recipes.recipe import Encoder


@pytest.fixture(scope="module")
def pixels(photos: Path) -> np.ndarray:
    return load_parts(f"folder:{photos}", Decoding(32))[0].images.pixels


def test_every_rival_is_asked_for_the_same_views(pixels: np.ndarray, tmp_path: Path) -> None:
    settings = Encoder(backbone="plain", widths=(8, 8), dimension=64)
    network = build_encoder(settings, channels=3, size=32)
    file = tmp_path / "encoder.safetensors"
    prepared = Preparation(32, 3, (0.5,) * 3, (0.25,) * 3)
    save_encoder(network, file, recipe=settings, preparation=prepared)
    found = hold_against_rivals(pixels, file)
    assert list(found) == ["encoder", *RIVALS, PRETRAINED_RIVAL]  # the tests have the extra
    assert all(one["n"] == len(pixels) for one in found.values())
    first, second = (view.reshape(len(view), -1) / np.float32(255) for view in views_of(pixels))
    assert found["raw pixels"]["value"] == own_view(first, second).value


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = Encoder(backbone="plain", widths=(8, 8), dimension=64)
    file = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    prepared = Preparation(32, 3, (0.5,) * 3, (0.25,) * 3)
    network = build_encoder(settings, channels=3, size=32)
    save_encoder(network, file, recipe=settings, preparation=prepared)
    return file


def test_what_labels_say_is_measured_on_the_pictures_themselves(encoder: Path) -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], [60, 60, 5])  # the last is too small to have five alike
    classes[:3] = -1
    bright = np.where(classes == 1, 200, 20)[:, None, None, None]
    pixels = (bright + rng.integers(0, 50, (125, 32, 32, 3))).astype(np.uint8)
    found = hold_against_rivals(pixels, encoder, classes)
    assert all(one["labelled"] == 117 for one in found.values())
    kept = np.flatnonzero((classes == 0) | (classes == 1))
    flat = pixels[kept].reshape(117, -1) / np.float64(255)
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    order = np.argsort(-(unit @ unit.T) + 2 * np.eye(117), axis=1)[:, :5]
    same = (classes[kept][order] == classes[kept][:, None]).mean(axis=1)
    assert found["raw pixels"]["agreement"] == pytest.approx(same.mean(), abs=0.005)
    low, high = found["raw pixels"]["lead"]
    assert low <= found["encoder"]["agreement"] - found["raw pixels"]["agreement"] <= high
    assert "lead" not in found["encoder"]


@pytest.mark.parametrize(
    "classes",
    [None, np.full(120, -1), np.zeros(120, np.int64), np.arange(120), np.arange(120) % 2 - 1],
    ids=["none", "all without", "one class", "a class each", "half without"],
)
def test_few_labels_say_nothing(classes: np.ndarray | None, encoder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 32, 32, 3), np.uint8)
    found = hold_against_rivals(pixels, encoder, classes)
    assert all("agreement" not in one for one in found.values())
