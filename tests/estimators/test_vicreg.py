import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import forked
from vicinal import ImageSet, InputError, VICReg, embed, load, load_encoder, read_recipe

TINY = (
    "encoder.widths=[8]",
    "encoder.dimension=8",
    "projector.widths=[16]",
    "training.batch_size=32",
    "training.warmup_epochs=0",
    "training.precision=float32",
)


def tiny(**settings: Any) -> VICReg:
    given: dict[str, Any] = {"recipe": "digits", "settings": TINY, "epochs": 1, "device": "cpu"}
    return VICReg(**given | settings)


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return load("digits", size=8).train.take(np.arange(150))


@pytest.fixture(scope="module")
def fitted(digits: ImageSet) -> VICReg:
    return tiny(epochs=2).fit(digits)


def test_every_way_to_hold_the_same_pictures_gives_the_same(
    digits: ImageSet, fitted: VICReg
) -> None:
    expected = fitted.transform(digits)
    assert expected.shape == (150, 8)
    assert expected.dtype == np.float32
    pixels = digits.pixels
    pictures = [Image.fromarray(one[:, :, 0]) for one in pixels]
    ways: list[Any] = [
        pixels,
        pixels[..., 0],
        pixels.reshape(150, 64),
        pixels.reshape(150, 64).astype(np.float64),
        pixels.reshape(150, 64).tolist(),
        pictures,
        (picture for picture in pictures),
        list(pixels),
        np.repeat(pixels, 3, axis=3),  # grey that is stored as colour
    ]
    for way in ways:
        np.testing.assert_array_equal(fitted.transform(way), expected)
    for way in (pixels.reshape(150, 64), pictures):
        again = tiny(epochs=2).fit(way)
        np.testing.assert_array_equal(again.transform(pixels), expected)
        assert again.n_features_in_ == 64


def test_what_is_left_after_fitting(digits: ImageSet, fitted: VICReg, tmp_path: Path) -> None:
    assert [loss["epoch"] for loss in fitted.losses_] == [1, 2]
    for loss in fitted.losses_:
        weighted = 25 * loss["invariance"] + 25 * loss["variance"] + loss["covariance"]
        assert loss["total"] == pytest.approx(weighted, rel=1e-3)
    assert (fitted.preparation_.size, fitted.preparation_.channels) == (8, 1)
    assert fitted.recipe_.training.epochs == 2
    assert fitted.get_feature_names_out().tolist() == [f"vicreg{i}" for i in range(8)]
    fitted.save(tmp_path / "encoder.safetensors")
    fitted.save(tmp_path / "encoder.safetensors")  # its own kind is replaced
    encoder, preparation = load_encoder(tmp_path / "encoder.safetensors")
    np.testing.assert_allclose(
        embed(encoder, digits, preparation).array, fitted.transform(digits), atol=1e-5
    )
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(InputError, match="exists and is not an encoder"):
        fitted.save(notes)
    assert notes.read_text() == "mine"
    with pytest.raises(InputError, match="no such folder"):
        fitted.save(tmp_path / "nowhere" / "encoder.safetensors")


def test_random_state(digits: ImageSet) -> None:
    torch.manual_seed(5)
    untouched = torch.rand(3)
    torch.manual_seed(5)
    first = tiny(random_state=3).fit(digits)
    assert torch.equal(torch.rand(3), untouched)  # the caller's generator was left alone
    same = tiny(random_state=3).fit(digits).transform(digits)
    other = tiny(random_state=4).fit(digits).transform(digits)
    np.testing.assert_array_equal(first.transform(digits), same)
    assert not np.allclose(same, other)
    drawn = [tiny(random_state=np.random.RandomState(7)).fit(digits) for _ in range(2)]
    assert drawn[0].recipe_.seed == drawn[1].recipe_.seed


def test_cloned_pickled_and_set(digits: ImageSet, fitted: VICReg) -> None:
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.transform(digits), fitted.transform(digits))
    fresh = clone(fitted).set_params(recipe=read_recipe("digits"), epochs=1)
    assert not hasattr(fresh, "encoder_")
    assert fresh.get_params()["settings"] == TINY
    assert fresh.fit(digits.pixels).recipe_.training.epochs == 1


