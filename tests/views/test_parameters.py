import pytest
import torch
from scipy import stats
from torchvision.transforms import v2

from vicinal.recipes.recipe import Views
from vicinal.views.augment import NO_HUE, Parameters, draw_parameters
from vicinal.views.colour import BRIGHTNESS, CONTRAST, SATURATION

BATCH = 4000


def draw(views: Views, shape: tuple[int, int, int] = (32, 32, 3), seed: int = 0) -> Parameters:
    return draw_parameters(views, shape, BATCH, torch.Generator().manual_seed(seed))


def test_crops_stay_inside_and_keep_to_scale_and_ratio() -> None:
    box = draw(Views(crop_scale=(0.3, 0.6)), (64, 48, 3)).box
    top, left, height, width = box.unbind(dim=1)
    assert (box[:, :2] >= 0).all()
    assert (top + height <= 64).all()
    assert (left + width <= 48).all()
    area = height * width / (64 * 48)
    assert 0.27 < area.min() < 0.33  # sides are whole pixels
    assert 0.57 < area.max() < 0.63
    ratio = width / height
    assert 0.70 < ratio.min() < 0.80
    assert 1.25 < ratio.max() < 1.40


@pytest.mark.parametrize("side", range(4), ids=["top", "left", "height", "width"])
def test_crops_are_distributed_as_torchvisions(side: int) -> None:
    views = Views()
    crop = v2.RandomResizedCrop(32, scale=views.crop_scale, ratio=views.crop_ratio)
    torch.manual_seed(0)
    image = [torch.empty(3, 32, 32)]
    theirs = [crop.make_params(image) for _ in range(BATCH)]
    name = ("top", "left", "height", "width")[side]
    ours = draw(views).box[:, side].numpy()
    assert stats.ks_2samp(ours, [p[name] for p in theirs]).statistic < 0.04


def test_a_crop_that_cannot_fit_is_the_largest_in_the_middle() -> None:
    wide = draw(Views(crop_scale=(1, 1), crop_ratio=(1, 1)), (20, 40, 3)).box
    assert (wide == torch.tensor([0, 10, 20, 20])).all()
    tall = draw(Views(crop_scale=(1, 1), crop_ratio=(1, 1)), (41, 20, 3)).box
    assert (tall == torch.tensor([10, 0, 20, 20])).all()
    ours = draw(Views(crop_scale=(1, 1), crop_ratio=(0.9, 1.1)), (32, 48, 3)).box[0]
    crop = v2.RandomResizedCrop(32, scale=(1, 1), ratio=(0.9, 1.1))
    theirs = crop.make_params([torch.empty(3, 32, 48)])
    assert ours.tolist() == [theirs[k] for k in ("top", "left", "height", "width")]


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_switches_are_on_as_often_as_they_should(probability: float) -> None:
    names = ("flip", "grey", "blur", "jitter", "solarise")
    drawn = draw(Views(**dict.fromkeys(names, probability)))
    hue = drawn.hue_place < NO_HUE
    for on in (drawn.flip, drawn.grey, drawn.blurred, drawn.solarised, hue):
        # Four standard deviations of a share of 4000 are below 0.03, and of 0 and 1 are 0.
        assert abs(on.float().mean() - probability) <= (0.03 if 0 < probability < 1 else 0)


def test_factors_keep_to_their_ranges() -> None:
    views = Views(brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1, rotation=15)
    drawn = draw(views)
    of_image, of_grey, of_mean = drawn.blends.unbind(dim=2)
    kind = torch.where(of_grey != 0, SATURATION, torch.where(of_mean != 0, CONTRAST, BRIGHTNESS))
    for which, low, high in ((BRIGHTNESS, 0.6, 1.4), (CONTRAST, 0, 2.5), (SATURATION, 0.8, 1.2)):
        factor = of_image[kind == which]
        assert low <= factor.min() < low + 0.01
        assert high - 0.01 < factor.max() <= high
    for values, most in ((drawn.turn, 0.1), (drawn.degrees, 15)):
        assert -most <= values.min() < -0.99 * most
        assert 0.99 * most < values.max() <= most
    assert 0.1 <= drawn.sigma.min() < 0.11
    assert 1.99 < drawn.sigma.max() <= 2


def test_every_order_of_the_jitter_is_as_likely() -> None:
    drawn = draw(Views())
    of_grey, of_mean = drawn.blends[..., 1], drawn.blends[..., 2]
    kind = torch.where(of_grey != 0, SATURATION, torch.where(of_mean != 0, CONTRAST, BRIGHTNESS))
    order = (kind * torch.tensor([1, 3, 9])).sum(dim=1) * 4 + drawn.hue_place
    _, counts = torch.unique(order, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_solarisation_leaves_the_other_random_numbers_alone() -> None:
    without, with_it = draw(Views()), draw(Views(solarise=0.5))
    for name in Parameters._fields:
        same = torch.equal(getattr(without, name), getattr(with_it, name))
        assert same == (name != "solarised"), name


def test_grey_images_have_no_colour_to_change() -> None:
    drawn = draw(Views(grey=1.0), (8, 8, 1))
    assert not drawn.grey.any()
    assert (drawn.hue_place == NO_HUE).all()
    assert (drawn.blends[..., 1] == 0).all()


def test_images_are_drawn_independently_and_reproducibly() -> None:
    views = Views(rotation=10, solarise=0.5)
    first, again, other = draw(views), draw(views), draw(views, seed=1)
    for one, same, different in zip(first, again, other, strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, different)
        # Neither constant over the batch nor the same from one image to the next.
        flat = one.reshape(BATCH, -1).double()
        assert len(torch.unique(flat, dim=0)) > 1
    for values in (first.degrees, first.turn, first.sigma, first.box[:, 2].float()):
        after = torch.corrcoef(torch.stack((values[:-1], values[1:])))[0, 1]
        assert abs(after) < 0.07
