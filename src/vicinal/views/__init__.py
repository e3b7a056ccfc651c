"""Views: augmented copies of images, and where positive pairs come from."""

from vicinal.views.augment import Augment, channel_statistics, normalise
from vicinal.views.pairs import GeneratedNeighbours, MinedNeighbours, Pairs

__all__ = [
    "Augment",
    "GeneratedNeighbours",
    "MinedNeighbours",
    "Pairs",
    "channel_statistics",
    "normalise",
]
