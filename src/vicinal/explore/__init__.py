"""Explore: one command from a folder of unlabelled pictures to a page of them; a study's page."""

from vicinal.explore.page_of_test_images import TEST_IMAGES
from vicinal.explore.page_of_two_sets import show_two_sets
from vicinal.explore.request import Request
from vicinal.explore.run import Explored, explore

__all__ = ["TEST_IMAGES", "Explored", "Request", "explore", "show_two_sets"]
