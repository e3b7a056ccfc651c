import colorsys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import pairwise_distances

from vicinal.errors import InputError
from vicinal.evaluations.retrieval import (
    colour_gap,
    one_query_per_class,
    retrieve,
    similar,
    write_grid,
)
from vicinal.representations.representations import Representations

CLASSES = ("a", "b", "c")


def images(
    array: NDArray[np.floating], labels: NDArray[np.int64] | None = None, name: str = "test"
) -> Representations:
    return Representations(
        array=array.astype(np.float32),
        ids=np.array([f"{name}/{row}" for row in range(len(array))]),
        labels=labels,
        class_names=CLASSES if labels is not None else (),
    )


def random_images(seed: int, count: int, name: str = "test") -> Representations:
    generator = np.random.default_rng(seed)
    array = generator.standard_normal((count, 5))
    return images(array, generator.integers(0, 3, count), name)


def test_finds_what_a_sort_of_all_distances_finds() -> None:
    queries, gallery = random_images(0, 40), random_images(1, 90, "train")
    shown = np.array([3, 0, 17])
    result = retrieve(queries, gallery, k=4, shown=shown)
    assert result.query_ids.tolist() == ["test/3", "test/0", "test/17"]
    distance = pairwise_distances(queries.array.astype(float), gallery.array.astype(float))
    order = np.argsort(distance, axis=1)
    assert queries.labels is not None
    assert gallery.labels is not None
    for end, best in ((result.nearest, order[:, :4]), (result.farthest, order[:, ::-1][:, :4])):
        np.testing.assert_array_equal(end.indices, best[shown])
        np.testing.assert_allclose(
            end.distances, np.take_along_axis(distance[shown], best[shown], axis=1), rtol=1e-5
        )
        assert end.ids.tolist() == [[f"train/{row}" for row in rows] for rows in best[shown]]
        same = gallery.labels[best] == queries.labels[:, None]
        assert end.precision is not None
        assert end.precision_per_class is not None
        assert end.precision.value == pytest.approx(same.mean())
        assert end.precision.n == 40
        for number in range(3):
            own = same[queries.labels == number].mean()
            assert end.precision_per_class[number] == pytest.approx(own)
        counts = np.bincount(best.ravel(), minlength=90)
        assert end.hubness.value == pytest.approx(scipy.stats.skew(counts))
    assert result.nearest.precision is not None
    assert result.farthest.precision is not None
    assert result.nearest.precision.name == "nearest_precision_at_4"
    assert result.farthest.precision.better == "neither"


def test_perfect_where_classes_lie_apart() -> None:
    labels = np.repeat(np.arange(3), 20)
    noise = np.random.default_rng(0).standard_normal((60, 3)) / 10
    found = retrieve(
        images(10 * np.eye(3)[labels] + noise, labels),
        images(10 * np.eye(3)[labels] - noise, labels),
        shown=np.array([0]),
    )
    assert found.nearest.precision is not None
    assert found.farthest.precision is not None
    assert found.nearest.precision.value == 1.0
    assert found.farthest.precision.value == 0.0
    assert found.nearest.precision_per_class is not None
    assert found.nearest.precision_per_class.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("exclude_self", [False, True])
def test_chance_is_what_random_representations_reach(exclude_self: bool) -> None:
    generator = np.random.default_rng(0)
    labels = generator.choice(3, size=1500, p=[0.6, 0.3, 0.1])
    queries = images(generator.standard_normal((1500, 4)), labels)
    gallery = queries
    if not exclude_self:
        gallery = images(generator.standard_normal((1500, 4)), generator.permutation(labels))
    found = retrieve(queries, gallery, k=5, shown=np.array([0]), exclude_self=exclude_self)
    shares = np.bincount(labels) / 1500
    for end in (found.nearest, found.farthest):
        assert end.precision is not None
        assert end.precision.chance == pytest.approx((shares**2).sum(), abs=1e-3)
    assert found.nearest.precision is not None
    assert found.nearest.precision.value == pytest.approx((shares**2).sum(), abs=0.03)


def test_an_image_is_not_its_own_neighbour() -> None:
    queries = random_images(0, 30)
    found = retrieve(queries, queries, k=3, shown=np.arange(30), exclude_self=True)
    assert not (found.nearest.indices == np.arange(30)[:, None]).any()
    alone = retrieve(queries, queries, k=3, shown=np.arange(30))
    assert alone.nearest.indices[:, 0].tolist() == list(range(30))


def test_hubness_of_a_hub_and_of_none() -> None:
    # The origin is nearest to every corner of a small cube; the farthest is the opposite corner.
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * 1.0
    gallery = np.concatenate([np.zeros((1, 3)), corners * 100])
    hub = retrieve(images(corners), images(gallery), k=1, shown=np.array([0]))
    assert hub.nearest.hubness.value == pytest.approx(scipy.stats.skew([8] + [0] * 8))
    assert hub.farthest.hubness.value == pytest.approx(scipy.stats.skew([0] + [1] * 8))
    even = retrieve(images(corners), images(corners), k=1, shown=np.array([0]))
    assert even.nearest.hubness.value == 0.0
    assert even.nearest.hubness.better == "lower"


