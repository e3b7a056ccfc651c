"""3×3 convolutions with a fourth of the multiplications, for training in float32 on a CPU.

Winograd's F(4×4, 3×3) (Lavin and Gray, CVPR 2016, arXiv 1509.09308): 4×4 outputs come from
6×6 inputs, Y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A, and the products ⊙ over all channels are 36 matrix
products. Exact in exact arithmetic; in float32 the relative error is about 3e-6, where
oneDNN's direct convolution has 1e-6. oneDNN has no Winograd of its own for AVX2 and AVX-512.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

LEAST_CHANNELS = 128
"""With fewer the transforms take as long as the multiplications that they spare."""

# Lavin and Gray's matrices, as they act on whole tiles: (6×6, 6×6), (6×6, 3×3) and (4×4, 6×6).
_B = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
).double()
_G = torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24.0
_A = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
).double()
INPUT, WEIGHT, OUTPUT = (torch.kron(m, m).float() for m in (_B, _G.double(), _A))


class WinogradConv2d(nn.Conv2d):
    """A 3×3 convolution of stride 1 and padding 1 without bias that trains by Winograd on CPUs."""

    def forward(self, input: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, K, H, W); outside of float32 training as nn.Conv2d does."""
        plain = input.device.type == "cpu" and input.dtype == torch.float32
        plain = plain and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
        height, width = input.shape[2:]
        # Maps of 2×2 and less fill so little of a tile that nothing is spared.
        if plain and 6 * -(-height // 4) * -(-width // 4) <= height * width:
            output: Tensor = _Winograd.apply(input, self.weight)
            return output
        return super().forward(input)


def use_winograd(network: nn.Module) -> None:
    """Turns a network's convolutions that gain by it into `WinogradConv2d`, weights untouched."""
    for layer in network.modules():
        if type(layer) is nn.Conv2d and _gains(layer):
            # Not a new module: that would draw weights and change the run's random numbers.
            layer.__class__ = WinogradConv2d


def _gains(layer: nn.Conv2d) -> bool:
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
    return (
        shape == ((3, 3), (1, 1), (1, 1), (1, 1), 1)
        and layer.padding_mode == "zeros"
        and layer.bias is None
        and min(layer.in_channels, layer.out_channels) >= LEAST_CHANNELS
    )


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        batch, channels, height, width = images.shape
        down, across = -(-height // 4), -(-width // 4)
        padded = F.pad(
            images.permute(0, 2, 3, 1),
            (0, 0, 1, 4 * across + 1 - width, 1, 4 * down + 1 - height),
        ).contiguous()
        a, b, c, d = padded.stride()
        overlapping = padded.as_strided(
            (6, 6, batch, down, across, channels), (b, c, a, 4 * b, 4 * c, d)
        )
        tiles = (INPUT @ overlapping.reshape(36, -1)).view(36, -1, channels)
        kernels = WEIGHT @ weight.permute(2, 3, 1, 0).reshape(9, -1)
        kernels = kernels.view(36, channels, len(weight))
        ctx.save_for_backward(tiles, kernels)
        ctx.size = (height, width)
        output = OUTPUT @ torch.bmm(tiles, kernels).view(36, -1)
        output = output.view(4, 4, batch, down, across, -1).permute(2, 3, 0, 4, 1, 5)
        output = output.reshape(batch, 4 * down, 4 * across, -1)[:, :height, :width]
        return output.contiguous().permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        tiles, kernels = ctx.saved_tensors
        _, channels, maps = kernels.shape
        height, width = ctx.size
        down, across = -(-height // 4), -(-width // 4)
        padded = F.pad(
            gradients[0].permute(0, 2, 3, 1), (0, 0, 0, 4 * across - width, 0, 4 * down - height)
        )
        blocks = padded.reshape(-1, down, 4, across, 4, maps).permute(2, 4, 0, 1, 3, 5)
        products = (OUTPUT.T @ blocks.reshape(16, -1)).view(36, -1, maps)
        of_kernels = torch.bmm(tiles.transpose(1, 2), products)
        of_weight = (WEIGHT.T @ of_kernels.view(36, -1)).view(3, 3, channels, maps)
        of_tiles = INPUT.T @ torch.bmm(products, kernels.transpose(1, 2)).view(36, -1)
        of_images = _overlapped(of_tiles.view(6, 6, -1, down, across, channels))
        of_images = of_images[:, 1 : height + 1, 1 : width + 1]
        return of_images.contiguous().permute(0, 3, 1, 2), of_weight.permute(3, 2, 0, 1)


def _overlapped(tiles: Tensor) -> Tensor:
    """Adds tiles (6, 6, B, T, U, C) that overlap by 2 to one map (B, 4T + 4, 4U + 4, C)."""
    _, _, batch, down, across, channels = tiles.shape
    total = tiles.new_zeros((batch, down + 1, 4, across + 1, 4, channels))
    blocks = total.permute(2, 4, 0, 1, 3, 5)
    blocks[:, :, :, :down, :across] = tiles[:4, :4]
    blocks[:2, :, :, 1:, :across] += tiles[4:, :4]
    blocks[:, :2, :, :down, 1:] += tiles[:4, 4:]
    blocks[:2, :2, :, 1:, 1:] += tiles[4:, 4:]
    return total.view(batch, 4 * down + 4, 4 * across + 4, channels)
