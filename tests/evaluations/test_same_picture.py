"""Copies of photographs are the same by their pixels, whatever was done to them; others are not."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps
from sklearn.datasets import load_digits, load_sample_image

from vicinal.evaluations.alignment import resized
from vicinal.evaluations.duplicates import find_duplicates
from vicinal.evaluations.families import connected
from vicinal.evaluations.leaks import find_leaks
from vicinal.evaluations.same_picture import (
    SAME,
    KnownPairs,
    differences,
    made_small,
    same_pictures,
)
from vicinal.representations.representations import Representations

Pixels = NDArray[np.uint8]


def recompressed(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=50)
    return Image.open(file)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "exact": lambda picture: picture,
    "recompressed": recompressed,
    "resized": lambda picture: picture.resize((40, 40)),
    "cropped": lambda picture: picture.crop((8, 2, 78, 72)),
    "mirrored": ImageOps.mirror,
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.3),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.7),
}


def small(pictures: list[Image.Image]) -> Pixels:
    return made_small(np.stack([np.asarray(picture.resize((64, 64))) for picture in pictures]))


@pytest.fixture(scope="module")
def crops() -> list[Image.Image]:
    """Crops of two photographs on a grid that does not let them overlap."""
    found = []
    for name in ("flower.jpg", "china.jpg"):
        whole = Image.fromarray(load_sample_image(name))
        found += [
            whole.crop((left, top, left + 80, top + 80))
            for left in range(0, 560, 80)
            for top in range(0, 400, 80)
        ]
    return found


@pytest.fixture(scope="module")
def detailed(crops: list[Image.Image]) -> NDArray[np.int64]:
    """Those in which there is something to see: of a clear sky only an exact copy is one."""
    return np.flatnonzero([np.asarray(crop.convert("L")).std() > 12 for crop in crops])


@pytest.mark.parametrize("change", CHANGES)
def test_copies_are_found_and_nothing_else(
    change: str, crops: list[Image.Image], detailed: NDArray[np.int64]
) -> None:
    assert len(detailed) > 30
    copies = [CHANGES[change](crops[row]) for row in detailed]
    found = find_leaks(small(crops), small(copies))
    right = sum(int(detailed[b]) == a for a, b in found.pairs.tolist())
    assert right >= 0.95 * len(detailed)
    assert len(found.pairs) - right <= 0.01 * len(found.pairs)
    assert f"{len(found.leaked)} of {len(detailed)} test pictures" in found.summary()[0]


def test_distinct_pictures_are_no_copies(crops: list[Image.Image]) -> None:
    assert len(same_pictures(small(crops)).pairs) == 0
    digits = np.round(load_digits().images[:100] * (255 / 16)).astype(np.uint8)
    found = same_pictures(made_small(digits[..., None]))
    assert len(found.pairs) <= 1
    assert found.doubt is not None  # they are alike by nature, and that is said


def test_pixels_decide_whatever_an_encoder_says(
    crops: list[Image.Image], detailed: NDArray[np.int64]
) -> None:
    chosen = [crops[row] for row in detailed]
    pixels = small(chosen + [CHANGES["recompressed"](one) for one in chosen])
    rng = np.random.default_rng(0)
    array = rng.normal(size=(len(pixels), 16)).astype(np.float32)
    array[1] = array[0] + np.float32(1e-3)  # the encoder takes two distinct ones for the same
    embeddings = Representations(array, np.arange(len(array)).astype(str))
    found = find_duplicates(embeddings, small=pixels)
    assert all(b - a == len(chosen) for a, b in found.pairs.tolist())
    assert len(found.pairs) >= 0.95 * len(chosen)
    assert [0, 1] in find_duplicates(embeddings, 0.1).pairs.tolist()


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_compared_is_not_compared_again(
    change: str, crops: list[Image.Image], detailed: NDArray[np.int64]
) -> None:
    chosen = [crops[row] for row in detailed[:20]]
    copies = [CHANGES[change](one) for one in chosen]
    # Pictures come before their copies and after; of four both were there.
    pixels = small(chosen + copies)
    array = np.random.default_rng(0).normal(size=(len(pixels), 16)).astype(np.float32)
    whole = Representations(array, np.arange(len(array)).astype(str))
    was = np.r_[:12, 28:40]
    before = find_duplicates(Representations(array[was], whole.ids[was]), small=pixels[was])
    earlier = before.compared
    assert earlier is not None
    assert len(before.pairs) >= 3
    for fresh in (~np.isin(np.arange(40), was), np.zeros(40, np.bool_)):
        known = KnownPairs(was[earlier.pairs], earlier.differences, fresh)
        found = find_duplicates(whole, small=pixels, earlier=known)
        if fresh.any():
            assert found.pairs.tolist() == find_duplicates(whole, small=pixels).pairs.tolist()
            assert len(found.pairs) >= 18
        else:  # what was known, and nothing is looked for
            assert found.pairs.tolist() == was[before.pairs].tolist()


def test_all_pairs_of_a_group_are_found(crops: list[Image.Image]) -> None:
    group = [crops[3].rotate(0.0).resize((side, side)) for side in range(40, 120, 4)]
    found = same_pictures(small(group + crops[40:50]))
    assert len(found.pairs) == len(group) * (len(group) - 1) / 2


def test_a_picture_in_small_is_the_mean_of_its_fields() -> None:
    pixels = np.random.default_rng(0).integers(256, size=(3, 64, 64, 3), dtype=np.uint8)
    means = pixels.reshape(3, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.abs(made_small(pixels) - means).max() <= 0.5
    assert made_small(pixels[:, :5, :13, :1]).shape == (3, 32, 32, 1)


def test_pages_that_differ_by_a_faint_sign_are_other_pages() -> None:
    drawn = []
    for left, top in ((34, 30), (58, 30), (34, 76), (58, 76), (48, 52)):
        page = Image.new("RGB", (128, 128))
        pen = ImageDraw.Draw(page)
        pen.rectangle((24, 8, 104, 120), fill="white")
        pen.ellipse((left, top, left + 24, top + 24), outline=(150, 150, 150), width=5)
        drawn.append(page)
    pages = small(drawn)
    assert len(same_pictures(pages).pairs) == 0
    copies = small([recompressed(page) for page in drawn])
    assert same_pictures(pages, copies).pairs.tolist() == [[row, row] for row in range(5)]


def test_pictures_that_change_by_degrees_are_not_all_one() -> None:
    whole = Image.fromarray(load_sample_image("china.jpg")).crop((200, 100, 420, 320))
    turned = [whole.rotate(angle, Image.Resampling.BICUBIC) for angle in range(0, 60, 2)]
    pictures = small([one.crop((40, 40, 180, 180)) for one in turned])
    ends = same_pictures(pictures).pairs
    near = differences(pictures, pictures, np.array([[row, row + 1] for row in range(29)]), True)
    assert (near < SAME).sum() > 15  # one by one they are called the same
    assert len(ends) < 15


def rosettes() -> Pixels:
    """Circles of 30 lengths of rays, with ten numbers each that 32 pixels hardly show."""
    drawn = []
    for rays in range(60, 120, 6):
        for inner in np.linspace(5, 100, 30):
            picture = Image.new("L", (256, 256), 255)
            pen = ImageDraw.Draw(picture)
            for turn in np.linspace(0, 2 * np.pi, rays, endpoint=False):
                ends = [(128 + r * np.cos(turn), 128 + r * np.sin(turn)) for r in (inner, 120)]
                pen.line(ends, fill=0)
            drawn.append(np.asarray(picture))
    return made_small(np.stack(drawn)[..., None])


@pytest.mark.parametrize("sets", [1, 2])
def test_a_large_family_is_not_one_picture(sets: int) -> None:
    family = rosettes()
    left, right = (family, None) if sets == 1 else (family[::2], family[1::2])
    rows = np.random.default_rng(0).integers(len(left), size=(1000, 2))
    drawn = differences(left, left, rows, True)
    found = same_pictures(left, right)
    ends = found.pairs if right is None else found.pairs + np.array([0, len(left)])
    assert (drawn <= SAME).mean() < 0.2
    assert np.bincount(connected(ends, len(family))).max() <= 20


def test_a_hundred_copies_of_one_picture_are_one(crops: list[Image.Image]) -> None:
    sides = np.random.default_rng(0).integers(40, 120, size=(100, 2))
    copies = small([crops[3].resize(tuple(size)) for size in sides.tolist()])
    found = same_pictures(np.concatenate([copies, small(crops[40:60])]))
    assert np.sort(np.bincount(connected(found.pairs, 120)))[-2:].tolist() == [1, 100]


def changed(picture: Image.Image, count: int) -> list[Image.Image]:
    """Copies, a little cropped and brightened."""
    generator, found = np.random.default_rng(0), []
    for _ in range(count):
        left, top, right, below = generator.uniform(0, 0.03, 4) * picture.width
        part = (left, top, picture.width - right, picture.height - below)
        shown = ImageEnhance.Brightness(picture.crop(part)).enhance(generator.uniform(0.9, 1.1))
        found.append(recompressed(shown))
    return found


@pytest.mark.parametrize("copies", [40, 100])
def test_copies_stay_one_beside_frames_that_move_on(copies: int) -> None:
    whole = Image.fromarray(load_sample_image("china.jpg"))
    frames = [whole.crop((20 + 4 * at, 60, 220 + 4 * at, 260)) for at in range(60)]
    pictures = small(changed(frames[0], copies) + frames)
    for seed in range(2):
        order = np.random.default_rng(seed).permutation(len(pictures))
        group = connected(same_pictures(pictures[order]).pairs, len(pictures))
        group = group[np.argsort(order)]
        assert len(set(group[:copies].tolist())) == 1
    left, right = pictures[: copies // 2], pictures[copies // 2 : copies]
    assert len(set(same_pictures(left, right).pairs[:, 1].tolist())) == len(right)


def test_copies_stay_one_in_a_family_of_drawings(crops: list[Image.Image]) -> None:
    copies, family = small(changed(crops[3], 80)), np.repeat(rosettes(), 3, axis=3)
    found = same_pictures(np.concatenate([copies, family]))
    group = connected(found.pairs, len(copies) + len(family))
    assert len(set(group[: len(copies)].tolist())) == 1
    assert np.bincount(group[len(copies) :]).max() <= 20


def plain_pictures() -> list[Image.Image]:
    """Cards of colours, four of one grey, and gradients of slopes and directions of their own."""
    shades = [(30, 30, 30), (90, 20, 20), (20, 90, 120), (200, 180, 140), (238, 238, 238)]
    cards = [Image.new("RGB", (96, 96), shade) for shade in shades]
    across, down = np.meshgrid(np.linspace(-1, 1, 96), np.linspace(-1, 1, 96))
    gradients = []
    for level, slope in ((100, 10), (100, 25), (160, 10), (160, 25)):
        for turn in (0.2, 0.8, 1.4):
            grey = level + slope * (np.cos(turn) * across + np.sin(turn) * down)
            tinted = np.stack([grey, grey * 0.9, grey * 0.8], axis=2)
            gradients.append(Image.fromarray(tinted.round().astype(np.uint8)))
    return cards + gradients


@pytest.mark.parametrize("change", ["recompressed", "resized", "mirrored"])
@pytest.mark.parametrize("share", [0.1, 1.0])
def test_plain_pictures_are_the_same_where_their_levels_are(change: str, share: float) -> None:
    pictures = plain_pictures()
    copied = range(0, len(pictures), round(1 / share))
    copies = [CHANGES[change](pictures[row]).convert("RGB") for row in copied]
    found = find_leaks(small(pictures), small(copies))
    assert sorted(found.pairs.tolist()) == [[row, at] for at, row in enumerate(copied)]
    within = same_pictures(small(pictures))
    assert within.pairs.tolist() == []
    assert within.doubt is None


def test_a_faint_print_is_the_same_recompressed_and_another_print_is_not() -> None:
    rng = np.random.default_rng(0)
    prints = []
    for _ in range(12):
        page = Image.new("RGB", (128, 128), (105, 58, 140))
        for left, top in rng.integers(0, 110, (14, 2)).tolist():
            ImageDraw.Draw(page).rectangle((left, top, left + 9, top + 9), outline=(150, 66, 160))
        prints.append(page)
    copies = [recompressed(page) for page in prints]
    found = same_pictures(small(prints + copies))
    assert found.pairs.tolist() == [[row, row + len(prints)] for row in range(len(prints))]


@pytest.mark.parametrize("side", [5, 8, 20, 31, 32, 33, 50, 100])
def test_a_side_is_interpolated_or_averaged(side: int) -> None:
    """Enlarged as torch does, between the centres of pixels; made small by means over fields."""
    line = np.random.default_rng(0).uniform(0, 255, side).astype(np.float32)
    found = resized(side, 32) @ line
    if side < 32:
        given = torch.from_numpy(line)[None, None]
        expected = torch.nn.functional.interpolate(
            given, 32, mode="linear", align_corners=False
        ).numpy()[0, 0]
    else:
        fine = np.repeat(line, 32)  # 32 parts of each pixel, of which a field has `side`
        expected = fine.reshape(32, side).mean(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_difference_in_one_field_counts_though_the_rest_agrees() -> None:
    photo = Image.fromarray(load_sample_image("flower.jpg")).crop((200, 100, 264, 164))
    changed = photo.copy()
    ImageDraw.Draw(changed).rectangle((8, 8, 15, 15), fill="white")
    pictures = small([photo, changed])
    assert differences(pictures[:1], pictures[1:], np.array([[0, 0]]), False)[0] > SAME
    assert same_pictures(pictures).pairs.tolist() == []
    brighter = ImageEnhance.Brightness(photo).enhance(1.6)  # cut off at white, and at black
    both = small([photo, brighter])
    assert differences(both[:1], both[1:], np.array([[0, 0]]), False)[0] <= SAME


@pytest.mark.parametrize("side", [200, 400])
def test_white_pages_with_a_small_sign_are_other_pages(side: int) -> None:
    pages = [Image.new("RGB", (side, side), "white")]
    font = ImageFont.load_default(size=26)
    for text in ("A", "B", "7", "X", "-", "."):
        page = pages[0].copy()
        ImageDraw.Draw(page).text((side // 2, side // 2), text, font=font, fill="black")
        pages.append(page)
    means = np.concatenate([made_small(np.asarray(page)[None]) for page in pages])
    assert same_pictures(means).pairs.tolist() == []
    copies = np.concatenate([made_small(np.asarray(recompressed(page))[None]) for page in pages])
    found = find_leaks(means, copies)
    assert all(a == b for a, b in found.pairs.tolist())
