import pytest
import torch

from vicinal.encoder import small
from vicinal.encoder.small import Block


def map_sizes(size: int, widths: tuple[int, ...]) -> list[int]:
    """Heights of the maps after each block."""
    network, sizes = small(1, size, widths, 8).eval(), []
    for layer in network:
        if isinstance(layer, Block):
            layer.register_forward_hook(lambda _m, _a, output: sizes.append(output.shape[2]))
    assert network(torch.randn(2, 1, size, size)).shape == (2, 8)
    return sizes


@pytest.mark.parametrize(
    ("size", "widths", "sizes"),
    [
        (32, (8, 8, 8, 8), [32, 16, 8, 4]),
        (8, (8, 16), [8, 4]),
        (8, (8, 16, 16, 16), [8, 4, 2, 2]),
        (28, (8, 8, 8, 8, 8), [28, 14, 7, 4, 2]),
        (4, (8, 8), [4, 2]),
        (3, (8, 8), [3, 3]),
    ],
)
def test_maps_are_halved_while_they_are_large_enough(
    size: int, widths: tuple[int, ...], sizes: list[int]
) -> None:
    assert map_sizes(size, widths) == sizes


def test_parameters_add_up() -> None:
    count = 3 * 16 * 9 + 2 * 16  # stem
    before = 16
    for width in (32, 64):
        count += 9 * before * width + 9 * width * width + 2 * 2 * width
        count += before * width + 2 * width  # 1×1 shortcut
        before = width
    count += 64 * 64 + 64 + 2 * 64 + 64 * 10 + 10  # head
    assert sum(p.numel() for p in small(3, 32, (32, 64), 10).parameters()) == count


def test_a_block_that_keeps_its_shape_adds_to_its_input() -> None:
    block = Block(6, 6, 1).eval()
    x = torch.randn(2, 6, 5, 5)
    torch.nn.init.zeros_(block.residual[4].weight)
    torch.testing.assert_close(block(x), x.relu())


def test_bfloat16_and_channels_last_agree_with_float32() -> None:
    torch.manual_seed(0)
    network = small(3, 16, (16, 32), 12).to(memory_format=torch.channels_last)
    images = torch.randn(32, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    exact = network(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = network(images)
    assert rounded.dtype == torch.bfloat16
    error = (rounded.float() - exact).square().mean().sqrt() / exact.std()
    assert error < 0.05
