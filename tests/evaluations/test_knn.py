import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from vicinal.errors import InputError
from vicinal.evaluations.probe import knn_probe
from vicinal.representations.representations import Representations

CLASSES = ("a", "b", "c", "d")


def labelled(array: NDArray[np.floating], labels: NDArray[np.int64] | None) -> Representations:
    return Representations(
        array=array.astype(np.float32),
        ids=np.arange(len(array)).astype(np.str_),
        labels=labels,
        class_names=CLASSES if labels is not None else (),
    )


def blobs(generator: np.random.Generator, count: int, spread: float = 1.0) -> Representations:
    labels = generator.integers(0, 4, count)
    noise = generator.standard_normal((count, 6)) * spread
    return labelled(3 * np.eye(4, 6)[labels] + noise, labels)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.sampled_from([0.05, 0.5, 10.0]))
def test_votes_as_scikit_learn_does(seed: int, k: int, temperature: float) -> None:
    generator = np.random.default_rng(seed)
    train, test = blobs(generator, 80, 2), blobs(generator, 40, 2)
    outside = KNeighborsClassifier(
        n_neighbors=k,
        metric="cosine",
        algorithm="brute",
        weights=lambda distance: np.exp((1 - distance) / temperature),
    ).fit(train.array.astype(np.float64), train.labels)
    votes = outside.predict_proba(test.array.astype(np.float64))
    (result,) = knn_probe(train, test, k=[k], temperature=temperature)
    best = np.sort(votes, axis=1)
    clear = best[:, -1] - best[:, -2] > 1e-5  # rounding may decide what is a tie
    expected = outside.classes_[votes.argmax(axis=1)]
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(result.predictions[clear], expected[clear])
    assert result.accuracy.value == (result.predictions == test.labels).mean()
    assert result.predictions.dtype == np.int64


def test_perfect_where_classes_lie_apart() -> None:
    generator = np.random.default_rng(0)
    train, test = blobs(generator, 200, 0.1), blobs(generator, 100, 0.1)
    for result in knn_probe(train, test, k=(1, 20)):
        assert result.accuracy.value == 1.0
        assert (result.accuracy.low, result.accuracy.high) == (0.0, 1.0)
        assert result.accuracy.better == "higher"
        assert result.accuracy.n == 100


def test_chance_where_representations_say_nothing() -> None:
    generator = np.random.default_rng(0)
    train, test = (
        labelled(generator.standard_normal((count, 8)), generator.integers(0, 4, count))
        for count in (2000, 2000)
    )
    (result,) = knn_probe(train, test, k=[20])
    assert result.accuracy.chance == 0.25
    assert result.accuracy.value == pytest.approx(0.25, abs=0.04)


def test_direction_counts_and_length_does_not() -> None:
    generator = np.random.default_rng(0)
    train, test = blobs(generator, 100), blobs(generator, 50)
    stretched = labelled(test.array * generator.uniform(0.01, 100, (50, 1)), test.labels)
    (one,), (other,) = knn_probe(train, test, k=[9]), knn_probe(train, stretched, k=[9])
    np.testing.assert_array_equal(one.predictions, other.predictions)


def test_a_near_image_outvotes_two_farther_ones_at_a_low_temperature() -> None:
    train = labelled(np.array([[1, 0.0], [0.5, 0.8], [0.5, -0.8]]), np.array([0, 1, 1]))
    test = labelled(np.array([[1, 0.0]]), np.array([0]))
    assert knn_probe(train, test, k=[3], temperature=0.07)[0].predictions.tolist() == [0]
    assert knn_probe(train, test, k=[3], temperature=100)[0].predictions.tolist() == [1]
    # A temperature whose weights overflow or vanish unscaled.
    assert knn_probe(train, test, k=[3], temperature=1e-4)[0].predictions.tolist() == [0]


def test_every_k_is_as_if_asked_alone_and_none_above_the_training_images() -> None:
    generator = np.random.default_rng(0)
    train, test = blobs(generator, 50, 2), blobs(generator, 30, 2)
    together = knn_probe(train, test, k=(200, 7, 100))
    assert [result.k for result in together] == [7, 50]
    assert [result.accuracy.name for result in together] == ["knn_accuracy_k7", "knn_accuracy_k50"]
    for result in together:
        (alone,) = knn_probe(train, test, k=[result.k])
        np.testing.assert_array_equal(result.predictions, alone.predictions)


def test_a_collapsed_representation_of_zeros_is_classified_all_the_same() -> None:
    generator = np.random.default_rng(0)
    train, test = (
        labelled(np.zeros((count, 3)), generator.integers(0, 4, count)) for count in (9, 5)
    )
    assert len(knn_probe(train, test)[0].predictions) == 5


def test_refuses_in_one_line() -> None:
    generator = np.random.default_rng(0)
    train, test = blobs(generator, 20), blobs(generator, 10)
    bare = labelled(test.array, None)
    with pytest.raises(InputError, match="needs labels"):
        knn_probe(train, bare)
    with pytest.raises(InputError, match="needs labels"):
        knn_probe(bare, test)
    some = labelled(test.array, np.where(np.arange(10) < 4, -1, test.labels))
    with pytest.raises(InputError, match="4 of the test images have none; leave these out"):
        knn_probe(train, some)
    other = Representations(test.array, test.ids, test.labels, ("x", "y", "z", "w"))
    with pytest.raises(InputError, match="same class names"):
        knn_probe(train, other)
    with pytest.raises(InputError, match=r"k=\(0,\) must be 1 or more"):
        knn_probe(train, test, k=[0])
    with pytest.raises(InputError, match="temperature=0"):
        knn_probe(train, test, temperature=0)
    with pytest.raises(InputError, match="0 training and 10 test"):
        knn_probe(train.take(np.empty(0, np.int64)), test)
