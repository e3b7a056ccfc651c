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
