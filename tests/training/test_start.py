"""A training that begins with another's encoder: further, and never in that one's folder."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vicinal import load
from vicinal.encoder import BACKBONES, build_encoder
from vicinal.encoder.patches import fit_patches
from vicinal.encoder.saved import load_encoder
from vicinal.errors import InputError
from vicinal.files import read_json
from vicinal.recipes import override, read_recipe
from vicinal.recipes.recipe import Recipe
from vicinal.runs.run_folder import RunFolder
from vicinal.study.data import Data
from vicinal.study.learners import Learners
from vicinal.study.train import Trained, train
from vicinal.training.device import open_engine
from vicinal.training.start import read_initial_weights, stem_weights

TINY = (
    *("encoder.widths=[8]", "encoder.dimension=8", "projector.widths=[16, 16]"),
    *("training.batch_size=32", "training.warmup_epochs=0", "training.precision=float32"),
)
ONE, TWO = "training.epochs=1", "training.epochs=2"


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    run = tmp_path_factory.mktemp("start") / "first"
    return train("digits", settings=[*TINY, ONE], limit=100, run=run)


def test_it_begins_where_the_other_ended_and_leaves_it_alone(
    first: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(first.run)
    still = [
        "training.learning_rate=1e-12",
        "training.schedule=constant",
        "training.weight_decay=0",
    ]
    run = tmp_path / "same"
    same = train("digits", settings=[ONE, *still], limit=100, run=run, start=first.run)
    assert "and its projector" in capsys.readouterr().err
    (ours, prepared), (theirs, preparation) = map(load_encoder, (same.encoder, first.encoder))
    assert prepared == preparation
    for (name, mine), (_, other) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        torch.testing.assert_close(mine, other, msg=name)
    state = [torch.load(one.run / "checkpoint.pt")["model"] for one in (same, first)]
    weights = [name for name in state[0] if name.startswith("1.") and name.endswith("weight")]
    assert weights
    for name in weights:
        torch.testing.assert_close(state[0][name], state[1][name])

    further = train("digits", settings=[TWO], limit=100, run=tmp_path / "more", start=first.run)
    assert further.epochs == 2
    assert further.loss["train"] < first.loss["train"]
    assert contents(first.run) == before


def test_its_preparation_stays_on_other_pictures(first: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "dark"
    folder.mkdir()
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 60, (8, 8), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    found = train(
        f"folder:{folder}",
        settings=[ONE],
        run=tmp_path / "run",
        start=first.encoder,
        data_dir=tmp_path,
    )
    assert load_encoder(found.encoder)[1] == load_encoder(first.encoder)[1]
    assert read_json(found.run / "run.json")["recipe"]["encoder"]["widths"] == [8]


def test_going_on_begins_nothing_again(first: Trained, tmp_path: Path) -> None:
    run = tmp_path / "run"
    whole = train("digits", settings=[ONE], limit=100, run=run, start=first.run)
    again = train("digits", settings=[ONE], limit=100, run=run, start=first.run, resume=True)
    assert again == whole
    with pytest.raises(InputError, match=r"holds a run with start = "):
        train("digits", settings=[*TINY, ONE], limit=100, run=run, resume=True)
    with pytest.raises(InputError, match=r"epochs = 1, not 2; .* with start=.*run. to train its"):
        train("digits", settings=[TWO], limit=100, run=run, start=first.run, resume=True)


def test_going_on_takes_the_minutes_that_the_run_was_given(tmp_path: Path) -> None:
    run = tmp_path / "run"
    whole = train("digits", settings=[*TINY, ONE], limit=100, run=run, minutes=0.05)
    assert train("digits", settings=[*TINY, ONE], limit=100, run=run, resume=True) == whole
    with pytest.raises(InputError, match=r"holds a run with minutes = 0.05, not 1"):
        train("digits", settings=[*TINY, ONE], limit=100, run=run, minutes=1, resume=True)


def test_a_projector_that_is_not_there_or_another_is_drawn(first: Trained, tmp_path: Path) -> None:
    recipe = override(read_recipe("digits"), TINY)
    assert any(
        name.startswith("1.") for name in read_initial_weights(first.encoder, recipe).weights
    )
    wider = override(recipe, ["projector.widths=[24, 24]"])
    alone = tmp_path / "encoder.safetensors"
    alone.write_bytes(first.encoder.read_bytes())
    (tmp_path / "torn").mkdir()
    torn = tmp_path / "torn" / "encoder.safetensors"
    torn.write_bytes(first.encoder.read_bytes())
    torn.with_name("checkpoint.pt").write_bytes(b"torn")
    for file, asked, why in (
        (first.encoder, wider, "projector.widths are others"),
        (alone, recipe, "no checkpoint.pt"),
        (torn, recipe, "cannot be read"),
    ):
        start = read_initial_weights(file, asked)
        assert why in start.projector
        assert not any(name.startswith("1.") for name in start.weights)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["encoder.backbone=plain"], "encoder.backbone = 'small', not 'plain'"),
        (["encoder.dimension=16"], "encoder.dimension = 8, not 16"),
        (["views.size=16"], r"pictures of 8 pixels a side, not views.size = 16"),
    ],
)
def test_another_encoder_is_refused(
    settings: list[str], said: str, first: Trained, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        train("digits", settings=settings, run=tmp_path / "run", start=first.run)
    assert not (tmp_path / "run").exists()


def test_pictures_of_other_channels_are_refused(first: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "colour"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (8, 8), (50 * number, 0, 9)).save(folder / f"{number}.png")
    with pytest.raises(InputError, match=r"takes grey pictures, and those of folder:.* are colour"):
        train(f"folder:{folder}", run=tmp_path / "run", start=first.run, data_dir=tmp_path)


def test_a_run_without_an_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no encoder.safetensors in it"):
        train("digits", run=tmp_path / "run", start=tmp_path)


STILL = (
    *("training.learning_rate=1e-12", "training.schedule=constant", "training.weight_decay=0"),
    *(ONE, "encoder.patch_stem=true"),
)


def first_layer(encoder: nn.Module) -> np.ndarray:
    name = next(n for n, layer in encoder.named_modules() if isinstance(layer, nn.Conv2d))
    return encoder.state_dict()[f"{name}.weight"].double().numpy()


def whitened(pixels: np.ndarray, count: int, side: int, std: np.ndarray) -> np.ndarray:
    """Filters (count, C, side, side) float64 for images over ``std``, 3^-½ long."""
    rng = np.random.RandomState(0)
    raw = fit_patches(pixels, count, rng, side, blank=False).filters.double().numpy()
    scaled = raw * std[:, None, None]
    return scaled / np.sqrt((scaled**2).sum(axis=(1, 2, 3), keepdims=True)) / np.sqrt(3)


@pytest.mark.parametrize(
    ("backbone", "widths", "dimension", "side"), [("small", "[8]", 8, 3), ("plain", "[5]", 20, 4)]
)
def test_the_first_layer_begins_with_whitened_patches(
    backbone: str, widths: str, dimension: int, side: int, tmp_path: Path
) -> None:
    settings = [*TINY, *STILL, f"encoder.backbone={backbone}", f"encoder.widths={widths}"]
    settings += [f"encoder.dimension={dimension}"]
    found = train("digits", settings=settings, limit=100, run=tmp_path / "run")
    encoder, made = load_encoder(found.encoder)
    pixels = load("digits", size=8, limit=100).train.pixels
    layer = first_layer(encoder)
    expected = whitened(pixels, len(layer), side, np.array(made.std))
    np.testing.assert_allclose(layer, expected, rtol=1e-4, atol=1e-6)

    # Further training goes on from weights, whatever the recipe begins with.
    other = [*STILL, "seed=1"]
    further = train("digits", settings=other, limit=100, run=tmp_path / "on", start=found.run)
    np.testing.assert_allclose(
        first_layer(load_encoder(further.encoder)[0]), layer, rtol=1e-4, atol=1e-6
    )


def test_an_untrained_encoder_has_that_first_layer_too_and_all_else_drawn(tmp_path: Path) -> None:
    recipe = override(read_recipe("digits"), [*TINY, "encoder.patch_stem=true"])
    parts = load("digits", size=8, limit=60)
    engine = open_engine("cpu", "float32")
    Learners(Data(parts.train, parts.test, None), recipe, RunFolder(tmp_path), engine).untrained()
    encoder, made = load_encoder(tmp_path / "untrained" / "encoder.safetensors")
    torch.manual_seed(recipe.seed)
    drawn = build_encoder(recipe.encoder, channels=1, size=8)
    layer = first_layer(encoder)
    expected = whitened(parts.train.pixels, len(layer), 3, np.array(made.std))
    np.testing.assert_allclose(layer, expected, rtol=1e-4, atol=1e-6)
    apart = [
        name
        for name, value in drawn.named_parameters()
        if not torch.equal(value, encoder.state_dict()[name])
    ]
    assert len(apart) == 1


def test_without_it_and_with_a_start_nothing_is_put_in() -> None:
    pixels = np.zeros((4, 32, 32, 3), np.uint8)
    start = override(read_recipe("pretrained"), ["encoder.patch_stem=true"])
    for recipe in (Recipe(), start):
        assert stem_weights(recipe, pixels, (1, 1, 1)) == {}


def strange(layer: nn.Module) -> nn.Module:
    return nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("network", "pixels"),
    [
        (nn.Linear(64, 8), np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)),
        (strange(nn.Conv2d(16, 8, 3)), np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)),
        (strange(nn.Conv2d(1, 8, 11)), np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)),
        (strange(nn.Conv2d(1, 8, 17)), np.arange(2400, dtype=np.uint8).reshape(6, 20, 20, 1)),
        (strange(nn.Conv2d(1, 8, 3)), np.full((4, 8, 8, 1), 200, np.uint8)),
    ],
    ids=["no convolution", "other channels", "larger than the picture", "too large", "blank"],
)
def test_a_layer_that_patches_cannot_be_is_drawn_and_a_line_says_so(
    network: nn.Module,
    pixels: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(BACKBONES, "small", lambda *_: network)
    recipe = override(read_recipe("digits"), ["encoder.patch_stem=true"])
    assert stem_weights(recipe, pixels, (1.0,)) == {}
    assert "starts from random filters" in capsys.readouterr().err


def test_blank_patches_are_no_filters() -> None:
    """As of digits on white: each would be the same filter."""
    pixels = np.zeros((30, 8, 8, 1), np.uint8)
    pixels[:, 3:5, 3:5] = np.random.default_rng(0).integers(0, 256, (30, 2, 2, 1), np.uint8)
    recipe = override(read_recipe("digits"), ["encoder.patch_stem=true"])
    (weights,) = stem_weights(recipe, pixels, (1.0,)).values()
    rounded = weights.flatten(1).round(decimals=4).numpy()
    assert len({row.tobytes() for row in rounded}) > 12  # of 16