def test_chance_of_hubness_is_that_of_random_choice() -> None:
    generator = np.random.default_rng(0)
    found = retrieve(
        images(generator.random((300, 2))), images(generator.random((100, 2))), k=4,
        shown=np.array([0]),
    )  # fmt: skip
    skew = scipy.stats.binom(300, 4 / 100).stats(moments="s")
    assert found.nearest.hubness.chance == pytest.approx(float(skew))


def test_chance_of_hubness_leaves_an_image_itself_out() -> None:
    """Each of the others draws k of all but itself: 59 trials of 4 / 59."""
    some = images(np.random.default_rng(0).random((60, 2)))
    found = retrieve(some, some, k=4, shown=np.array([0]), exclude_self=True)
    skew = scipy.stats.binom(59, 4 / 59).stats(moments="s")
    assert found.nearest.hubness.chance == pytest.approx(float(skew))
    assert found.nearest.hubness.to_json() | {"value": 0, "chance": 0} == {
        "name": "nearest_hubness",
        "value": 0,
        "low": None,
        "high": None,
        "better": "lower",
        "chance": 0,
        "n": 60,
        "seed": None,
        "interval": None,
    }
    assert found.farthest.hubness.name == "farthest_hubness"


def test_a_query_of_all_images_leaves_nothing_to_chance() -> None:
    some = images(np.random.default_rng(0).random((5, 2)))
    found = retrieve(some, some, k=5, shown=np.array([3]))
    assert found.nearest.hubness.chance == 0
    assert found.shown.tolist() == [3]
    assert found.query_ids.tolist() == ["test/3"]


def test_a_class_with_one_query_has_its_precision() -> None:
    array = np.array([[0.0], [1.0], [10.0], [11.0]])
    found = retrieve(
        images(array[[0, 3]], np.array([0, 1])),
        images(array, np.array([0, 0, 1, 0])),
        k=2,
        shown=np.array([0, 1]),
    )
    assert found.nearest.precision_per_class is not None
    assert found.nearest.precision_per_class[:2].tolist() == [1.0, 0.5]
    assert np.isnan(found.nearest.precision_per_class[2])


def photographs(folder: Path) -> Representations:
    """Three pictures, twice as wide as high, in colours of their own."""
    folder.mkdir()
    paths = []
    for number, colour in enumerate(((200, 0, 0), (0, 200, 0), (0, 0, 200))):
        picture = np.zeros((40, 80, 3), np.uint8)
        picture[:] = colour
        paths.append(str(folder / f"{number}.png"))
        Image.fromarray(picture).save(paths[-1])
    ids = np.array(["0.png", "1.png", "2.png"])
    return Representations(np.eye(3, dtype=np.float32), ids, paths=np.array(paths))


def test_a_grid_shows_each_picture_over_its_caption(tmp_path: Path) -> None:
    held = photographs(tmp_path / "photos")
    write_grid(tmp_path / "grid.png", held, 2, [0, 1], ["query", "Ḁ日本", "b"])
    sheet = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB"))
    assert sheet.shape == (128 + 16 + 2 * 4, 3 * (128 + 4) + 4, 3)
    for place, colour in enumerate(((0, 0, 200), (200, 0, 0), (0, 200, 0))):
        tile = sheet[4:132, 4 + 132 * place :][:, :128]
        assert np.abs(tile[32:96].astype(int) - colour).max() <= 2  # all of it
        assert (tile[:31] == 255).all()
        assert (tile[97:] == 255).all()
        below = sheet[134:150, 4 + 132 * place :][:, :128]
        assert (below < 128).any()
    assert (sheet[2, 60] == (255, 0, 0)).all()  # a red frame about the query
    assert (sheet[2, 200] == 255).all()
    write_grid(tmp_path / "grid.png", held, Path(held.paths[1]), [0], ["from a file", "a"])
    sheet = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB"))
    assert np.abs(sheet[70, 70].astype(int) - (0, 200, 0)).max() <= 2
    with pytest.raises(ValueError, match="zip"):
        write_grid(tmp_path / "grid.png", held, 0, [1], ["one caption too few"])
    bare = Representations(held.array, held.ids)
    with pytest.raises(InputError, match="grid: the embeddings say neither paths nor a source"):
        write_grid(tmp_path / "grid.png", bare, 0, [1], ["a", "b"])


def test_what_is_nowhere_is_named_with_what_is_like_it(tmp_path: Path) -> None:
    held = photographs(tmp_path / "photos")
    with pytest.raises(InputError, match=r"^2.pn: neither an id .*; did you mean 2.png\?$"):
        similar(held, "2.pn")
    with pytest.raises(InputError, match=r"^xyz: neither an id .*; ids look like 0.png$"):
        similar(held, "xyz")
    (tmp_path / "other.png").write_bytes((tmp_path / "photos" / "0.png").read_bytes())
    with pytest.raises(InputError, match="name the encoder's run by encoder"):
        similar(held, str(tmp_path / "other.png"))
    assert similar(held, held.paths[1], k=2).query == "1.png"
    assert similar(held, "1.png", k=2).listed(held)[0]["rank"] == 1


