"""What `vicinal train` leaves alone when nobody says what should not count."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vicinal.encoder.saved import load_encoder
from vicinal.errors import InputError
from vicinal.files import read_json, write_json
from vicinal.recipes import read_recipe
from vicinal.recipes.ignored_differences import ignored
from vicinal.study.train import train
from vicinal.training.fit_to_pictures import sized

QUICK = [
    *("training.epochs=1", "training.batch_size=32", "training.warmup_epochs=0"),
    *("encoder.widths=[4, 4, 4, 4]", "encoder.dimension=64", "encoder.patches=0"),
    "projector.widths=[8, 8]",
]


@pytest.fixture(scope="module")
def left_bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures whose left half is always the brighter one: a mirrored one is none of them."""
    folder, rng = tmp_path_factory.mktemp("left"), np.random.default_rng(0)
    for number in range(80):
        pixels = rng.integers(0, 100, (24, 24, 3), np.uint8)
        pixels[:, :12] += rng.integers(100, 150, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return folder


@pytest.mark.parametrize(
    ("asked", "flips"),
    [
        ({}, False),
        ({"ignore": ["flip"]}, True),
        ({"recipe": "photos"}, True),
        ({"settings": ["views.blur=0"]}, True),
    ],
)
def test_a_difference_that_can_be_told_counts_unless_somebody_says_otherwise(
    left_bright: Path, tmp_path: Path, asked: dict, flips: bool
) -> None:
    settings = [*QUICK, *asked.pop("settings", [])]
    told = train(str(left_bright), settings=settings, run=tmp_path / "run", device="cpu", **asked)
    recipe = read_recipe(str(told.run / "recipe.toml"))
    assert ("flip" in ignored(recipe.views)) == flips
    if not asked:  # goes on with the same views
        again = train(str(left_bright), settings=settings, run=told.run, device="cpu", resume=True)
        assert again.encoder == told.encoder


def test_going_on_takes_the_recipe_of_the_run_and_of_an_earlier_version(
    left_bright: Path, tmp_path: Path
) -> None:
    begun = train(str(left_bright), recipe="photos", settings=QUICK, run=tmp_path, device="cpu")
    whole = begun.encoder.read_bytes()
    held = read_json(tmp_path / "run.json")
    del held["recipe"]["encoder"]["coarse_patches"]  # it knew no such field, and fitted no views
    write_json(tmp_path / "run.json", held)
    for name in ("stages.json", "encoder.safetensors", "checkpoint.pt"):
        (tmp_path / name).unlink()
    again = train(str(left_bright), run=tmp_path, device="cpu", resume=True)
    assert again.encoder.read_bytes() == whole
    assert "flip" in ignored(read_recipe(str(tmp_path / "recipe.toml")).views)
    with pytest.raises(InputError, match=r"training.epochs = 1, not 2"):
        train(str(left_bright), settings=["training.epochs=2"], run=tmp_path, resume=True)
    held["recipe"]["training"]["precision"] = "float32"  # goes on in no other arithmetic
    write_json(tmp_path / "run.json", held)
    with pytest.raises(InputError, match=r"training.precision = 'float32', not 'auto'"):
        train(str(left_bright), run=tmp_path, device="cpu", resume=True)


@pytest.mark.parametrize(
    ("asked", "size"),
    [({}, 32), ({"settings": ["views.size=64"]}, 64), ({"recipe": "photos"}, 96)],
)
def test_small_pictures_are_seen_small_unless_somebody_says_otherwise(
    left_bright: Path,
    tmp_path: Path,
    asked: dict,
    size: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = ["training.epochs=1", "projector.widths=[8, 8]", *asked.pop("settings", [])]
    told = train(str(left_bright), settings=settings, run=tmp_path / "run", device="cpu", **asked)
    recipe = read_recipe(str(told.run / "recipe.toml"))
    _, preparation = load_encoder(told.encoder)
    assert (recipe.views.size, preparation.size) == (size, size)
    assert capsys.readouterr().err.count("no labels") == 1  # though they were read twice


@pytest.mark.parametrize(
    ("sides", "size", "blur"),
    [
        ([(28, 28)] * 3, 32, 3),
        ([(32, 20)] * 3 + [(900, 700)] * 2, 32, 3),  # most of them
        ([(20, 33)] * 3, 64, 7),
        ([(64, 64)] * 3, 64, 7),
        ([(65, 20)] * 3, 96, 9),
        ([(28, 28)] * 2 + [(900, 700)] * 3, 96, 9),
    ],
)
def test_the_size_is_that_of_most_pictures(
    sides: list[tuple[int, int]], size: int, blur: int
) -> None:
    views = sized(read_recipe("photos"), np.array(sides, np.int32)).views
    assert (views.size, views.blur_kernel) == (size, blur)
    assert sized(read_recipe("photos"), None) == read_recipe("photos")
    assert sized(read_recipe("digits"), np.array(sides, np.int32)) == read_recipe("digits")


@pytest.mark.parametrize("patches", [0, 4])
def test_an_encoder_keeps_the_sides_that_pictures_have_whatever_the_recipe_says(
    left_bright: Path, patches: int, tmp_path: Path
) -> None:
    settings = [*QUICK, f"encoder.patches={patches}"]
    told = train(str(left_bright), recipe="photos", settings=settings, run=tmp_path, device="cpu")
    encoder, made = load_encoder(told.encoder)
    pixels = torch.rand(4, 3, made.size, made.size)
    with torch.no_grad():
        assert (encoder(pixels) - encoder(pixels.flip(3))).abs().max() > 1e-3
