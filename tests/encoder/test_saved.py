import json
import pickle
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from vicinal.encoder import build_encoder
from vicinal.encoder.saved import Preparation, load_encoder, save_encoder
from vicinal.errors import InputError
from vicinal.images import ImageSet
from vicinal.images.decoding import square
from vicinal.recipes.recipe import Encoder
from vicinal.representations.embed import embed

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


def test_one_of_a_recipe_pickled_before_a_field_was_added_is_written(tmp_path: Path) -> None:
    earlier = RECIPE.model_copy()
    del earlier.__dict__["patch_stem"], earlier.__dict__["flip_averaged"]
    encoder = build_encoder(RECIPE, channels=3, size=16).eval()
    for name, recipe in (("now", RECIPE), ("earlier", earlier)):
        save_encoder(encoder, tmp_path / name, recipe=recipe, preparation=PREPARATION)
    assert (tmp_path / "now").read_bytes() == (tmp_path / "earlier").read_bytes()


def test_representations_have_unit_length_where_the_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    encoder = build_encoder(RECIPE, channels=3, size=16).eval()
    preparation = replace(PREPARATION, unit_length=True)
    save_encoder(encoder, path, recipe=RECIPE, preparation=preparation)
    network, read = load_encoder(path)
    assert read == preparation
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    images = ImageSet("", pixels, np.arange(5).astype(np.str_))
    raw, found = (embed(network, images, made).array for made in (PREPARATION, read))
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(found, raw / lengths, rtol=1e-5)


def test_a_file_that_does_not_say_is_of_an_encoder_that_saw_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    encoder = build_encoder(RECIPE, channels=3, size=16).eval()
    for whole in (True, False):
        preparation = replace(PREPARATION, whole=whole)
        save_encoder(encoder, path, recipe=RECIPE, preparation=preparation)
        with safe_open(path, framework="pt") as file:
            assert ("whole" in json.loads(file.metadata()["preparation"])) == whole
        _, read = load_encoder(path)
        assert read == preparation
        wide = np.zeros((16, 48, 3), np.uint8)
        wide[:, :16] = 255  # a bright left third
        seen = square(wide, "wide", read.decoding()).pixels
        assert seen.any() == whole


def test_one_pickled_before_saw_the_middle() -> None:
    assert pickle.loads(pickle.dumps(PREPARATION)) == PREPARATION
    earlier = replace(PREPARATION)
    del earlier.__dict__["whole"]
    assert pickle.loads(pickle.dumps(earlier)) == replace(PREPARATION, whole=False)


def test_other_files_are_refused_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    with pytest.raises(InputError, match="no encoder there"):
        load_encoder(path)
    path.write_bytes(b"\x00" * 64)
    with pytest.raises(InputError, match="not an encoder that Vicinal wrote"):
        load_encoder(path)


def test_the_same_encoder_gives_the_same_bytes(tmp_path: Path) -> None:
    # safetensors orders metadata by chance, anew each time
    encoder = build_encoder(RECIPE, channels=3, size=16)
    for number in range(16):
        save_encoder(encoder, tmp_path / f"{number}", recipe=RECIPE, preparation=PREPARATION)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    with safe_open(tmp_path / "0", framework="pt") as file:
        assert file.metadata().keys() == {"encoder", "preparation"}


def hostile(path: Path, **changes: Any) -> Path:
    """A whole file whose metadata was changed."""
    encoder = build_encoder(RECIPE, channels=3, size=16)
    preparation = {"size": 16, "channels": 3, "mean": [0.1] * 3, "std": [0.5] * 3}
    preparation |= {key: value for key, value in changes.items() if key in preparation}
    recipe = RECIPE.model_dump(mode="json")
    recipe |= {key: value for key, value in changes.items() if key in recipe}
    metadata = {"encoder": json.dumps(recipe), "preparation": json.dumps(preparation)}
    save_file(encoder.state_dict(), path, metadata=metadata)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"widths": [1_000_000_000, 16]},  # hundreds of terabytes, were they allocated
        {"widths": [8, 17]},
        {"widths": [8]},
        {"widths": []},
        {"patches": 10**19},  # beyond 64 bits
        {"patches": 4, "coarse_patches": True},
        {"backbone": "os.system"},
        {"size": 10**9},
        {"size": 0},
        {"size": "16; rm"},
        {"channels": 10**9},
        {"mean": [0.1]},
        {"std": [0.5, 0.0, 0.5]},
        {"std": [0.5, float("nan"), 0.5]},
        {"mean": ["0.1", "0.1", "0.1"]},
        {"mean": None},
    ],
    ids=str,
)
def test_a_file_whose_claims_do_not_fit_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an encoder that Vicinal wrote"):
        load_encoder(hostile(tmp_path / "encoder.safetensors", **changes))
    assert load_encoder(hostile(tmp_path / "whole.safetensors"))


@pytest.mark.parametrize("damage", ["short", "long header", "beyond the end", "overlap", "no json"])
def test_a_damaged_file_is_refused(damage: str, tmp_path: Path) -> None:
    path = hostile(tmp_path / "encoder.safetensors")
    file = path.read_bytes()
    size = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + size])
    names = [name for name in header if name != "__metadata__"]
    if damage == "short":
        file = file[:-100]
    elif damage == "long header":
        file = struct.pack("<Q", 1 << 60) + file[8:]
    elif damage == "no json":
        file = file[:8] + b"\xff" * size + file[8 + size :]
    else:
        begin, end = header[names[0]]["data_offsets"]
        moved = 1 << 40 if damage == "beyond the end" else 4
        header[names[0]]["data_offsets"] = [begin + moved, end + moved]
        text = json.dumps(header).encode()
        file = struct.pack("<Q", len(text)) + text + file[8 + size :]
    path.write_bytes(file)
    with pytest.raises(InputError, match="not an encoder that Vicinal wrote"):
        load_encoder(path)
