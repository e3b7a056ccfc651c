import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from vicinal.errors import InputError
from vicinal.recipes.recipe import Views
from vicinal.views import Augment, augment, channel_statistics, normalise
from vicinal.views.augment import draw_parameters

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
OFF = Views(
    crop_scale=(1, 1), crop_ratio=(1, 1), flip=0.0, jitter=0.0, grey=0.0, blur=0.0, rotation=0.0
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(batch: int, size: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.randint(
        0, 256, (batch, size, size, channels), dtype=torch.uint8, generator=seeded(7)
    )


def one_by_one(views: Views, images: torch.Tensor, seed: int) -> torch.Tensor:
    """The same views by torchvision's functions, image by image."""
    batch, height, width, channels = images.shape
    drawn = draw_parameters(views, (height, width, channels), batch, seeded(seed))
    results = []
    for i in range(batch):
        x = images[i].permute(2, 0, 1).float() / 255
        x = tv.resized_crop(x, *drawn.box[i].tolist(), [views.size] * 2, antialias=True)
        if drawn.flip[i]:
            x = tv.horizontal_flip(x)
        if views.rotation:
            x = tv.rotate(x, float(drawn.degrees[i]), tv.InterpolationMode.BILINEAR)
        for place in range(4):
            if drawn.hue_place[i] == place:
                x = tv.adjust_hue(x, float(drawn.turn[i]))
            if views.jitter and place < 3:
                factor, saturated, contrasted = drawn.blends[i, place].tolist()
                if saturated:
                    x = tv.adjust_saturation(x, factor)
                elif contrasted:
                    x = tv.adjust_contrast(x, factor)
                else:
                    x = tv.adjust_brightness(x, factor)
        if drawn.grey[i]:
            x = tv.rgb_to_grayscale(x, num_output_channels=3)
        if drawn.blurred[i]:
            x = tv.gaussian_blur(x, [views.blur_kernel] * 2, [float(drawn.sigma[i])] * 2)
        if drawn.solarised[i]:
            x = tv.solarize(x, views.solarise_threshold)
        results.append(tv.normalize(x, list(MEAN[:channels]), list(STD[:channels])))
    return torch.stack(results)


@pytest.mark.parametrize(
    ("views", "size", "channels"),
    [
        (Views(), 32, 3),
        (Views(jitter=0.5, rotation=20, blur_kernel=7), 48, 3),
        (Views(size=8, rotation=10), 8, 1),
        (Views(jitter=0.0), 32, 3),
        (Views(hue=0.0, saturation=0.0), 24, 3),
        (Views(jitter=0.0, grey=0.0, blur=0.0, solarise=0.5, solarise_threshold=0.3), 24, 3),
    ],
    ids=["seed recipe", "rotated and smaller", "digits", "no jitter", "no hue", "solarised"],
)
def test_the_whole_is_torchvisions_one_by_one(
    monkeypatch: pytest.MonkeyPatch, views: Views, size: int, channels: int
) -> None:
    images = pixels(48, size, channels)
    theirs = one_by_one(views, images, 3)
    make = Augment(views, MEAN[:channels], STD[:channels])
    for numbers in (augment.CACHE_NUMBERS, 10 * size * size * channels):  # in one go, and by tens
        monkeypatch.setattr(augment, "CACHE_NUMBERS", numbers)
        ours = make(images, seeded(3))
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("size", "channels"), [(32, 3), (8, 1)])
def test_views_are_float32_channels_last(size: int, channels: int) -> None:
    views = Augment(Views(size=size), MEAN[:channels], STD[:channels])(
        pixels(5, 16, channels), seeded()
    )
    assert views.shape == (5, channels, size, size)
    assert views.dtype == torch.float32
    assert views.is_contiguous(memory_format=torch.channels_last)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 5),
    size=st.integers(4, 40),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**32),
)
def test_with_everything_off_a_view_is_the_test_transform(
    batch: int, size: int, channels: int, seed: int
) -> None:
    images = pixels(batch, size, channels)
    mean, std = MEAN[:channels], STD[:channels]
    views = Augment(OFF.model_copy(update={"size": size}), mean, std)(images, seeded(seed))
    torch.testing.assert_close(views, normalise(images, mean, std), atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    "change",
    [
        {"flip": 1.0},
        {"grey": 1.0},
        {"blur": 1.0, "blur_sigma": (0.5, 2.0)},
        {"jitter": 1.0},
        {"rotation": 90.0},
        {"solarise": 1.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_switch_changes_every_image(change: dict[str, object]) -> None:
    images = pixels(16)
    views = Augment(OFF.model_copy(update=change), MEAN, STD)(images, seeded())
    difference = (views - normalise(images, MEAN, STD)).abs().amax(dim=(1, 2, 3))
    assert (difference > 0.01).all()


def test_two_copies_of_an_image_get_different_views() -> None:
    copies = pixels(1).expand(8, -1, -1, -1)
    views = Augment(Views(), MEAN, STD)(copies, seeded())
    for i in range(8):
        others = torch.cat((views[:i], views[i + 1 :]))
        assert ((views[i] - others).abs().amax(dim=(1, 2, 3)) > 0.1).all()


def test_the_generator_decides() -> None:
    make, images = Augment(Views(), MEAN, STD), pixels(6)
    generator = seeded(5)
    first, second = make(images, generator), make(images, generator)
    assert torch.equal(first, make(images, seeded(5)))
    assert not torch.equal(first, second)
    torch.manual_seed(99)  # the global generator has no say
    assert torch.equal(first, make(images, seeded(5)))


def test_an_image_keeps_its_place_in_the_batch() -> None:
    # Uniform images of different levels, so that each view tells whose it is.
    levels = torch.linspace(0, 255, 60).round().to(torch.uint8)
    images = levels[:, None, None, None].expand(-1, 8, 8, 3)
    views = Views(size=8, brightness=0.0)  # what is left does not change a uniform grey
    result = Augment(views, (0.0,) * 3, (1.0,) * 3)(images, seeded())
    expected = (levels / 255)[:, None, None, None].expand_as(result)
    torch.testing.assert_close(result, expected, atol=5e-4, rtol=0)


def test_autocast_and_gradients_stay_outside() -> None:
    make, images = Augment(Views(), MEAN, STD), pixels(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        views = make(images, seeded())
    assert torch.equal(views, make(images, seeded()))
    assert not views.requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop_scale": (0.9, 0.2)}, "views.crop_scale"),
        ({"crop_ratio": (0.0, 1.0)}, "views.crop_ratio"),
        ({"blur_sigma": (0.0, 1.0)}, "views.blur_sigma"),
        ({"blur_kernel": 4}, "views.blur_kernel.*odd"),
        ({"size": 8, "blur_kernel": 17}, "views.blur_kernel.*at most 15"),
    ],
)
def test_numbers_that_make_no_view_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Augment(Views(**change), MEAN, STD)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalise_is_torchvisions(channels: int) -> None:
    images = pixels(3, 10, channels)[:, :, 2:]  # not square, not contiguous
    ours = normalise(images, MEAN[:channels], STD[:channels])
    theirs = tv.normalize(
        images.permute(0, 3, 1, 2).float() / 255, list(MEAN[:channels]), list(STD[:channels])
    )
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    assert ours.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_are_numpys(tmp_path, channels: int) -> None:
    # Several blocks of a memory map, of which the last is not full.
    images = np.random.default_rng(0).integers(0, 200, (1100, 64, 64, channels), dtype=np.uint8)
    stored = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=images.shape)
    stored[:] = images
    mean, std = channel_statistics(stored)
    expected = images.reshape(-1, channels) / 255
    np.testing.assert_allclose(mean, expected.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(std, expected.std(axis=0), rtol=1e-9)


def test_a_constant_channel_can_be_divided_by() -> None:
    images = np.full((3, 4, 4, 3), 77, np.uint8)
    images[..., 1] = np.arange(16).reshape(4, 4)
    mean, std = channel_statistics(images)
    assert std[0] == std[2] == 1.0
    assert std[1] == pytest.approx(np.arange(16).std() / 255)
    normalised = normalise(torch.from_numpy(images), mean, std)
    assert normalised[:, 0].abs().max() < 1e-6
