import numpy as np
import pytest

from vicinal.evaluations.anomalies import rank_within
from vicinal.explore.reasons import APPEARANCE, appearance, reasons, unusual


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(90, 166, (100, 16, 16, 3), dtype=np.uint8)


def test_looks_are_what_they_say() -> None:
    black, white = np.zeros((2, 1, 8, 8, 3), np.uint8) + np.uint8([[[[[0]]]], [[[[255]]]]])
    red = np.zeros((1, 8, 8, 3), np.uint8)
    red[..., 0] = 255
    checks = np.indices((8, 8)).sum(axis=0)[None, :, :, None] % 2 * np.uint8([255, 255, 255])
    found = dict(
        zip(APPEARANCE, appearance(np.concatenate([black, white, red, checks])).T, strict=True)
    )
    np.testing.assert_allclose(found["brightness"], [0, 1, 0.299, 0.5], atol=1e-6)
    np.testing.assert_allclose(found["contrast"], [0, 0, 0, 0.5], atol=1e-6)
    np.testing.assert_allclose(found["colour"], [0, 0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(found["detail"], [0, 0, 0, 4], atol=1e-5)


def test_grey_pictures_have_looks_too() -> None:
    assert appearance(np.full((3, 8, 8, 1), 128, np.uint8))[:, 0] == pytest.approx(128 / 255)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda image: image // 10, "dark"),
        (lambda image: 255 - (255 - image) // 10, "bright"),
        (lambda image: np.full_like(image, 128), "flat"),
        (lambda image: image * np.uint8([1, 0, 0]), "colourful"),
    ],
)
def test_what_was_changed_is_named(pixels: np.ndarray, change, word: str) -> None:
    pixels[7] = change(pixels[7])
    words = unusual(appearance(pixels))
    assert word in words[7]
    assert not any(words[:7] + words[8:])


def test_a_set_all_alike_has_nothing_unusual() -> None:
    assert unusual(appearance(np.full((50, 8, 8, 3), 77, np.uint8))) == [[]] * 50


def test_the_odd_one_is_told_by_how_far_and_how_it_appearance() -> None:
    scores = np.ones(200, np.float32)
    scores[3] = 2.5
    words = [["dark", "grey"] if row == 3 else ["bright"] for row in range(200)]
    copies = np.zeros(200, np.int64)
    copies[5], copies[6] = 1, 4
    said = reasons(scores, rank_within(scores).p_values, words, copies)
    assert said[3] == (
        "Odder than 99.5 % of the set: its nearest pictures are 2.5 times as far away as is usual "
        "here. It is unusually dark and grey."
    )
    assert said[0] == "Not odd: pictures like it are near."
    assert said[5].endswith("Another picture is nearly the same.")
    assert said[6].endswith("4 other pictures are nearly the same.")
