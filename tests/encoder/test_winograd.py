"""Winograd's convolution is the convolution: nn.functional's own in float64 is the judge."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from vicinal.encoder import resnet18
from vicinal.encoder.layers import WinogradConv2d, use_winograd


@pytest.mark.parametrize(("height", "width"), [(4, 4), (15, 15), (3, 8), (9, 6), (2, 2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_outputs_and_gradients_are_the_convolutions(
    height: int, width: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    layer = WinogradConv2d(5, 7, 3, padding=1, bias=False)
    images = torch.randn(3, 5, height, width).to(memory_format=layout).requires_grad_()
    ahead = torch.randn(3, 7, height, width)
    found = layer(images)
    found_gradients = torch.autograd.grad(found, (images, layer.weight), ahead)
    expected = F.conv2d(images.double(), layer.weight.double(), padding=1)
    gradients = torch.autograd.grad(expected, (images, layer.weight), ahead.double())
    for ours, theirs in zip((found, *found_gradients), (expected, *gradients), strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def test_only_wide_3x3_layers_of_stride_1_change_and_no_weight_does() -> None:
    network = resnet18(3, 12, (64, 128, 256, 512), 8)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    drawn = torch.get_rng_state()
    use_winograd(network)
    assert torch.equal(drawn, torch.get_rng_state())
    changed = [name for name, part in network.named_modules() if type(part) is WinogradConv2d]
    assert len(changed) == 9
    assert all(int(name[5]) >= 2 and name[7:] != "0.conv1" for name in changed)
    assert all(torch.equal(before[name], v) for name, v in network.state_dict().items())


@pytest.mark.parametrize("side", [4, 8, 15])
def test_in_bf16_outputs_and_gradients_are_within_its_rounding(side: int) -> None:
    torch.manual_seed(0)
    layer = WinogradConv2d(128, 128, 3, padding=1, bias=False)
    images = torch.randn(2, 128, side, side).relu().requires_grad_()
    ahead = torch.randn(2, 128, side, side)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(images)
    assert found.dtype == torch.bfloat16
    found_gradients = torch.autograd.grad(found, (images, layer.weight), ahead.bfloat16())
    assert all(one.dtype == torch.float32 for one in found_gradients)
    expected = F.conv2d(images.double(), layer.weight.double(), padding=1)
    gradients = torch.autograd.grad(expected, (images, layer.weight), ahead.double())
    for ours, theirs in zip((found, *found_gradients), (expected, *gradients), strict=True):
        assert (ours - theirs).norm() <= 0.025 * theirs.norm()


@pytest.mark.parametrize("amx", [False, True])
def test_in_bf16_a_processor_with_amx_takes_larger_maps_directly(
    amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vicinal.encoder.layers._has_amx", lambda: amx)
    torch.manual_seed(0)
    layer = WinogradConv2d(8, 8, 3, padding=1, bias=False)
    plain = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    plain.load_state_dict(layer.state_dict())
    for side, direct in ((4, False), (8, amx)):
        images = torch.randn(2, 8, side, side)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(layer(images), plain(images)) == direct
        assert not torch.equal(layer(images), plain(images))  # in float32 AMX has no part


def test_without_gradients_and_on_small_maps_it_is_the_plain_layer() -> None:
    torch.manual_seed(0)
    layer = WinogradConv2d(4, 4, 3, padding=1, bias=False)
    plain = nn.Conv2d(4, 4, 3, padding=1, bias=False)
    plain.load_state_dict(layer.state_dict())
    images, small = torch.randn(2, 4, 6, 6), torch.randn(2, 4, 2, 2)
    with torch.no_grad():
        assert torch.equal(layer(images), plain(images))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(small), plain(small))
