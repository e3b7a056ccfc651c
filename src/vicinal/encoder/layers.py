"""Networks with the same weights, computed otherwise.

Convolutions by Winograd's method or as one matrix product, BatchNorm of all ranks, and the mean of
an image and its mirror image.

Winograd's F(4×4, 3×3) (Lavin and Gray, CVPR 2016, arXiv 1509.09308): 4×4 outputs come from
6×6 inputs, Y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A, and the products ⊙ over all channels are 36 matrix
products. Exact in exact arithmetic; oneDNN has no Winograd of its own for AVX2 and AVX-512.

Rounding grows with the points that the polynomials are read at. At 0, ±3/4, ±3/2 and ∞ it is
half of what it is at the customary 0, ±1, ±2 and ∞ (Barabasz et al., ACM TOMS 2020, arXiv
1803.10986, choose points so). An output's relative error is about 1e-6 in float32, where
oneDNN's direct convolution has 6e-7, and 1.5 % in bfloat16, where it has 0.3 %.

Where the processor multiplies tiles of bfloat16 (Intel's AMX), products are so fast that Winograd's
transforms cost more than they spare. There oneDNN's own convolutions are slow on small maps alone,
whose backward pass takes up to seven times as long as the matrix product of the 3×3 patches and the
weights, rounded as oneDNN rounds (`benchmarks/convolutions.py`).

torch's own SyncBatchNorm refuses CPUs, so there its arithmetic is done here: float32 means and
variances of each rank's images joined as Chan, Golub and LeVeque (1979) join them, and the two
sums of the gradient added up over the ranks.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from vicinal import distributed

LEAST_CHANNELS = 128
"""With fewer in or out Winograd's transforms take as long as the products that they spare."""
LARGEST_MAP = 16
"""Positions of the largest map of outputs that gains by one matrix product with AMX."""
LEAST_WEIGHTS = 128 * 256
"""Channels in times channels out from which on it gains."""

_POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)


