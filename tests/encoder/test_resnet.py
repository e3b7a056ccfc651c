import pytest
import torch
from torchvision import models

from vicinal.encoder import resnet18, resnet18_pooled
from vicinal.errors import InputError

WIDTHS = (64, 128, 256, 512)


@pytest.mark.parametrize("channels", [1, 3])
def test_parameters_add_up(channels: int) -> None:
    count = channels * 64 * 9 + 2 * 64  # stem and its BatchNorm
    before = 64
    for width in WIDTHS:
        count += 9 * before * width + 3 * 9 * width * width + 4 * 2 * width  # two blocks
        if width != before:
            count += before * width + 2 * width  # 1×1 shortcut
        before = width
    count += 512 * 512 + 512 + 2 * 512 + 512 * 128 + 128  # head
    network = resnet18(channels, 32, WIDTHS, 128)
    assert sum(p.numel() for p in network.parameters()) == count


def test_the_body_is_torchvisions() -> None:
    ours = resnet18(3, 32, WIDTHS, 128)
    theirs = models.resnet18(weights=None)
    body = {k: v for k, v in theirs.state_dict().items() if k.startswith("layer")}
    missing, unexpected = ours.load_state_dict(body, strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} == {"conv1", "bn1", "fc"}
    x = torch.randn(2, 64, 30, 30)
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        y, x = getattr(theirs.eval(), layer)(x), getattr(ours.eval(), layer)(x)
        assert torch.equal(x, y)


def test_the_stem_neither_pads_nor_pools() -> None:
    network = resnet18(3, 32, WIDTHS, 128)
    shapes = []
    network.layer1.register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape))
    network.layer4.register_forward_hook(lambda _m, _a, output: shapes.append(output.shape))
    network(torch.randn(2, 3, 32, 32))
    assert shapes == [(2, 64, 30, 30), (2, 512, 4, 4)]


def test_the_head_is_the_studys() -> None:
    head = resnet18(3, 32, WIDTHS, 128).fc
    assert [type(layer).__name__ for layer in head] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert head[0].weight.shape == (512, 512)
    assert head[3].weight.shape == (128, 512)


def test_other_widths_are_refused() -> None:
    with pytest.raises(InputError, match=r"encoder\.widths.*\[64, 128, 256, 512\].*\[32, 64\]"):
        resnet18(3, 32, (32, 64), 128)


def test_images_too_small_to_halve_are_refused() -> None:
    with pytest.raises(InputError, match="at least 10 pixels, found 9"):
        resnet18(3, 9, WIDTHS, 128)
    assert resnet18(3, 10, WIDTHS, 4).eval()(torch.randn(1, 3, 10, 10)).shape == (1, 4)


def test_the_pooled_one_keeps_the_maps_size_and_has_no_head() -> None:
    network = resnet18_pooled(3, 32, WIDTHS, 512).eval()
    maps = []
    network.layer1.register_forward_pre_hook(lambda _, args: maps.append(args[0]))
    network.layer4.register_forward_hook(lambda _m, _a, output: maps.append(output))
    representation = network(torch.randn(2, 3, 32, 32))
    assert [tuple(m.shape) for m in maps] == [(2, 64, 32, 32), (2, 512, 4, 4)]
    torch.testing.assert_close(representation, maps[1].mean(dim=(2, 3)))


def test_the_pooled_one_has_512_dimensions() -> None:
    with pytest.raises(InputError, match=r"encoder\.dimension.*has 512, found 128"):
        resnet18_pooled(3, 32, WIDTHS, 128)
