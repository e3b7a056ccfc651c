"""Several looks at a picture: which parts, and the average of what they give."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vicinal.encoder.saved import Preparation
from vicinal.images.imageset import ImageSet
from vicinal.representations.embed import WHOLE, Look, embed, looks

SIZE = 8
PREPARATION = Preparation(SIZE, 1, (0.0,), (1.0,))


class Pixels(nn.Module):
    """Represents a picture by its pixels."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def pictures(count: int = 5) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 1), np.uint8)
    return ImageSet("drawn", pixels, np.arange(count).astype(np.str_))


def test_one_look_is_the_picture_as_it_is() -> None:
    assert looks(1, flip=False) == WHOLE
    whole = embed(Pixels(), pictures(), PREPARATION).array
    assert np.array_equal(
        whole.reshape(-1, SIZE, SIZE), pictures().pixels[..., 0] / np.float32(255)
    )


def test_looks_are_averaged() -> None:
    images = pictures()
    seen = looks(3, flip=True)
    assert len(seen) == 6
    each = [embed(Pixels(), images, PREPARATION, seen=[look]).array for look in seen]
    averaged = embed(Pixels(), images, PREPARATION, seen=seen).array
    assert np.allclose(averaged, np.mean(each, axis=0), atol=1e-6)
    alone = embed(Pixels(), images.take(np.array([3])), PREPARATION, seen=seen).array
    assert np.allclose(alone[0], averaged[3], atol=1e-6)  # whatever pictures are beside it
    mirrored = each[1].reshape(-1, SIZE, SIZE)
    assert np.array_equal(mirrored[:, :, ::-1], each[0].reshape(-1, SIZE, SIZE))


@pytest.mark.parametrize("crops", [2, 9])
def test_more_crops_only_add_and_lie_within_the_picture(crops: int) -> None:
    found = looks(crops, flip=False)
    assert found == looks(20, flip=False)[:crops]
    for look in found:
        assert min(look.top, look.left) >= 0
        assert max(look.top, look.left) + look.side <= 1 + 1e-9
    ramp = torch.arange(float(SIZE)).expand(1, 1, SIZE, SIZE)
    part = Look(0.0, 0.5, 0.5).of(ramp)
    assert part.shape == ramp.shape
    assert part.min() >= SIZE / 2