def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Bᵀ, G and Aᵀ as they act on whole tiles: (36, 36), (36, 9) and (16, 36) float32."""
    input, weight, output = np.zeros((6, 6)), np.zeros((6, 3)), np.zeros((4, 6))
    for i, point in enumerate(_POINTS):
        others = [p for p in _POINTS if p != point]
        input[i, :5] = np.poly(others)[::-1]
        weight[i] = point ** np.arange(3) / np.prod([point - other for other in others])
        output[:, i] = point ** np.arange(4)
    input[5] = np.poly(_POINTS)[::-1]  # the point at infinity
    weight[5, 2] = output[3, 5] = 1
    # Powers of two, which round nothing, so that all of a tile's numbers are of about one size.
    scale = 2 ** np.round(np.log2(np.linalg.norm(input, axis=1, keepdims=True)))
    whole = (np.kron(m, m) for m in (input / scale, weight * scale, output))
    of_input, of_weight, of_output = (torch.from_numpy(m).float() for m in whole)
    return of_input, of_weight, of_output


INPUT, WEIGHT, OUTPUT = _transforms()


class FastConv2d(nn.Conv2d):
    """A 3×3 convolution of padding 1 without bias, in a training on CPUs by the fastest method."""

    def forward(self, input: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, K, ⌈H / stride⌉, ⌈W / stride⌉)."""
        mixed = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if mixed else input.dtype
        if input.device.type == "cpu" and torch.is_grad_enabled():
            method = self._method(dtype, *input.shape[2:])
            if method is not None:
                with torch.autocast("cpu", enabled=False):
                    output: Tensor = method.apply(input.to(dtype), self.weight, self.stride[0])
                return output
        return super().forward(input)

    def _method(
        self, dtype: torch.dtype, height: int, width: int
    ) -> type[_Winograd | _OneProduct] | None:
        """What is faster than oneDNN in a number type on maps of a size, if anything is."""
        if dtype is torch.bfloat16 and _has_amx():
            positions = -(-height // self.stride[0]) * -(-width // self.stride[0])
            weights = self.in_channels * self.out_channels
            return _OneProduct if positions <= LARGEST_MAP and weights >= LEAST_WEIGHTS else None
        # Maps of 2×2 and less fill so little of a tile that nothing is spared.
        filled = 6 * -(-height // 4) * -(-width // 4) <= height * width
        wide = min(self.in_channels, self.out_channels) >= LEAST_CHANNELS
        known = dtype in (torch.float32, torch.bfloat16)
        return _Winograd if self.stride[0] == 1 and filled and wide and known else None


@cache
def _has_amx() -> bool:
    """Whether the processor multiplies tiles of bfloat16 (Intel's AMX)."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def use_fast_convolutions(network: nn.Module) -> None:
    """Turns a network's convolutions of 3×3 into `FastConv2d`, their weights untouched."""
    for layer in network.modules():
        if type(layer) is nn.Conv2d and _may_gain(layer):
            # Not a new module: that would draw weights and change the run's random numbers.
            layer.__class__ = FastConv2d


def _may_gain(layer: nn.Conv2d) -> bool:
    return (
        (layer.kernel_size, layer.padding, layer.dilation, layer.groups)
        == ((3, 3), (1, 1), (1, 1), 1)
        and layer.stride in ((1, 1), (2, 2))
        and layer.padding_mode == "zeros"
        and layer.bias is None
    )


class _OneProduct(torch.autograd.Function):
    """A convolution of stride 1 or 2 as the product of all patches (B·H·W, 9C) and the weights."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int) -> Tensor:
        patches, (batch, height, width) = _patches(images, stride)
        weight = weight.to(images.dtype)
        ctx.save_for_backward(patches, weight)
        ctx.shape, ctx.stride = images.shape, stride
        output = patches @ weight.permute(2, 3, 1, 0).reshape(-1, len(weight))
        return output.view(batch, height, width, -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        patches, weight = ctx.saved_tensors
        (gradient,), (batch, channels, height, width) = gradients, ctx.shape
        maps = len(weight)
        rows = gradient.permute(0, 2, 3, 1).reshape(-1, maps)
        # Laid out anew first: oneDNN's product of a transposed matrix takes twice as long.
        of_weight = (rows.T.contiguous() @ patches).view(maps, 3, 3, channels).permute(0, 3, 1, 2)
        if ctx.stride == 1:  # the convolution of the gradient with the weights turned around
            turned = weight.flip(2, 3).permute(2, 3, 0, 1).reshape(-1, channels)
            of_images = (_patches(gradient, 1)[0] @ turned).view(batch, height, width, channels)
        else:
            of_patches = rows @ weight.permute(0, 2, 3, 1).reshape(maps, -1)
            of_images = _added(of_patches.view(batch, *gradient.shape[2:], 3, 3, channels))
            of_images = of_images[:, 1 : height + 1, 1 : width + 1]
        return of_images.permute(0, 3, 1, 2), of_weight.float(), None


def _patches(images: Tensor, stride: int) -> tuple[Tensor, tuple[int, int, int]]:
    """The 3×3 patch about every position as a row (B·H·W, 9C), and B, H and W of the positions."""
    batch, channels, height, width = images.shape
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
    positions = batch, -(-height // stride), -(-width // stride)
    a, b, c, d = padded.stride()
    patches = padded.as_strided((*positions, 3, 3, channels), (a, b * stride, c * stride, b, c, d))
    return patches.reshape(-1, 9 * channels), positions


def _added(patches: Tensor) -> Tensor:
    """Adds patches (B, H, W, 3, 3, C) two positions apart to maps (B, 2H + 2, 2W + 2, C)."""
    batch, height, width, _, _, channels = patches.shape
    total = patches.new_zeros((batch, height + 1, 2, width + 1, 2, channels))
    for i in range(3):
        for j in range(3):
            down, across = slice(i // 2, i // 2 + height), slice(j // 2, j // 2 + width)
            total[:, down, i % 2, across, j % 2] += patches[:, :, :, i, j]
    return total.view(batch, 2 * height + 2, 2 * width + 2, channels)


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int) -> Tensor:
        batch, channels, height, width = images.shape
        down, across = -(-height // 4), -(-width // 4)
        padded = F.pad(
            images.permute(0, 2, 3, 1), (0, 0, 1, 4 * across + 1 - width, 1, 4 * down + 1 - height)
        ).contiguous()
        a, b, c, d = padded.stride()
        overlapping = padded.as_strided(
            (6, 6, batch, down, across, channels), (b, c, a, 4 * b, 4 * c, d)
        )
        of_input, of_weight, of_output = (m.to(images.dtype) for m in (INPUT, WEIGHT, OUTPUT))
        tiles = (of_input @ overlapping.reshape(36, -1)).view(36, -1, channels)
        kernels = of_weight @ weight.to(images.dtype).permute(2, 3, 1, 0).reshape(9, -1)
        kernels = kernels.view(36, channels, len(weight))
        ctx.save_for_backward(tiles, kernels)
        ctx.size = (height, width)
        output = of_output @ torch.bmm(tiles, kernels).view(36, -1)
        output = output.view(4, 4, batch, down, across, -1).permute(2, 3, 0, 4, 1, 5)
        output = output.reshape(batch, 4 * down, 4 * across, -1)[:, :height, :width]
        return output.contiguous().permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        tiles, kernels = ctx.saved_tensors
        _, channels, maps = kernels.shape
        height, width = ctx.size
        down, across = -(-height // 4), -(-width // 4)
        padded = F.pad(
            gradients[0].permute(0, 2, 3, 1), (0, 0, 0, 4 * across - width, 0, 4 * down - height)
        )
        blocks = padded.reshape(-1, down, 4, across, 4, maps).permute(2, 4, 0, 1, 3, 5)
        of_input, of_output = INPUT.to(tiles.dtype), OUTPUT.to(tiles.dtype)
        products = (of_output.T @ blocks.reshape(16, -1)).view(36, -1, maps)
        of_kernels = torch.bmm(tiles.transpose(1, 2), products)
        of_weight = (WEIGHT.T @ of_kernels.view(36, -1).float()).view(3, 3, channels, maps)
        of_tiles = of_input.T @ torch.bmm(products, kernels.transpose(1, 2)).view(36, -1)
        of_images = _overlapped(of_tiles.view(6, 6, -1, down, across, channels))
        of_images = of_images[:, 1 : height + 1, 1 : width + 1]
        return of_images.contiguous().permute(0, 3, 1, 2), of_weight.permute(3, 2, 0, 1), None


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


class FlipAveraged(nn.Module):
    """What a network says of an image and of its mirror image, in the mean: (B, C, S, S) to (B, F).

    float32, whatever the network computes in.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """The representation, see the class."""
        mean: Tensor = (self.network(images).float() + self.network(images.flip(3)).float()) / 2
        return mean


def synchronise(network: nn.Module, device: torch.device) -> None:
    """Makes every BatchNorm layer use the statistics of all ranks' images."""
    if distributed.world_size() == 1:
        return
    for layer in network.modules():
        if type(layer) not in (nn.BatchNorm1d, nn.BatchNorm2d):
            continue
        # Not a new module, as in `vicinal.encoder.layers`.
        if device.type == "cpu":
            layer.__class__ = CpuSyncBatchNorm
        else:
            layer.__class__ = nn.SyncBatchNorm
            setattr(layer, "process_group", None)  # noqa: B010 - which its constructor sets


class CpuSyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm of (B, C) or (B, C, H, W) over the images of all ranks, on CPUs."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises in training by all ranks' mean and variance, else by the running ones."""
        if not self.training:
            output: Tensor = super().forward(input)
            return output
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        output, mean, variance = _Normalised.apply(input, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        return output

    def _check_input_dim(self, input: Tensor) -> None:
        """Takes any (B, C, …): the layer it was has other checks for each number of dimensions."""


class _Normalised(torch.autograd.Function):
    """Batch normalisation, and the mean and the unbiased variance (C,) of all ranks."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        over = [d for d in range(images.ndim) if d != 1]
        variance, mean = torch.var_mean(images.float(), over, correction=0)
        count = mean.new_full((1,), images.numel() // images.shape[1])
        every = distributed.all_rows(
            torch.cat((count, mean, variance))[None], distributed.world_size()
        )
        counts, means, variances = torch.split(every, [1, len(mean), len(mean)], dim=1)
        shares = counts / counts.sum()
        mean = (shares * means).sum(dim=0)
        variance = (shares * (variances + (means - mean).square())).sum(dim=0)
        ctx.eps, ctx.count = eps, counts.sum()
        ctx.save_for_backward(images, weight, mean, variance)
        unbiased = variance * (ctx.count / (ctx.count - 1))
        ctx.mark_non_differentiable(mean, unbiased)
        return F.batch_norm(images, mean, variance, weight, bias, eps=eps), mean, unbiased

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_output: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        images, weight, mean, variance = ctx.saved_tensors
        # Of given statistics first; then what the images do through the statistics.
        direct, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            of_output, images, weight, mean, variance, None, None, False, ctx.eps, [True] * 3
        )
        by_weight, by_bias = distributed.total(torch.stack((of_weight, of_bias))) / ctx.count
        inverse = torch.rsqrt(variance + ctx.eps)
        slope = weight * inverse.square() * by_weight
        shape = (1, -1, *[1] * (images.ndim - 2))
        through = torch.addcmul(
            (weight * inverse * by_bias - slope * mean).view(shape), images, slope.view(shape)
        )
        return (direct - through).to(images.dtype), of_weight, of_bias, None