def test_searched_in_a_pipeline(digits: ImageSet) -> None:
    steps = [("vicreg", tiny()), ("scale", StandardScaler()), ("probe", LogisticRegression())]
    search = GridSearchCV(Pipeline(steps), {"vicreg__epochs": [1, 20]}, cv=2, error_score="raise")
    search.fit(digits.pixels.reshape(150, 64), digits.labels)
    assert search.best_params_["vicreg__epochs"] in (1, 20)
    assert search.predict(digits.pixels[:5]).shape == (5,)
    assert search.best_score_ > 0.25  # of ten classes


def test_pictures_of_any_size_and_kind() -> None:
    generator = np.random.default_rng(0)

    def noise(*shape: int) -> NDArray[np.uint8]:
        return generator.integers(0, 256, shape, dtype=np.uint8)

    mixed = [Image.fromarray(noise(20 + i, 14, 3)) for i in range(8)]
    mixed += [Image.fromarray(noise(9, 30)) for _ in range(8)]
    mixed.append(Image.fromarray(noise(8, 8, 4)))  # transparent
    model = tiny().fit(iter(mixed))
    assert model.preparation_.channels == 3
    assert model.n_features_in_ == 192
    assert model.transform(mixed).shape == (17, 8)
    assert model.transform(noise(3, 40, 50, 3)).shape == (3, 8)
    assert model.transform(noise(3, 192)).shape == (3, 8)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 8, 8, 2), np.uint8), r"must be \(N, H, W\) or"),
        (np.full((4, 8, 8), 0.5), "whole numbers from 0 to 255"),
        (np.full((4, 8, 8), -1.0), "from 0 to 255, found -1 to -1"),
        (np.full((4, 8, 8), np.nan), "from 0 to 255, found nan"),
        (np.zeros((4, 784)), r"rows of 784 numbers are not 8×8.*views.size=28"),
        (np.zeros((4, 147)), r"rows of 147 numbers are not 8×8.*views.size=7"),
        (np.zeros((4, 10)), "rows of 10 numbers are not 8×8"),
        ([], "X: VICReg needs at least 2 images, found 0"),
        (iter(()), "X: VICReg needs at least 2 images, found 0"),
        (np.zeros((0, 8, 8, 3), np.uint8), "X: VICReg needs at least 2 images, found 0"),
        (np.zeros((0, 64)), "X: has 0 samples, and VICReg needs at least 2"),
        (np.zeros(0), "X: has 0 samples, and VICReg needs at least 2"),
        (np.zeros((4, 0, 8, 3), np.uint8), "which has no pixels"),
        ([np.zeros((8, 8), np.uint8), np.zeros((0, 8), np.uint8)], "image 1: has no pixels"),
        (np.zeros((1, 8, 8), np.uint8), "at least 2 images, found 1"),
        ([Image.new("L", (8, 8)), "cat.png"], "image 1: must be Pillow's image, an array"),
        ("photos", "must be an array or pictures, found str"),
    ],
)
def test_refuses_what_are_no_pictures(images: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        tiny().fit(images)
    assert "\n" not in str(caught.value)


def test_refuses_settings_in_one_line(digits: ImageSet) -> None:
    for settings, message in (
        ({"recipe": "fast"}, "no recipe 'fast'"),
        ({"epochs": 0}, "training.epochs"),
        ({"settings": "seed=1"}, "must be a list"),
        ({"random_state": "x"}, "seed"),
        ({"device": "tpu"}, "auto, cpu or cuda"),
    ):
        with pytest.raises(InputError, match=message):
            tiny(**settings).fit(digits)


@pytest.mark.parametrize("rate", ["1e30", "1e3"])
def test_a_diverging_training_names_what_the_caller_can_change(rate: str, digits: ImageSet) -> None:
    model = tiny(epochs=2, settings=[*TINY, f"training.learning_rate={rate}"])
    with pytest.raises(InputError, match="also at half the learning rate") as refused:
        model.fit(digits.pixels)
    line = str(refused.value)
    assert f"lower training.learning_rate in settings (now {float(rate):g})" in line
    assert "checkpoint" not in line
    assert tempfile.gettempdir() not in line


def test_the_readmes_example_runs_as_it_stands(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    block = next(part for part in readme.split("```python\n")[1:] if "VICReg(" in part)
    done = forked.run(program=block.split("```")[0], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "encoder.safetensors").is_file()
