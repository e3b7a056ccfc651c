import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from vicinal.views.colour import (
    BRIGHTNESS,
    CONTRAST,
    SATURATION,
    blend,
    blend_weights,
    grey_level,
    solarise,
    turn_hue,
)

ADJUST = {
    BRIGHTNESS: tv.adjust_brightness,
    CONTRAST: tv.adjust_contrast,
    SATURATION: tv.adjust_saturation,
}
FACTORS = torch.tensor([0.0, 0.2, 0.6, 1.0, 1.4, 1.8, 3.0])


def images(batch: int, channels: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, channels, 8, 8, generator=generator)


def colours() -> torch.Tensor:
    """Every colour of a 9×9×9 lattice: greys, ties and each sector's edges, (1, 3, 27, 27)."""
    axis = torch.linspace(0, 1, 9)
    return torch.cartesian_prod(axis, axis, axis).T.reshape(1, 3, 27, 27)


@pytest.mark.parametrize("kind", ADJUST)
def test_each_blend_is_torchvisions(kind: int) -> None:
    x = images(len(FACTORS), 3)
    ours = blend(x.clone(), blend_weights(torch.full(FACTORS.shape, kind), FACTORS))
    for i, factor in enumerate(FACTORS.tolist()):
        torch.testing.assert_close(ours[i], ADJUST[kind](x[i], factor), atol=1e-6, rtol=0)


def test_different_blends_in_one_batch() -> None:
    kinds = torch.tensor([CONTRAST, BRIGHTNESS, SATURATION, BRIGHTNESS, CONTRAST])
    factors = torch.tensor([0.5, 0.5, 0.5, 1.5, 1.5])
    x = images(5, 3)
    ours = blend(x.clone(), blend_weights(kinds, factors))
    for i, kind in enumerate(kinds.tolist()):
        theirs = ADJUST[kind](x[i], float(factors[i]))
        torch.testing.assert_close(ours[i], theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", [BRIGHTNESS, CONTRAST])
def test_grey_images_blend_as_torchvisions(kind: int) -> None:
    x = images(len(FACTORS), 1)
    ours = blend(x.clone(), blend_weights(torch.full(FACTORS.shape, kind), FACTORS))
    for i, factor in enumerate(FACTORS.tolist()):
        torch.testing.assert_close(ours[i], ADJUST[kind](x[i], factor), atol=1e-6, rtol=0)


@pytest.mark.parametrize("turn", [-0.5, -0.3, -1 / 6, -0.1, 0.0, 0.05, 0.1, 1 / 3, 0.5])
def test_each_hue_is_torchvisions(turn: float) -> None:
    x = torch.cat((colours(), torch.rand(1, 3, 27, 27, generator=torch.manual_seed(0))))
    ours = turn_hue(x.clone(), torch.tensor([turn, -turn]))
    torch.testing.assert_close(ours[0], tv.adjust_hue(x[0], turn), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours[1], tv.adjust_hue(x[1], -turn), atol=1e-5, rtol=0)


def test_almost_grey_colours_stay_finite_and_near() -> None:
    noise = torch.rand(4, 3, 8, 8, generator=torch.manual_seed(0))
    for scale in (1e-6, 1e-12, 1e-20, 1e-38):
        x = 0.5 + scale * noise if scale > 1e-7 else scale * noise
        ours = turn_hue(x.clone(), torch.full((4,), 0.3))
        assert ours.isfinite().all()
        assert (ours - x).abs().max() <= 2 * scale


def test_grey_is_torchvisions() -> None:
    x = images(4, 3)
    theirs = tv.rgb_to_grayscale(x, num_output_channels=1)
    torch.testing.assert_close(grey_level(x), theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 128 / 255, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_solarisation_is_torchvisions(threshold: float, channels: int) -> None:
    x = images(4, channels)
    x[0] = threshold  # on the edge itself it inverts
    ours = solarise(x, threshold)
    assert torch.equal(ours, tv.solarize(x, threshold))
    assert not torch.equal(ours, x)
