"""Training-free features: responses to random whitened patches of the pictures themselves."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

_DRAWN = 20_000  # patches from which the whitening is found; filters are the first of them
_CONTRAST = 10 / 255**2  # added to a patch's variance: 10, where pixels go to 255
_WHITENING = 0.1  # added to the eigenvalues of the patches' covariance
_THRESHOLD = 0.25  # taken from a response before it is rectified
_AT_ONCE = 32  # pictures; the responses of more leave the cache
LEAST_SIDE = 4
"""Pixels a side below which a picture has no quarters of patches."""


class PatchFilters(nn.Module):
    """Pictures (B, C, H, W) float32 in [0, 1] to features (B, 8·n) float32, by n filters.

    Each patch x is brought to mean 0 and to variance 1 over its C·p·p numbers,
    (x − mean) / √(variance + 10/255²), and whitened; its response to a filter, less 0.25, is
    rectified, and so is the response to the negative filter. Features are the means over
    the picture's quarters: n filters, then their negatives, each with its four quarters
    (top left, top right, bottom left, bottom right).

    Args:
        filters: Array (n, C, p, p), what a normalised patch is multiplied by: a unit-length
            whitened patch times the whitening.
        offsets: Array (n,), taken from the response: that of the mean patch.
    """

    filters: Tensor
    offsets: Tensor

    def __init__(self, filters: NDArray[np.float64], offsets: NDArray[np.float64]) -> None:
        super().__init__()
        # A patch's mean is taken off by the filter: a filter without a mean does not see it.
        centred = filters - filters.mean(axis=(1, 2, 3), keepdims=True)
        self.register_buffer("filters", torch.tensor(centred, dtype=torch.float32))
        self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.float32))

    def forward(self, pictures: Tensor) -> Tensor:
        """The features, see the class."""
        side = self.filters.shape[-1]
        mean = functional.avg_pool2d(pictures.mean(1, keepdim=True), side, 1)
        square = functional.avg_pool2d((pictures * pictures).mean(1, keepdim=True), side, 1)
        scale = torch.rsqrt((square - mean * mean).clamp(min=0) + _CONTRAST)
        response = functional.conv2d(pictures, self.filters).mul_(scale)
        response.sub_(self.offsets[:, None, None] + _THRESHOLD)
        positive = functional.adaptive_avg_pool2d(response.relu(), 2)
        negative = response.add_(2 * _THRESHOLD).neg_().relu_()
        return torch.cat([positive, functional.adaptive_avg_pool2d(negative, 2)], 1).flatten(1)


def fit_patches(pixels: NDArray[np.uint8], count: int, rng: np.random.RandomState) -> PatchFilters:
    """Filters from random patches of the pictures, each contrast-normalised and ZCA-whitened.

    Coates, Ng, Lee, An Analysis of Single-Layer Networks in Unsupervised Feature Learning,
    AISTATS 2011, for normalising and ZCA-whitening 6×6 patches of 32×32 pictures and for the
    quarters; Coates, Ng, The Importance of Encoding Versus Training, ICML 2011, for random
    patches as filters and rectified responses of both signs; Thiry et al., The Unreasonable
    Effectiveness of Patches in Deep Convolutional Kernels Methods, ICLR 2021, who show how far
    whitened patches alone go. A patch's side is 6/32 of the picture's, 3 pixels at least.

    Args:
        pixels: Pictures (N, S, S, C) uint8, S ≥ 4.
        count: Filters n.
        rng: What patches are drawn by.
    """
    patches = _normalised(_drawn(pixels, patch_side(pixels.shape[1]), rng))
    mean = patches.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(patches.T, bias=True))
    whitening = (vectors / np.sqrt(np.maximum(values, 0) + _WHITENING)) @ vectors.T
    chosen = (patches[rng.randint(len(patches), size=count)] - mean) @ whitening
    lengths = np.linalg.norm(chosen, axis=1, keepdims=True)
    filters = chosen / np.maximum(lengths, 1e-12) @ whitening
    side, channels = patch_side(pixels.shape[1]), pixels.shape[3]
    return PatchFilters(filters.reshape(count, channels, side, side), filters @ mean)


@torch.inference_mode()
def patch_features(filters: PatchFilters, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The features (N, 8·n) float32 of pictures (N, S, S, C) uint8, on the CPU."""
    made = np.empty((len(pixels), 8 * len(filters.offsets)), np.float32)
    for start in range(0, len(pixels), _AT_ONCE):
        batch = torch.from_numpy(np.ascontiguousarray(pixels[start : start + _AT_ONCE]))
        made[start : start + _AT_ONCE] = filters(batch.movedim(3, 1).float().div_(255)).numpy()
    return made


def patch_side(side: int) -> int:
    """Pixels a side of the patches of pictures of so many pixels a side."""
    return max(3, round(side * 6 / 32))


def _drawn(pixels: NDArray[np.uint8], side: int, rng: np.random.RandomState) -> NDArray[np.float64]:
    """Random patches (n, C·p·p) of random pictures, in [0, 1]."""
    pictures = rng.randint(len(pixels), size=_DRAWN)
    corners = rng.randint(pixels.shape[1] - side + 1, size=(_DRAWN, 2))
    found = np.stack(
        [
            pixels[picture, top : top + side, left : left + side]
            for picture, (top, left) in zip(pictures, corners, strict=True)
        ]
    )
    return found.transpose(0, 3, 1, 2).reshape(_DRAWN, -1) / 255


def _normalised(patches: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = patches - patches.mean(axis=1, keepdims=True)
    scaled: NDArray[np.float64] = centred / np.sqrt(patches.var(axis=1, keepdims=True) + _CONTRAST)
    return scaled
