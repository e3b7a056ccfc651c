from pathlib import Path

import pytest
import torch

from vicinal.encoder import build_encoder
from vicinal.encoder.saved import Preparation, load_encoder, save_encoder
from vicinal.errors import InputError
from vicinal.recipe import Encoder

RECIPE = Encoder(backbone="small", widths=(8, 16), dimension=12)
PREPARATION = Preparation(size=16, channels=3, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))


def test_an_encoder_comes_back_whole(tmp_path: Path) -> None:
    encoder = build_encoder(RECIPE, channels=3, size=16).eval()
    path = tmp_path / "encoder.safetensors"
    save_encoder(encoder, path, recipe=RECIPE, preparation=PREPARATION)
    loaded, preparation = load_encoder(path)
    images = torch.rand(4, 3, 16, 16)
    assert preparation == PREPARATION
    assert torch.equal(loaded(images), encoder(images))
    assert not loaded.training


def test_other_files_are_refused_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    with pytest.raises(InputError, match="no encoder there"):
        load_encoder(path)
    path.write_bytes(b"\x00" * 64)
    with pytest.raises(InputError, match="not an encoder that Vicinal wrote"):
        load_encoder(path)