def test_without_labels_there_are_pictures_and_no_precision() -> None:
    bare = images(np.random.default_rng(0).random((9, 2)))
    found = retrieve(bare, bare, k=2, shown=np.array([1]))
    assert found.nearest.precision is None
    assert found.nearest.precision_per_class is None
    assert found.nearest.indices.shape == (1, 2)


def test_a_class_without_queries_has_no_precision() -> None:
    queries = images(np.random.default_rng(0).random((4, 2)), np.array([0, 0, 2, 2]))
    found = retrieve(queries, queries, k=2, shown=np.array([0]))
    assert found.nearest.precision_per_class is not None
    assert np.isnan(found.nearest.precision_per_class).tolist() == [False, True, False]


def test_draws_one_query_of_each_class_whatever_the_representations() -> None:
    queries = random_images(0, 50)
    assert queries.labels is not None
    drawn = one_query_per_class(queries, seed=3)
    assert queries.labels[drawn].tolist() == [0, 1, 2]
    other = images(queries.array * -2, queries.labels)
    assert one_query_per_class(other, seed=3).tolist() == drawn.tolist()
    assert len({tuple(one_query_per_class(queries, seed=seed)) for seed in range(20)}) > 5
    without_b = queries.take(np.flatnonzero(queries.labels != 1))
    assert without_b.labels is not None
    assert without_b.labels[one_query_per_class(without_b)].tolist() == [0, 2]


def test_draws_some_queries_without_labels() -> None:
    bare = images(np.zeros((30, 2)))
    drawn = one_query_per_class(bare, seed=1)
    assert len(set(drawn.tolist())) == 10
    assert one_query_per_class(bare, seed=1).tolist() == drawn.tolist()
    assert len(one_query_per_class(bare, n_without_labels=4)) == 4
    assert len(one_query_per_class(bare.take(np.arange(3)))) == 3


def test_colour_gap_agrees_with_colorsys() -> None:
    generator = np.random.default_rng(0)
    queries = generator.integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    others = generator.integers(0, 100, (3, 2, 4, 4, 3), dtype=np.uint8)

    def means(image: NDArray[np.uint8]) -> NDArray[np.float64]:
        pixels = [colorsys.rgb_to_hsv(*(pixel / 255)) for pixel in image.reshape(-1, 3)]
        return np.array(pixels)[:, 1:].mean(axis=0)

    gaps = [
        np.abs(means(query) - means(other))
        for query, row in zip(queries, others, strict=True)
        for other in row
    ]
    saturation, brightness = colour_gap(queries, others)
    assert saturation.name == "saturation_gap"
    assert brightness.name == "brightness_gap"
    assert saturation.value == pytest.approx(np.mean(gaps, axis=0)[0])
    assert brightness.value == pytest.approx(np.mean(gaps, axis=0)[1])
    assert saturation.n == brightness.n == 6


def test_colour_gap_of_pure_colours() -> None:
    red = np.zeros((1, 2, 2, 3), np.uint8)
    red[..., 0] = 255
    black, white = np.zeros((1, 1, 2, 2, 3), np.uint8), np.full((1, 1, 2, 2, 3), 255, np.uint8)
    assert [gap.value for gap in colour_gap(red, red[None])] == [0.0, 0.0]
    assert [gap.value for gap in colour_gap(red, white)] == [1.0, 0.0]
    assert [gap.value for gap in colour_gap(red, black)] == [1.0, 1.0]


def test_grey_images_have_no_saturation() -> None:
    grey = np.full((1, 2, 2, 1), 51, np.uint8)
    saturation, brightness = colour_gap(grey, np.full((1, 3, 2, 2, 1), 255, np.uint8))
    assert saturation.value == 0.0
    assert brightness.value == pytest.approx(0.8)


def test_refuses_in_one_line() -> None:
    queries = random_images(0, 4)
    with pytest.raises(InputError, match="k=5 neighbours but only 4 images"):
        retrieve(queries, queries, shown=np.array([0]))
    with pytest.raises(InputError, match="no queries"):
        retrieve(queries.take(np.empty(0, np.int64)), queries, k=1, shown=np.empty(0, np.int64))
    other = Representations(queries.array, queries.ids, queries.labels, ("x", "y", "z"))
    with pytest.raises(InputError, match="same class names"):
        retrieve(queries, other, k=1, shown=np.array([0]))
    with pytest.raises(InputError, match="colour gap"):
        colour_gap(np.zeros((2, 3, 3, 3), np.uint8), np.zeros((2, 3, 3, 3), np.uint8))


def test_a_picture_is_found_by_the_name_that_a_shell_hands_on() -> None:
    ids = np.array([r"bad\xff.png", "good.png", r"bad\x5cxff.png"])
    whole = Representations(np.eye(3, dtype=np.float32), ids)
    assert similar(whole, "bad\udcff.png", k=1).row == 0
    assert similar(whole, r"bad\xff.png", k=1).row == 0  # an id as it is listed
    assert similar(whole, r"bad\x5cxff.png", k=1).row == 2
