import pytest
import torch

from vicinal.encoder.small import Plain, plain
from vicinal.errors import InputError


def test_every_map_is_averaged_over_its_quarters() -> None:
    encoder = plain(3, 32, (4, 6, 8), 72).eval()
    assert isinstance(encoder, Plain)
    images = torch.randn(2, 3, 32, 32)
    first = encoder.stages[0](images)
    second = encoder.stages[1](first)
    third = encoder.stages[2](second)
    assert [m.shape[1:] for m in (first, second, third)] == [(4, 16, 16), (6, 8, 8), (8, 4, 4)]
    found = encoder(images)
    below_left = second[:, :, 4:, :4].mean(dim=(2, 3))  # the third of four quarters
    torch.testing.assert_close(found[:, 16:40].view(2, 6, 4)[:, :, 2], below_left)
    above_right = third[:, :, :2, 2:].mean(dim=(2, 3))
    torch.testing.assert_close(found[:, 40:].view(2, 8, 4)[:, :, 1], above_right)


def test_smaller_images_go_through_the_same_encoder() -> None:
    encoder = plain(1, 32, (4, 8), 48)
    assert encoder(torch.randn(2, 1, 16, 16)).shape == (2, 48)


def test_one_stage_is_read_alone() -> None:
    assert plain(1, 8, (4,), 16)(torch.randn(2, 1, 8, 8)).shape == (2, 16)


def test_another_dimension_is_refused() -> None:
    with pytest.raises(InputError, match="sum of its widths, 48, found 64"):
        plain(3, 32, (4, 8), 64)


def test_too_small_images_are_refused() -> None:
    with pytest.raises(InputError, match="at least 16 pixels, found 8"):
        plain(3, 8, (4, 8, 16), 112)


@pytest.mark.parametrize(
    ("size", "kernel", "side"),
    [(16, 4, 8), (32, 4, 16), (48, 4, 24), (64, 8, 16), (96, 8, 24), (128, 16, 16), (224, 32, 14)],
)
def test_no_map_of_a_large_picture_is_larger_than_24(size: int, kernel: int, side: int) -> None:
    encoder = plain(3, size, (4, 8), 48)
    assert isinstance(encoder, Plain)
    first = encoder.stages[0](torch.randn(2, 3, size, size))
    assert encoder.stages[0][0].weight.shape == (4, 3, kernel, kernel)
    assert first.shape == (2, 4, side, side)
    assert encoder(torch.randn(2, 3, size, size)).shape == (2, 48)


def test_small_pictures_have_the_encoder_they_always_had() -> None:
    torch.manual_seed(0)
    encoder = plain(3, 32, (4, 8), 48)
    torch.manual_seed(0)
    stem = torch.nn.Conv2d(3, 4, 4, stride=2, padding=1, bias=False)
    assert isinstance(encoder, Plain)
    assert torch.equal(encoder.stages[0][0].weight, stem.weight)
    assert encoder.stages[0][0].stride == (2, 2)
    assert encoder.stages[0][0].padding == (1, 1)
