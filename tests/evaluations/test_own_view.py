"""Measures without labels: a perfect case, one at chance, and plain arithmetic beside."""

import numpy as np
import pytest
from sklearn.datasets import load_sample_image
from torch import nn

from vicinal import InputError
from vicinal.encoder.saved import Preparation
from vicinal.evaluations.own_view import (
    UNSEEN,
    kept_sentence,
    lidar,
    measured,
    neighbour_stability,
    own_view,
    views_of,
)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_views_that_agree_find_each_other() -> None:
    array = normal(60, 8)
    near = array + 0.01 * normal(60, 8, seed=1)
    found = own_view(array, near)
    assert found.value == 1.0
    assert found.interval == (1.0, 1.0)
    assert neighbour_stability(array, array * 3).value == 1.0  # a length is no direction


def test_views_that_have_nothing_in_common_are_at_chance() -> None:
    found = own_view(normal(500, 8), normal(500, 8, seed=1))
    assert found.chance == 1 / 500
    assert found.value < 0.02
    stable = neighbour_stability(normal(500, 8), normal(500, 8, seed=1), k=10)
    assert stable.value == pytest.approx(stable.chance, abs=0.01)


def test_all_alike_is_not_told_apart() -> None:
    same = np.ones((20, 4), np.float32)
    assert own_view(same, same).value == 0.0
    assert lidar(np.ones((20, 3, 4), np.float32)).value == 0.0


def test_own_view_as_counted_one_by_one() -> None:
    first, second = normal(40, 3), normal(40, 3) + 0.7 * normal(40, 3, seed=1)
    cosine = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in second] for a in first]
    right = [int(np.argmax(row)) == i for i, row in enumerate(cosine)]
    assert 0 < sum(right) < 40
    assert own_view(first, second).value == np.mean(right)


@pytest.mark.parametrize("width", [5, 60])  # fewer and more numbers than views
def test_lidar_is_its_papers_formula(width: int) -> None:
    views = normal(12, 1, width) * np.linspace(0.1, 3, width, dtype=np.float32)
    views = views + 0.3 * normal(12, 4, width, seed=1)
    exact = views.astype(np.float64)
    means = exact.mean(axis=1)
    within = sum(np.outer(e, e) for e in (exact - means[:, None]).reshape(-1, width)) / 48
    between = sum(np.outer(m, m) for m in means - means.mean(axis=0)) / 12
    values, axes = np.linalg.eigh(within + 1e-4 * np.eye(width))
    root = (axes / np.sqrt(values)) @ axes.T
    share = np.linalg.eigvalsh(root @ between @ root).clip(0)
    share = share[share > 1e-12 * share.max()] / share.sum()
    assert lidar(views).value == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-5)


def test_lidar_counts_directions_that_tell_pictures_apart() -> None:
    noise = 0.01 * normal(200, 4, 16, seed=1)
    two = np.zeros((200, 1, 16), np.float32)
    two[:, :, :2] = normal(200, 1, 2)
    assert lidar(two + noise).value == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (lambda: own_view(normal(4, 2), normal(5, 2)), "same two pictures"),
        (lambda: own_view(normal(4, 2) * np.nan, normal(4, 2)), "own view"),
        (lambda: neighbour_stability(normal(4, 2), normal(4, 2), k=4), "k=4"),
        (lambda: lidar(normal(4, 1, 2)), "LiDAR needs"),
        (lambda: lidar(normal(4, 2, 2), delta=0.0), "delta above 0"),
    ],
)
def test_what_cannot_be_is_one_line(measure, said: str) -> None:
    with pytest.raises(InputError, match=said):
        measure()


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Crops (40, 32, 32, 3) of a photograph that do not overlap."""
    photo = load_sample_image("china.jpg")
    places = [(y, x) for y in range(0, 5 * 80, 80) for x in range(0, 8 * 80, 80)]
    return np.stack([photo[y : y + 32, x : x + 32] for y, x in places])


def test_views_are_pictures_and_follow_the_seed(pixels: np.ndarray) -> None:
    first, second = views_of(pixels)
    assert first.shape == second.shape == pixels.shape
    assert first.dtype == np.uint8
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(views_of(pixels)[1], second)
    assert not np.array_equal(views_of(pixels, seed=1)[1], second)
    assert len(views_of(pixels, count=3)) == 3
    # A view is of its own picture, as bright: nearer to it than to the others.
    gaps = np.abs(first.astype(float)[:, None] - pixels[None]).mean(axis=(2, 3, 4))
    assert (gaps.argmin(axis=1) == np.arange(40)).mean() > 0.8
    assert -20 < first.astype(float).mean() - pixels.mean() < 0  # corners of turned ones are black
    grey = views_of(pixels[..., :1], UNSEEN, count=1)[0]
    assert grey.shape == (40, 32, 32, 1)


def test_a_network_is_measured_by_views_of_a_draw_of_the_pictures(
    pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = nn.Sequential(nn.AvgPool2d(4), nn.Flatten()).eval()
    made = Preparation(32, 3, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    mean, std = (np.array(each, np.float32) for each in (made.mean, made.std))

    def by_hand(pictures: np.ndarray) -> np.ndarray:
        scaled = ((pictures / np.float32(255) - mean) / std).astype(np.float32)
        fields = scaled.reshape(len(pictures), 8, 4, 8, 4, 3).mean(axis=(2, 4))
        return np.moveaxis(fields, 3, 1).reshape(len(pictures), -1)

    expected = own_view(*(by_hand(view) for view in views_of(pixels))).value
    assert 0.2 < expected < 1
    assert measured(network, pixels, made, "cpu") == pytest.approx(expected)
    monkeypatch.setattr("vicinal.evaluations.own_view.COMPARED", 15)
    drawn = np.sort(np.random.default_rng(0).permutation(40)[:15])
    expected = own_view(*(by_hand(view) for view in views_of(pixels[drawn]))).value
    assert measured(network, pixels, made, "cpu") == pytest.approx(expected)


def test_which_network_was_kept_is_said() -> None:
    kept = {"start": "pretrained", "before": 0.5, "after": 0.625, "kept": "after"}
    assert kept_sentence(kept) == (
        "training on from pretrained was kept: own views found 62.5%, before 50.0%"
    )
    assert kept_sentence(kept | {"after": 0.5, "kept": "before"}) == (
        "training on from pretrained was not kept, the network is as it was: own views found "
        "50.0% with it, 50.0% without"
    )


def test_scores_say_how_to_read_them() -> None:
    array = normal(11, 4)
    found = neighbour_stability(array, array, k=3).to_json()
    assert found == {
        "name": "neighbour_stability",
        "value": 1.0,
        "low": 0.0,
        "high": 1.0,
        "better": "higher",
        "chance": 0.3,
        "n": 11,
        "seed": None,
        "interval": None,
    }
    found = own_view(array, array).to_json()
    assert (found["name"], found["low"], found["high"], found["better"]) == (
        "own_view", 0.0, 1.0, "higher",
    )  # fmt: skip
    assert (found["chance"], found["n"], found["seed"]) == (1 / 11, 11, 0)
    few = own_view(normal(40, 3), normal(40, 3) + 0.7 * normal(40, 3, seed=1))
    share = few.value
    assert few.interval is not None
    spread = 1.96 * np.sqrt(share * (1 - share) / 40)
    np.testing.assert_allclose(few.interval, [share - spread, share + spread], atol=0.04)
