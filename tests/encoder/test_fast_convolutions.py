"""A fast convolution is the convolution: nn.functional's own in float64 is the judge."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from vicinal.encoder import resnet18
from vicinal.encoder.layers import FastConv2d, use_fast_convolutions


@pytest.fixture(params=[False, True], ids=["avx", "amx"])
def amx(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr("vicinal.encoder.layers._has_amx", lambda: request.param)
    return bool(request.param)


def convolution(channels: int, maps: int, stride: int = 1) -> FastConv2d:
    return FastConv2d(channels, maps, 3, stride=stride, padding=1, bias=False)


def passed_through(
    layer: nn.Conv2d, images: Tensor, ahead: Tensor, dtype: torch.dtype
) -> tuple[Tensor, ...]:
    """The output, and the gradients of the images and of the weights."""
    images = images.detach().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
        output = layer(images)
    assert output.dtype == dtype
    return output, *torch.autograd.grad(output, (images, layer.weight), ahead.to(output.dtype))


def expected(layer: nn.Conv2d, images: Tensor, ahead: Tensor) -> tuple[Tensor, ...]:
    images = images.detach().double().requires_grad_()
    output = F.conv2d(images, layer.weight.double(), stride=layer.stride, padding=1)
    return output, *torch.autograd.grad(output, (images, layer.weight), ahead.double())


@pytest.mark.parametrize(("height", "width"), [(4, 4), (15, 15), (3, 8), (9, 6), (2, 2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_outputs_and_gradients_are_the_convolutions(
    height: int, width: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    layer = convolution(129, 131)
    images = torch.randn(3, 129, height, width).to(memory_format=layout)
    ahead = torch.randn(3, 131, height, width)
    found = passed_through(layer, images, ahead, torch.float32)
    for ours, theirs in zip(found, expected(layer, images, ahead), strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


@pytest.mark.parametrize(
    ("height", "width", "stride"),
    [(4, 4, 1), (8, 8, 1), (15, 15, 1), (2, 8, 1), (1, 1, 1), (8, 8, 2), (7, 5, 2), (1, 6, 2)],
)
def test_in_bf16_outputs_and_gradients_are_within_its_rounding(
    height: int, width: int, stride: int, amx: bool
) -> None:
    torch.manual_seed(0)
    layer = convolution(128, 256, stride)
    images = torch.randn(2, 128, height, width).relu().to(memory_format=torch.channels_last)
    ahead = torch.randn(2, 256, -(-height // stride), -(-width // stride))
    found = passed_through(layer, images, ahead, torch.bfloat16)
    assert [one.dtype for one in found[1:]] == [torch.float32] * 2
    for ours, theirs in zip(found, expected(layer, images, ahead), strict=True):
        assert (ours - theirs).norm() <= (0.006 if amx else 0.025) * theirs.norm()


def test_every_3x3_layer_without_bias_changes_and_no_weight_does() -> None:
    network = resnet18(3, 12, (64, 128, 256, 512), 8)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    drawn = torch.get_rng_state()
    use_fast_convolutions(network)
    assert torch.equal(drawn, torch.get_rng_state())
    changed = {name for name, part in network.named_modules() if type(part) is FastConv2d}
    kind = {
        name
        for name, part in network.named_modules()
        if isinstance(part, nn.Conv2d) and (part.kernel_size, part.padding) == ((3, 3), (1, 1))
    }
    assert changed == kind
    assert len(changed) == 16
    assert all(torch.equal(before[name], v) for name, v in network.state_dict().items())


@pytest.mark.parametrize(
    ("channels", "maps", "side", "stride", "of_avx", "of_amx"),
    [
        (8, 8, 8, 1, "Convolution", "Convolution"),
        (128, 128, 8, 1, "_Winograd", "Convolution"),
        (128, 256, 4, 1, "_Winograd", "_OneProduct"),
        (128, 256, 2, 1, "Convolution", "_OneProduct"),
        (128, 256, 8, 2, "Convolution", "_OneProduct"),
        (128, 256, 10, 2, "Convolution", "Convolution"),
        (64, 128, 4, 1, "Convolution", "Convolution"),
    ],
)
def test_each_layer_takes_the_way_that_is_fastest(
    channels: int, maps: int, side: int, stride: int, of_avx: str, of_amx: str, amx: bool
) -> None:
    layer = convolution(channels, maps, stride)
    images = torch.randn(2, channels, side, side)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made_by = layer(images).grad_fn
    assert made_by.name().partition("Backward")[0] == (of_amx if amx else of_avx)
    in_float32 = layer(images).grad_fn.name().partition("Backward")[0]
    assert in_float32 == of_avx  # there AMX has no part


def test_without_gradients_it_is_the_plain_layer(amx: bool) -> None:
    torch.manual_seed(0)
    layer = convolution(128, 256)
    plain = nn.Conv2d(128, 256, 3, padding=1, bias=False)
    plain.load_state_dict(layer.state_dict())
    images = torch.randn(2, 128, 4, 4)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(images), plain(images))
