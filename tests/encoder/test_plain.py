import pytest
import torch

from vicinal.encoder import plain
from vicinal.errors import InputError


def test_each_stage_halves_the_map_and_the_quarters_are_averaged() -> None:
    encoder = plain(3, 32, (4, 6, 8), 32).eval()
    images = torch.randn(2, 3, 32, 32)
    maps = encoder[:-2](images)
    assert maps.shape == (2, 8, 4, 4)
    quarter = maps[:, :, 2:, :2].mean(dim=(2, 3))  # below, left: third of the four
    torch.testing.assert_close(encoder(images).view(2, 8, 4)[:, :, 2], quarter)


def test_smaller_views_go_through_the_same_encoder() -> None:
    encoder = plain(1, 32, (4, 8), 32)
    assert encoder(torch.randn(2, 1, 16, 16)).shape == (2, 32)


def test_another_dimension_is_refused() -> None:
    with pytest.raises(InputError, match="4 times its last width, 32, found 64"):
        plain(3, 32, (4, 8), 64)


def test_too_small_images_are_refused() -> None:
    with pytest.raises(InputError, match="at least 16 pixels, found 8"):
        plain(3, 8, (4, 8, 16), 64)
