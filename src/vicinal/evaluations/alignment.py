"""Lays one picture over another: sizes, scales, places and brightness, many pairs at a time.

Scale and place are found by least squares (Lucas & Kanade, IJCAI 1981). Pictures are arrays
(P, n, n) or (P, n, n, C) float32, places are counted in halves of a side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]  # float32 throughout
Flags = NDArray[np.bool_]

_FURTHEST = 0.1  # halves of a side, of one step
_SETTLED = 0.02  # half pixels, of a step after which no further one is taken


def resized(size: int, side: int) -> Floats:
    """Weights (side, size) of means over fields, or of interpolation to more."""
    at = np.arange(size)
    if size >= side:
        ends = np.linspace(0, size, side + 1)[:, None]
        weights = np.minimum(ends[1:], at + 1) - np.maximum(ends[:-1], at)
    else:
        place = np.clip((np.arange(side) + 0.5) * size / side - 0.5, 0, size - 1)
        weights = 1 - np.abs(place[:, None] - at)
    weights = np.maximum(weights, 0)
    found: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def registered(ours: Floats, theirs: Floats, places: Floats, steps: int) -> Floats:
    """Scales and places (P, 4), down and across, at which theirs (P, n, n) looks most like ours.

    At each step gain and offset are fitted first, then what is left over is explained by moves.
    """
    places, side = places.copy(), ours.shape[1]
    moving = np.arange(len(ours))
    for _ in range(steps):
        step = _step(ours[moving], theirs[moving], places[moving])
        places[moving] += np.clip(step, -_FURTHEST, _FURTHEST)
        np.clip(places[:, ::2], 0.7, 1 / 0.7, out=places[:, ::2])
        np.clip(places[:, 1::2], -0.45, 0.45, out=places[:, 1::2])
        moving = moving[np.abs(step).max(axis=1, initial=0) > _SETTLED / side]
    return places


def _step(ours: Floats, theirs: Floats, places: Floats) -> Floats:
    """What brings theirs (P, n, n) nearer to ours, as changes of scales and places, (P, 4)."""
    count, side, _ = ours.shape
    points = pixel_centres(side)
    down, down_slopes, in_rows = sampling(places[:, :1] * points + places[:, 1:2], side)
    across, across_slopes, in_columns = sampling(places[:, 2:3] * points + places[:, 3:], side)
    sideways = theirs @ across.transpose(0, 2, 1)
    # What the four moves change, the picture as it is laid, and an offset.
    terms = np.empty((count, 6, side, side), np.float32)
    np.matmul(down_slopes, sideways, out=terms[:, 1])
    np.matmul(down, theirs @ across_slopes.transpose(0, 2, 1), out=terms[:, 3])
    np.multiply(terms[:, 1], points[:, None], out=terms[:, 0])
    np.multiply(terms[:, 3], points, out=terms[:, 2])
    np.matmul(down, sideways, out=terms[:, 4])
    inside = in_rows[:, :, None] & in_columns[:, None, :]
    terms[:, 5] = 1
    terms *= inside[:, None]
    flat = terms.reshape(count, 6, side**2)
    seen = (ours * inside).reshape(count, side**2, 1)
    brightness = flat[:, 4:]
    square = brightness @ brightness.transpose(0, 2, 1)
    square += np.float32(1e-3) * np.eye(2, dtype=np.float32)
    gain = np.linalg.solve(square, brightness @ seen)
    # Taken away pixel by pixel: of white pages a product of sums would be rounding alone.
    left = seen - brightness.transpose(0, 2, 1) @ gain
    flat[:, :4] *= np.where(np.abs(gain[:, :1]) < 0.2, np.float32(0.2), gain[:, :1])
    square = flat @ flat.transpose(0, 2, 1)
    damped = square + (0.01 * square + np.float32(0.01)) * np.eye(6, dtype=np.float32)
    found: Floats = np.linalg.solve(damped, flat @ left)[:, :4, 0]
    return found


def moved(theirs: Floats, places: Floats) -> tuple[Floats, Flags]:
    """Pictures (P, n, n, C) at scales and places (P, 4), and which pixels (P, n, n) they reach."""
    points = pixel_centres(theirs.shape[1])
    down, _, in_rows = sampling(places[:, :1] * points + places[:, 1:2], len(points))
    across, _, in_columns = sampling(places[:, 2:3] * points + places[:, 3:], len(points))
    channels = np.moveaxis(theirs, 3, 1)
    laid = down[:, None] @ channels @ across.transpose(0, 2, 1)[:, None]
    return np.moveaxis(laid, 1, 3), in_rows[:, :, None] & in_columns[:, None, :]


def mirrored_where(pictures: NDArray[np.generic], mirrored: Flags) -> NDArray[Any]:
    """Pictures (P, H, W, …), some of them mirrored."""
    found = pictures.copy()
    found[mirrored] = pictures[mirrored][:, :, ::-1]
    return found


def agreement(ours: Floats, theirs: Floats, weights: Floats) -> Floats:
    """The correlation of pictures (P, n, n, C) where they overlap (P, n, n, 1), (P,)."""
    one, other = centred(ours, weights), centred(theirs, weights)
    both = np.square(one).sum(axis=(1, 2, 3)) * np.square(other).sum(axis=(1, 2, 3))
    found: Floats = (one * other).sum(axis=(1, 2, 3)) / np.sqrt(both + np.float32(1e-3))
    return found


def centred(pictures: Floats, weights: Floats) -> Floats:
    """Pictures (P, n, n, C) without the mean of each channel, 0 where they have no weight."""
    mean = (pictures * weights).sum(axis=(1, 2), keepdims=True)
    found: Floats = (pictures - mean / weights.sum(axis=(1, 2), keepdims=True)) * weights
    return found


def smoothed(pictures: Floats, weights: Floats, width: float) -> Floats:
    """Pictures (P, n, n, C) under a Gaussian, of the pixels with weights (P, n, n, 1) alone."""
    at = np.arange(pictures.shape[1])
    bell = np.exp(-np.square((at[:, None] - at) / np.float32(width)) / 2).astype(np.float32)
    bell[bell < 1e-6] = 0  # numbers next to 0 take many times as long
    sums, reached = (
        np.moveaxis(bell @ np.ascontiguousarray(np.moveaxis(part, 3, 1)) @ bell, 1, 3)
        for part in (pictures * weights, weights)
    )
    found: Floats = sums / np.maximum(reached, np.float32(1e-3))
    return found


def pixel_centres(side: int) -> Floats:
    """Where the centres of pixels lie, (side,), between −1 and 1."""
    found: Floats = ((np.arange(side) + 0.5) * 2 / side - 1).astype(np.float32)
    return found


def sampling(places: Floats, side: int) -> tuple[Floats, Floats, Flags]:
    """What a side of pixels has at ``places`` (…, n): weights (…, n, side) between neighbours.

    Returns:
        The weights, how they change with the place, and which places lie within, (…, n).
    """
    at = (places + 1) * side / 2 - 0.5
    pixels = np.arange(side, dtype=np.float32)
    weights = np.abs(np.clip(at, 0, side - 1)[..., None] - pixels)
    np.subtract(1, weights, out=weights)
    np.maximum(weights, 0, out=weights)
    # At a pixel's very centre there is no slope, so that whole pictures, laid exactly over each
    # other, stay so: moved, line drawings on white are laid over others of like outline.
    lower = np.floor(at)
    lower = np.where((at > 0) & (at < side - 1) & (at != lower), lower, -2)[..., None]
    slopes = (pixels == lower + 1).astype(np.float32)
    slopes -= pixels == lower
    slopes *= side / 2
    return weights, slopes, np.abs(places) <= 1.0001
