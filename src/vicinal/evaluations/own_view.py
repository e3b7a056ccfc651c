"""How good is an encoder, without labels? What it makes of several views of each picture."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from vicinal.evaluations.arrays import checked
from vicinal.evaluations.score import Score
from vicinal.recipe import Views
from vicinal.representations.neighbours import unit_length
from vicinal.views import Augment

UNSEEN = Views(crop_scale=(0.6, 1.0), rotation=20.0, flip=0.0, jitter=0.0, grey=0.0, blur=0.0)
"""Views of a kind that trainings do not have: turned by up to 20°, and cropped a little."""


def views_of(
    pixels: NDArray[np.uint8], kind: Views = UNSEEN, *, count: int = 2, seed: int = 0
) -> tuple[NDArray[np.uint8], ...]:
    """Views of pictures as pictures, so that any encoder can be asked for them.

    Args:
        pixels: Pictures (N, S, S, C) uint8.
        kind: Which views; their size becomes S.
        count: Views of each picture.
        seed: Of what is drawn.

    Returns:
        So many arrays (N, S, S, C) uint8.
    """
    channels = pixels.shape[3]
    sized = kind.model_copy(update={"size": pixels.shape[1]})
    augment = Augment(sized, (0.0,) * channels, (1.0,) * channels)
    pictures, generator = torch.from_numpy(pixels), torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        views = augment(pictures, generator).permute(0, 2, 3, 1).clamp(0, 1)
        made.append((views * 255).round().byte().numpy())
    return tuple(made)


def own_view(first: NDArray[np.float32], second: NDArray[np.float32]) -> Score:
    """How often the nearest of all second views, by cosine, is the picture's own: 0 to 1, high.

    Instance discrimination (Wu et al., CVPR 2018, arXiv 1805.01978, train an encoder to do it;
    here it measures one). An encoder that is trained on views of the same kind rises by that
    alone, so ask for it by other views than those of the training.

    Args:
        first: Array (N, F), representations of one view of each picture, N at least 2.
        second: Array (N, F), of another view of each, in the same order.

    Raises:
        InputError: If there is one picture only, or a number is not finite.
    """
    first, second = (unit_length(checked(array, "own view")) for array in (first, second))
    alike = first @ second.T
    own = np.diagonal(alike).copy()
    np.fill_diagonal(alike, -np.inf)
    return Score(
        name="own_view",
        value=float((own > alike.max(axis=1)).mean()),  # a tie finds nothing
        low=0.0,
        high=1.0,
        better="higher",
        chance=1 / len(first),
        n=len(first),
    )
