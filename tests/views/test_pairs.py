import pytest
import torch

from vicinal.errors import InputError
from vicinal.recipes.recipe import Views
from vicinal.views import Augment, GeneratedNeighbours, MinedNeighbours, normalise

MEAN, STD = (0.5,) * 3, (0.25,) * 3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def store(images: int) -> torch.Tensor:
    return torch.randint(0, 256, (images, 16, 16, 3), dtype=torch.uint8, generator=seeded(1))


def ring(images: int, k: int) -> torch.Tensor:
    """The next k images after each, around a ring."""
    return (torch.arange(images)[:, None] + torch.arange(1, k + 1)) % images


def test_generated_neighbours_are_two_independent_views_of_the_batch() -> None:
    # Uniform images of different levels, so that each view tells whose it is.
    pixels = torch.arange(0, 250, 10, dtype=torch.uint8)[:, None, None, None]
    pixels = pixels.expand(-1, 8, 8, 3).contiguous()
    views = Views(size=8, brightness=0.05, contrast=0.0, hue=0.0)
    pairs = GeneratedNeighbours(Augment(views, (0.0,) * 3, (1.0,) * 3))
    index = torch.tensor([20, 3, 11, 7, 15, 24])
    first, second = pairs(pixels, index, seeded())
    level = (pixels[index, 0, 0, 0] / 255)[:, None, None, None]
    for view in (first, second):
        assert view.shape == (6, 3, 8, 8)
        assert view.is_contiguous(memory_format=torch.channels_last)
        assert ((view - level).abs() <= 0.051 * level).all()
    assert ((first - second).abs().amax(dim=(1, 2, 3)) > 0).all()


def test_generated_neighbours_are_reproducible() -> None:
    pairs = GeneratedNeighbours(Augment(Views(size=16), MEAN, STD))
    pixels, index = store(5), torch.tensor([4, 0, 4])
    first, again, other = (pairs(pixels, index, seeded(s)) for s in (0, 0, 1))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_mined_neighbours_are_an_image_and_one_of_its_own() -> None:
    pixels, neighbours = store(20), ring(20, 3)
    pairs = MinedNeighbours(neighbours, MEAN, STD)
    everything = normalise(pixels, MEAN, STD)
    generator, index = seeded(), torch.tensor([0, 19, 7])
    met: list[set[int]] = [set(), set(), set()]
    for _ in range(40):
        first, second = pairs(pixels, index, generator)
        torch.testing.assert_close(first, everything[index])
        for row, view in enumerate(second):
            same = (everything == view).all(dim=3).all(dim=2).all(dim=1)
            met[row].add(int(same.nonzero()))
    # Drawn anew each time: in 40 meetings each of the three has its turn.
    assert met == [set(neighbours[i].tolist()) for i in index.tolist()]


def test_mined_neighbours_are_drawn_uniformly() -> None:
    images = 12 * 256  # levels go round as the ring does
    pixels = (torch.arange(images) % 256).to(torch.uint8)[:, None, None, None]
    pixels = pixels.expand(-1, 4, 4, 1)
    pairs = MinedNeighbours(ring(images, 3), (0.0,), (1.0,))
    first, second = pairs(pixels, torch.arange(images), seeded())
    step = ((second - first)[:, 0, 0, 0] * 255).round().long() % 256
    counts = torch.bincount(step, minlength=4)
    assert counts[0] == 0
    assert ((counts[1:] - images / 3).abs() < 110).all()  # more than four standard deviations


def test_mined_views_are_float32_channels_last() -> None:
    first, second = MinedNeighbours(ring(5, 2), MEAN, STD)(store(5), torch.arange(4), seeded())
    for view in (first, second):
        assert view.shape == (4, 3, 16, 16)
        assert view.dtype == torch.float32
        assert view.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("neighbours", "message"),
    [
        (torch.tensor([1, 0]), r"must be \(N, k\)"),
        (torch.empty(4, 0, dtype=torch.int64), r"must be \(N, k\)"),
        (torch.tensor([[1], [2]]), "positions of 2 images"),
        (torch.tensor([[1], [-1]]), "positions of 2 images"),
        (torch.tensor([[1, 2], [0, 2], [0, 2]]), "image 2 as its own"),
    ],
)
def test_neighbours_that_cannot_be_are_refused(neighbours: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MinedNeighbours(neighbours, MEAN, STD)


def test_neighbours_of_other_images_are_refused() -> None:
    pairs = MinedNeighbours(ring(6, 2), MEAN, STD)
    with pytest.raises(InputError, match="6 rows of mined neighbours cannot serve 5 images"):
        pairs(store(5), torch.arange(2), seeded())
