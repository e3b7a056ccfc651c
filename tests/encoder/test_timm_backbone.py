import sys
from pathlib import Path

import pytest
import torch

from vicinal.encoder import build_encoder
from vicinal.encoder.saved import Preparation, load_encoder, save_encoder
from vicinal.errors import InputError
from vicinal.recipes.recipe import Encoder

timm = pytest.importorskip("timm", reason="needs timm, an extra")
RESNET = Encoder(backbone="timm:test_resnet", dimension=96)
SIZE = 32


def test_is_timms_own_network() -> None:
    torch.manual_seed(0)
    ours = build_encoder(RESNET, channels=1, size=SIZE)
    torch.manual_seed(0)
    theirs = timm.create_model("test_resnet", num_classes=0, in_chans=1)
    assert ours.training
    images = torch.rand(3, 1, SIZE, SIZE)
    assert torch.equal(ours.eval()(images), theirs.eval()(images))
    assert ours(images).shape == (3, 96)


def test_training_in_bfloat16_has_the_gradient_of_maps_of_one_pixel() -> None:
    encoder = build_encoder(RESNET, channels=1, size=8)  # its last stages see one pixel
    convolution = encoder.get_submodule("layer4.0.conv1")
    torch.nn.init.ones_(encoder.get_submodule("layer4.0.bn2").weight)  # timm starts it at zero
    for _ in range(5):
        encoder.zero_grad()
        torch.full(convolution.weight.shape, torch.nan)  # memory that is given again
        with torch.autocast("cpu", torch.bfloat16):
            encoder(torch.rand(16, 1, 8, 8)).float().square().sum().backward()
        gradient = convolution.weight.grad
        assert gradient[:, :, 1, 1].abs().max() > 0
        gradient[:, :, 1, 1] = 0
        assert torch.equal(gradient, torch.zeros_like(gradient))  # they meet padding alone


def test_a_transformer_is_built_for_the_recipes_size() -> None:
    recipe = Encoder(backbone="timm:test_vit", dimension=64)
    encoder = build_encoder(recipe, channels=3, size=SIZE)
    assert encoder(torch.rand(2, 3, SIZE, SIZE)).shape == (2, 64)
    assert encoder.patch_embed.img_size == (SIZE, SIZE)


def test_comes_back_from_its_file(tmp_path: Path) -> None:
    encoder = build_encoder(RESNET, channels=3, size=SIZE).eval()
    preparation = Preparation(SIZE, 3, (0.5,) * 3, (0.25,) * 3)
    save_encoder(encoder, tmp_path / "e.safetensors", recipe=RESNET, preparation=preparation)
    loaded, _ = load_encoder(tmp_path / "e.safetensors")
    images = torch.rand(2, 3, SIZE, SIZE)
    assert torch.equal(loaded(images), encoder(images))


@pytest.mark.parametrize(
    ("name", "dimension", "size", "message"),
    [
        ("test_resnet", 128, SIZE, r"test_resnet has 96, found 128; give encoder.dimension = 96"),
        ("test_resnett", 96, SIZE, r"no model 'test_resnett'; did you mean timm:test_"),
        ("test_vit", 64, 30, r"views.size: timm's test_vit takes no images of 30 pixels"),
    ],
)
def test_refusals_name_what_to_give(name: str, dimension: int, size: int, message: str) -> None:
    recipe = Encoder(backbone=f"timm:{name}", dimension=dimension)
    with pytest.raises(InputError, match=message) as caught:
        build_encoder(recipe, channels=3, size=size)
    assert "\n" not in str(caught.value)


def test_without_timm_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"pip install 'vicinal\[timm\]'"):
        build_encoder(RESNET, channels=3, size=SIZE)
