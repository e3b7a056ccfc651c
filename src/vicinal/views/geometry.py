"""Crop, flip, rotation and blur of whole batches, with parameters of its own for each image.

All but the rotation are one idea: a view's rows are weighted sums of the image's
rows, and its columns of the image's columns, so an operation is a pair of matrices
for each image and its application two batched matrix products.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor


def resized_crop(images: Tensor, box: Tensor, size: int, flip: Tensor | None = None) -> Tensor:
    """Crops a box from each image and resizes it, bilinear and antialiased.

    Agrees with ``torchvision.transforms.v2.functional.resized_crop(antialias=True)``,
    followed by ``horizontal_flip`` where ``flip`` says so.

    Shapes: images (B, C, H, W) float32; box (B, 4) int64; flip (B,) bool; the result (B, C, size,
    size) float32.
    """
    top, left, height, width = box.unbind(dim=1)
    rows = _resampling_matrix(top, height, images.shape[2], size)
    columns = _resampling_matrix(left, width, images.shape[3], size, flip)
    return _apply(rows, images, columns)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turns each image counter-clockwise about its centre, bilinear, zero outside.

    Agrees with ``torchvision.transforms.v2.functional.rotate`` on tensors.

    Shapes: images (B, C, H, W) float32; degrees (B,) float32; the result (B, C, H, W) float32.
    """
    height, width = images.shape[2:]
    angle = torch.deg2rad(degrees)
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    # affine_grid's coordinates run from -1 to 1 on both axes, whatever the shape.
    tilt = height / width
    inverse = torch.stack((cos, -sin * tilt, zero, sin / tilt, cos, zero), dim=1)
    grid = F.affine_grid(inverse.view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def blur(images: Tensor, sigma: Tensor, kernel: int) -> Tensor:
    """Blurs each image with a Gaussian kernel, mirrored at the edges.

    Agrees with ``torchvision.transforms.v2.functional.gaussian_blur``.

    Shapes: images (B, C, S, S) float32; sigma (B,) float32; the result (B, C, S, S) float32.
    """
    size = images.shape[3]
    offset = torch.arange(kernel, device=images.device) - kernel // 2
    weights = torch.softmax(-0.5 * (offset / sigma[:, None]).square(), dim=1)  # (B, kernel)
    pixel = torch.arange(size, device=images.device)
    source = (pixel + offset[:, None]).abs()
    source = (size - 1) - ((size - 1) - source).abs()  # mirrored at both edges, (kernel, S)
    taps = (source[:, :, None] == pixel).to(images.dtype)  # (kernel, S, S)
    band = (weights @ taps.view(kernel, -1)).view(-1, size, size)
    return _apply(band, images, band)


def _resampling_matrix(
    start: Tensor, length: Tensor, size_in: int, size_out: int, flip: Tensor | None = None
) -> Tensor:
    """Weights (B, size_out, size_in) that resize pixels ``start`` to ``start + length``."""
    start, length = start.view(-1, 1, 1).float(), length.view(-1, 1, 1).float()
    scale = length / size_out
    place = torch.arange(size_out, device=start.device, dtype=torch.float32).view(1, -1, 1)
    if flip is not None:
        place = torch.where(flip.view(-1, 1, 1), size_out - 1 - place, place)
    pixel = torch.arange(size_in, device=start.device, dtype=torch.float32) + 0.5
    inside = (pixel > start) & (pixel < start + length)  # (B, 1, size_in)
    width = scale.clamp(min=1)
    centre = (start + (place + 0.5) * scale) / width
    weights = (pixel / width - centre).abs_().neg_().add_(1).clamp_(min=0).mul_(inside)
    return weights.div_(weights.sum(dim=2, keepdim=True))


def _apply(rows: Tensor, images: Tensor, columns: Tensor) -> Tensor:
    """The views rows (B, S, H) @ images (B, C, H, W) @ columnsᵀ, for columns (B, S, W)."""
    batch, channels, height, width = images.shape
    size = rows.shape[1]
    wide = images.reshape(batch, channels * height, width) @ columns.transpose(1, 2)
    tall = rows[:, None].expand(-1, channels, -1, -1).reshape(-1, size, height)
    return (tall @ wide.view(-1, height, size)).view(batch, channels, size, size)
