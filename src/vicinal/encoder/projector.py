"""The projector: representations to embeddings, during training only."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def projector(dimension: int, widths: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with BatchNorm and ReLU between them, the last one plain."""
    layers: list[nn.Module] = []
    for before, after in pairwise((dimension, *widths)):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-2])
