"""Odd places: what part of a picture is least like any part of the others.

A bank of places of other pictures and the distance to the nearest of it, as SPADE (Cohen and
Hoshen, arXiv 2005.02357, 2020) and PatchCore (Roth et al., Towards Total Recall in Industrial
Anomaly Detection, CVPR 2022) have it, with responses to patches of the pictures themselves instead
of a pretrained network's. It finds a small defect in a texture that a whole picture's
representation does not tell; where whole things are odd, that representation tells more.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from sklearn.decomposition import PCA
from torch.nn import functional

from vicinal.encoder.patches import PatchFilters, fit_patches, patch_side
from vicinal.progress import counted
from vicinal.representations.neighbours import full_float32

SIDE = 32
"""Pixels a side at which places are compared."""
MARKED = 100
"""Pictures, at most, that get a mark to see whether it is found."""
_FILTERS = 32
_CELL, _STRIDE = 5, 3  # of the response maps: 8 × 8 cells that overlap
_AXES = 32
_BANK = 60_000  # cells; with fewer, more defects are missed (docs/recipes.md)
_PAIRS = 2e10  # of cells that are compared, at most: about a minute of one core
_FARTHEST = 3  # cells whose mean distance is the score
_BLOCK = 256  # pictures at a time
_ROWS, _COLUMNS = 512, 2_000  # of a tile of distances between cells: 4 MB
_SEED = 0

Small = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class OddPlaces:
    """Pictures by their oddest places.

    Attributes:
        scores: Array (N,) float32, the mean distance of a picture's three farthest cells to the
            nearest cell of other pictures; higher is stranger.
        places: Array (N, 2) float32, the middle of the four farthest cells that overlap, x and y as
            shares of the sides of what the encoder sees, from the upper left: all of the picture,
            or by an encoder's file of before 2026-11-30 its middle square.
    """

    scores: NDArray[np.float32]
    places: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Places:
    """Cells of pictures, and how far those of other pictures are from them."""

    filters: PatchFilters
    axes: PCA
    bank: NDArray[np.float32]  # array (M, 32) float32

    def oddest(self, small: Small) -> OddPlaces:
        """The oddest places of pictures (N, 32, 32, C) uint8, none of which is in the bank."""
        scores, places = np.empty(len(small), np.float32), np.empty((len(small), 2), np.float32)
        with counted("odd places", len(small)) as count:
            for start in range(0, len(small), _BLOCK):
                rows = slice(start, start + _BLOCK)
                cells = _cells(self.filters, small[rows])
                flat = _along(self.axes, cells.reshape(-1, cells.shape[-1]))
                apart = _to_nearest(flat, self.bank).reshape(len(cells), -1)
                scores[rows] = np.sort(apart, axis=1)[:, -_FARTHEST:].mean(axis=1)
                places[rows] = _where(apart.reshape(cells.shape[:3]))
                count(len(cells))
        return OddPlaces(scores, places)


def fit_places(sample: Small, banks: Sequence[Small], count: int) -> list[Places]:
    """Cells of pictures, one set for each bank, with filters and axes made from a sample.

    Args:
        sample: Pictures (M, 32, 32, C) uint8; some thousands are enough.
        banks: Pictures (N, 32, 32, C) uint8 each, whose cells others are held against: all, or of
            many pictures some of each.
        count: How many pictures will be held against them; of very many, to fewer cells.
    """
    rng = np.random.RandomState(_SEED)
    filters = fit_patches(sample, _FILTERS, rng)
    cells = _cells(filters, sample)
    flat = cells.reshape(-1, cells.shape[-1])
    with np.errstate(invalid="ignore"):  # of blank pictures, which vary along no axis
        axes = PCA(min(_AXES, *flat.shape), random_state=_SEED).fit(flat)
    own = cells.shape[1] * cells.shape[2]
    wanted = min(_BANK, int(_PAIRS / (own * max(1, count))))
    made = []
    for bank in banks:
        each = min(own, -(-wanted // len(bank)))
        drawn, kept = copy.deepcopy(rng), []  # for every bank as if it were the only one
        for start in range(0, len(bank), _BLOCK):
            block = _cells(filters, bank[start : start + _BLOCK])
            block = block.reshape(len(block), -1, block.shape[-1])
            chosen = drawn.random_sample(block.shape[:2]).argsort(axis=1)[:, :each]
            some = np.take_along_axis(block, chosen[:, :, None], axis=1)
            kept.append(_along(axes, some.reshape(-1, block.shape[-1])))
        made.append(Places(filters, axes, np.concatenate(kept)))
    return made


def halves(count: int, group: NDArray[np.int32]) -> NDArray[np.bool_]:
    """One of two halves for each of N pictures; pictures nearly the same are in the same one.

    Args:
        count: N.
        group: Array (N,) int32, the duplicate group of each, −1 for none.
    """
    unit = np.where(group >= 0, group, group.max(initial=-1) + 1 + np.arange(count))
    order = np.random.default_rng(_SEED).permutation(unit.max(initial=-1) + 1)
    half: NDArray[np.bool_] = order[unit] % 2 == 1
    return half


def marked(pixels: NDArray[np.uint8], seed: int = _SEED) -> NDArray[np.uint8]:
    """Pictures (N, S, S, C) uint8, each with one small mark: a blot or a scratch.

    A mark is as wide as 6 to 12 % of the side, a scratch up to twice as long, in the darkest or the
    brightest colour of 1,000 pixels drawn from the pictures.
    """
    rng, side = np.random.default_rng(seed), pixels.shape[1]
    drawn = rng.integers([len(pixels), side, side], size=(1000, 3))
    colours = pixels[tuple(drawn.T)]
    light = colours.sum(axis=1, dtype=np.int64)
    inks = [tuple(colours[at].tolist()) for at in (light.argmin(), light.argmax())]
    made = np.empty_like(pixels)
    for row, picture in enumerate(pixels):
        shown = Image.fromarray(picture.squeeze())
        draw = ImageDraw.Draw(shown)
        x, y = rng.uniform(0.15, 0.85, 2) * side
        size = rng.uniform(0.03, 0.06) * side
        ink = inks[rng.integers(2)]
        if rng.random() < 1 / 3:
            far = rng.uniform(-4, 4, 2) * size
            width = max(1, round(side / 64))
            draw.line([(x, y), (x + far[0], y + far[1])], fill=ink, width=width)
        else:
            draw.ellipse([x - size, y - size, x + size, y + size], fill=ink)
        made[row] = np.asarray(shown).reshape(picture.shape)
    return made


@torch.inference_mode()
def _cells(filters: PatchFilters, small: Small) -> NDArray[np.float32]:
    """Square roots of the mean responses of each cell, (N, h, w, 2·n) float32."""
    pictures = torch.from_numpy(np.ascontiguousarray(small)).movedim(3, 1).float().div_(255)
    responses = filters.pooled(pictures, lambda maps: functional.avg_pool2d(maps, _CELL, _STRIDE))
    found: NDArray[np.float32] = responses.sqrt_().movedim(1, 3).contiguous().numpy()
    return found


def _along(axes: PCA, cells: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(axes.transform(cells).astype(np.float32))


@torch.inference_mode()
def _to_nearest(cells: NDArray[np.float32], bank: NDArray[np.float32]) -> NDArray[np.float32]:
    """The L2 distance of each cell (N, F) to the nearest of a bank (M, F).

    In float32 and without saying which one is the nearest, in tiles that stay in the cache: a
    third of the time that the exact search of neighbours takes. Cells that are the same may be
    some thousandths apart.
    """
    rows, columns = torch.from_numpy(cells), torch.from_numpy(bank).T.contiguous()
    half = columns.square().sum(dim=0).div_(2)
    best = torch.full((len(rows),), torch.inf)
    with full_float32():
        for top in range(0, len(rows), _ROWS):
            block, least = rows[top : top + _ROWS], best[top : top + _ROWS]
            for left in range(0, len(half), _COLUMNS):
                tile = slice(left, left + _COLUMNS)
                # ‖q − b‖² = ‖q‖² + 2 (‖b‖²/2 − q·b), of which ‖q‖² ranks nothing.
                apart = torch.addmm(half[tile], block, columns[:, tile], alpha=-1)
                torch.minimum(least, apart.amin(dim=1), out=least)
    squares = rows.square().sum(dim=1).add_(best, alpha=2).clamp_(min=0)
    found: NDArray[np.float32] = squares.sqrt_().numpy()
    return found


def _where(apart: NDArray[np.float32]) -> NDArray[np.float32]:
    """What four cells of (N, h, w) that overlap are the farthest: their middles (N, 2), x and y."""
    four = apart[:, :-1, :-1] + apart[:, :-1, 1:] + apart[:, 1:, :-1] + apart[:, 1:, 1:]
    down, across = np.unravel_index(four.reshape(len(four), -1).argmax(axis=1), four.shape[1:])
    corner = np.stack([across, down], axis=1) * _STRIDE
    # A cell sees as many pixels as responses and a patch less one.
    seen = _CELL + patch_side(SIDE) - 1
    return ((corner + (_STRIDE + seen) / 2) / SIDE).astype(np.float32)
