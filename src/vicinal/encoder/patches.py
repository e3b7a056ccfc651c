"""Random whitened patches of pictures as filters: alone, beside a network, or its first layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vicinal.recipes.recipe import KEPT

_DRAWN = 20_000  # patches from which the whitening is found; filters are the first of them
_CONTRAST = 10 / 255**2  # added to a patch's variance: 10, where pixels go to 255
_WHITENING = 0.1  # added to the eigenvalues of the patches' covariance
_THRESHOLD = 0.25  # taken from a response before it is rectified
_AT_ONCE = 32  # pictures; the responses of more leave the cache
LEAST_SIDE = 4
"""Pixels a side below which a picture has no quarters of patches."""
_COARSE = 0.7  # what features of the picture at half its size count beside those of all of it


class PatchFilters(nn.Module):
    """Pictures (B, C, H, W) float32 in [0, 1] to features (B, 8·n) float32, by n filters.

    Each patch x is brought to mean 0 and to variance 1 over its C·p·p numbers,
    (x − mean) / √(variance + 10/255²), and whitened; its response to a filter, less 0.25, is
    rectified, and so is the response to the negative filter. Features are the means over
    the picture's quarters: n filters, then their negatives, each with its four quarters
    (top left, top right, bottom left, bottom right).
    """

    filters: Tensor
    offsets: Tensor

    def __init__(self, filters: Tensor, offsets: Tensor) -> None:
        super().__init__()
        # A patch's mean is taken off by the filter: a filter without a mean does not see it.
        centred = filters - filters.mean((1, 2, 3), keepdim=True)
        self.register_buffer("filters", centred.float())
        self.register_buffer("offsets", offsets.float())

    def forward(self, pictures: Tensor) -> Tensor:
        """The features, see the class."""
        quarters = functional.adaptive_avg_pool2d
        return self.pooled(pictures, lambda response: quarters(response, 2)).flatten(1)

    def pooled(self, pictures: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
        """Rectified responses of both signs (B, 2·n, …), pooled from (B, n, H − p + 1, W − p + 1).

        Of pictures (B, C, H, W) float32 in [0, 1].
        """
        side = self.filters.shape[-1]
        mean = functional.avg_pool2d(pictures.mean(1, keepdim=True), side, 1)
        square = functional.avg_pool2d((pictures * pictures).mean(1, keepdim=True), side, 1)
        scale = torch.rsqrt((square - mean * mean).clamp(min=0) + _CONTRAST)
        response = functional.conv2d(pictures, self.filters).mul_(scale)
        response.sub_(self.offsets[:, None, None] + _THRESHOLD)
        positive = pool(response.relu())
        negative = response.add_(2 * _THRESHOLD).neg_().relu_()
        return torch.cat([positive, pool(negative)], 1)


class WithPatches(nn.Module):
    """A trained network's numbers beside patch features: images (B, C, S, S) to (B, 2·k) float32.

    Of the patch features the square roots count, which lets no strong response outweigh many
    others. With ``coarse`` filters there are features of the picture at half its size too, times
    0.7. Numbers and features are means over the picture and its mirror image where ``mirrored``,
    the network's only where ``network_mirrored`` too. Of each block (numbers − centre) · axes is
    left, k numbers. How far a picture lies from the centre tells odd ones (by L2); neighbours are
    found by cosine. What does not differ from the centre is 0.

    An encoder of an earlier version has ``unit_blocks``: each block at unit length, of length √2
    together.
    """

    mean: Tensor
    std: Tensor
    centres: Tensor
    axes: Tensor

    def __init__(
        self,
        network: nn.Module,
        filters: PatchFilters,
        size: int,
        dimension: int,
        *,
        mirrored: bool,
        network_mirrored: bool = True,
        coarse: PatchFilters | None = None,
        unit_blocks: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.filters, self.coarse = network, filters, coarse
        self.mirrored, self.unit_blocks = mirrored, unit_blocks
        self.network_mirrored = mirrored and network_mirrored
        self.shrink, self.dimension = size // seen_side(size), dimension
        channels = filters.filters.shape[1]
        count = sum(len(some.offsets) for some in (filters, coarse) if some is not None)
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("std", torch.ones(channels, 1, 1))
        self.register_buffer("centres", torch.zeros(dimension + 8 * count))
        self.register_buffer("axes", torch.zeros(dimension + 8 * count, KEPT))

    def forward(self, images: Tensor) -> Tensor:
        """The representation, see the class."""
        blocks = self.blocks(images)
        rows = slice(0, self.dimension), slice(self.dimension, None)
        parts = [
            (block - self.centres[own]) @ self.axes[own]
            for block, own in zip(blocks, rows, strict=True)
        ]
        return torch.cat([functional.normalize(p) for p in parts] if self.unit_blocks else parts, 1)

    def blocks(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers (B, F) and (B, 8·n) float32, n filters, that are brought to their axes."""
        both = [images, images.flip(3)] if self.mirrored else [images]
        seen = both if self.network_mirrored else [images]
        own = torch.stack([self.network(image).float() for image in seen]).mean(0)
        if torch.is_autocast_enabled(images.device.type):  # a patch's variance needs float32
            with torch.autocast(images.device.type, enabled=False):
                return own, self._patches(both)
        return own, self._patches(both)

    def _patches(self, both: list[Tensor]) -> Tensor:
        pictures = [image.float() * self.std + self.mean for image in both]
        small = [functional.avg_pool2d(picture, self.shrink) for picture in pictures]
        fine = torch.stack([self.filters(picture) for picture in small]).mean(0).sqrt()
        if self.coarse is None:
            return fine
        halves = [self.coarse(functional.avg_pool2d(picture, 2)) for picture in small]
        return torch.cat([fine, _COARSE * torch.stack(halves).mean(0).sqrt()], 1)


