import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from vicinal.views.geometry import blur, resized_crop, rotate


def images(batch: int, channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, channels, height, width, generator=generator)


def assert_crops_agree(x: torch.Tensor, box: torch.Tensor, size: int, flip: torch.Tensor) -> None:
    ours = resized_crop(x, box, size, flip)
    for i in range(len(x)):
        theirs = tv.resized_crop(x[i], *box[i].tolist(), [size, size], antialias=True)
        if flip[i]:
            theirs = tv.horizontal_flip(theirs)
        torch.testing.assert_close(ours[i], theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("channels", "height", "width", "size"),
    [(3, 32, 32, 32), (3, 48, 48, 32), (1, 8, 8, 8), (3, 40, 56, 24), (1, 96, 96, 16)],
)
def test_each_crop_is_torchvisions(channels: int, height: int, width: int, size: int) -> None:
    x = images(24, channels, height, width)
    generator = torch.Generator().manual_seed(1)
    draw = torch.rand(24, 4, generator=generator)
    whole = torch.tensor([height, width])
    sides = 1 + torch.floor(draw[:, :2] * whole).long()
    corner = torch.floor(draw[:, 2:] * (whole - sides + 1)).long()
    sides[0], corner[0] = whole, 0  # the whole image
    sides[1], corner[1] = 1, whole - 1  # the last pixel
    box = torch.cat((corner, sides), dim=1)
    assert_crops_agree(x, box, size, torch.arange(24) % 2 == 0)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_crop_is_torchvisions(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    box = []
    for _ in range(3):
        h, w = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
        top, left = data.draw(st.integers(0, height - h)), data.draw(st.integers(0, width - w))
        box.append((top, left, h, w))
    flip = torch.tensor(data.draw(st.lists(st.booleans(), min_size=3, max_size=3)))
    size = data.draw(st.integers(1, 40))
    assert_crops_agree(images(3, 2, height, width), torch.tensor(box), size, flip)


def test_a_crop_of_the_same_size_is_the_image() -> None:
    x = images(2, 3, 9, 9)
    box = torch.tensor([[0, 0, 9, 9]] * 2)
    assert torch.equal(resized_crop(x, box, 9), x)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (8, 8), (17, 30), (30, 17)])
def test_each_rotation_is_torchvisions(height: int, width: int) -> None:
    x = images(9, 3, height, width)
    degrees = torch.tensor([0.0, 10, -10, 33.3, 45, -77.7, 120, -170, 179])
    ours = rotate(x, degrees)
    for i in range(len(x)):
        theirs = tv.rotate(x[i], float(degrees[i]), tv.InterpolationMode.BILINEAR)
        torch.testing.assert_close(ours[i], theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("channels", "size", "kernel"), [(3, 32, 3), (3, 32, 9), (1, 8, 3), (1, 8, 5), (2, 4, 7)]
)
def test_each_blur_is_torchvisions(channels: int, size: int, kernel: int) -> None:
    x = images(8, channels, size, size)
    sigma = torch.tensor([0.1, 0.2, 0.5, 0.8, 1.0, 1.5, 2.0, 5.0])
    ours = blur(x, sigma, kernel)
    for i in range(len(x)):
        theirs = tv.gaussian_blur(x[i], [kernel, kernel], [float(sigma[i])] * 2)
        torch.testing.assert_close(ours[i], theirs, atol=1e-5, rtol=0)
