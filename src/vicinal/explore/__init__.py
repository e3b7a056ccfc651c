"""Explore: one command from a folder of unlabelled pictures to a page of them."""

from vicinal.explore.asked import Request
from vicinal.explore.run import Explored, explore

__all__ = ["Explored", "Request", "explore"]