def fit_patches(
    pixels: NDArray[np.uint8],
    count: int,
    rng: np.random.RandomState,
    side: int | None = None,
    *,
    blank: bool = True,
) -> PatchFilters:
    """Filters from random patches of the pictures, each contrast-normalised and ZCA-whitened.

    Coates, Ng, Lee, An Analysis of Single-Layer Networks in Unsupervised Feature Learning,
    AISTATS 2011, for normalising and ZCA-whitening 6×6 patches of 32×32 pictures and for the
    quarters; Coates, Ng, The Importance of Encoding Versus Training, ICML 2011, for random
    patches as filters and rectified responses of both signs; Thiry et al., The Unreasonable
    Effectiveness of Patches in Deep Convolutional Kernels Methods, ICLR 2021, who show how far
    whitened patches alone go. A patch's side is 6/32 of the picture's, 3 pixels at least, where
    none is given. Blank patches, which all give one filter, may be among them unless ``blank`` says
    otherwise; there are no filters then where all are.

    Shapes: pixels (N, S, S, C) uint8.
    """
    side = side or patch_side(pixels.shape[1])
    patches = _normalised(_drawn(pixels, side, rng))
    mean = patches.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(patches.T, bias=True))
    whitening = (vectors / np.sqrt(np.maximum(values, 0) + _WHITENING)) @ vectors.T
    if not blank:  # those that vary by more than the contrast that is added
        patches = patches[patches.var(axis=1) > 0.5]
        count = count if len(patches) else 0
    chosen = (patches[rng.randint(max(1, len(patches)), size=count)] - mean) @ whitening
    lengths = np.linalg.norm(chosen, axis=1, keepdims=True)
    filters = chosen / np.maximum(lengths, 1e-12) @ whitening
    shaped = torch.from_numpy(filters.reshape(count, pixels.shape[3], side, side))
    return PatchFilters(shaped, torch.from_numpy(filters @ mean))


def patch_stem(
    shape: torch.Size, pixels: NDArray[np.uint8], std: Sequence[float], rng: np.random.RandomState
) -> Tensor:
    """Weights of a first layer: filters as `fit_patches` makes them, none of a blank patch.

    The layer takes images whose channels were divided by ``std``, and each filter is as long as
    drawn ones are in the mean, 3^-½. Where all patches are blank there are none: (0, C, k, k).

    Shapes: shape (W, C, k, k); pixels (N, S, S, C) uint8, S ≥ k; the weights are float32.
    """
    filters = fit_patches(pixels, shape[0], rng, shape[-1], blank=False).filters
    filters = filters * torch.tensor(std).view(1, -1, 1, 1)
    return functional.normalize(filters.flatten(1)).view(-1, *shape[1:]) / 3**0.5


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


def seen_side(side: int) -> int:
    """Pixels a side, 32 to 63, at which patches see larger pictures, each a mean of squares."""
    return side // max(1, side // 32)


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
