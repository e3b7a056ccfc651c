"""Explore: one command from a folder of unlabelled pictures to a page of them; a study's page."""

from vicinal.explore.asked import Request
from vicinal.explore.of_study import TEST_IMAGES
from vicinal.explore.of_two import show_two_sets
from vicinal.explore.run import Explored, explore

__all__ = ["TEST_IMAGES", "Explored", "Request", "explore", "show_two_sets"]
