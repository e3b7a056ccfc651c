"""The projector: representations to embeddings, during training only."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def projector(dimension: int, widths: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with BatchNorm and ReLU between them, the last one plain.

    Args:
        dimension: Dimensions F of a representation.
        widths: Output width of each linear layer; the last is the embedding's D.

    Returns:
        A module from (B, F) float32 to (B, D) float32.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise((dimension, *widths)):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-2])
