import pytest
import torch

from vicinal.encoder import BACKBONES, build_encoder
from vicinal.recipes import recipe

RECIPES = {
    "resnet18": recipe.Encoder(),
    "resnet18_pooled": recipe.Encoder(backbone="resnet18_pooled", dimension=512),
    "small": recipe.Encoder(backbone="small", widths=(8, 16, 24), dimension=20),
    "plain": recipe.Encoder(backbone="plain", widths=(8, 16), dimension=96),
}


def test_a_recipe_can_name_each_backbone_and_no_other() -> None:
    for name in BACKBONES:
        assert recipe.Encoder(backbone=name).backbone == name
    with pytest.raises(ValueError, match="should be"):
        recipe.Encoder(backbone="resnet19")
    assert set(RECIPES) == set(BACKBONES)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_become_representations(name: str, channels: int) -> None:
    encoder = build_encoder(RECIPES[name], channels=channels, size=32)
    representations = encoder(torch.randn(2, channels, 32, 32))
    assert representations.shape == (2, RECIPES[name].dimension)
    assert representations.dtype == torch.float32


@pytest.mark.parametrize("name", BACKBONES)
def test_the_gradient_reaches_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(RECIPES[name], channels=3, size=12)
    encoder(torch.randn(6, 3, 12, 12)).square().sum().backward()
    for parameter_name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
    # A bias before a BatchNorm is the one thing that has no effect on the result.
    still = [n for n, p in encoder.named_parameters() if p.grad.abs().max() < 1e-5]
    assert len(still) <= 1
    assert all(n.endswith(".bias") for n in still)


@pytest.mark.parametrize("name", BACKBONES)
def test_evaluation_looks_at_each_image_alone(name: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(RECIPES[name], channels=3, size=12)
    images = torch.randn(6, 3, 12, 12)
    encoder(images)  # running statistics that are not the initial ones
    encoder.eval()
    with torch.inference_mode():
        together = encoder(images)
        assert torch.equal(together, encoder(images))
        torch.testing.assert_close(together[2:3], encoder(images[2:3]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_global_seed_decides_the_weights(name: str) -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(build_encoder(RECIPES[name], channels=1, size=16).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])
