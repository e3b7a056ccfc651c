"""The two probe protocols against scikit-learn, on perfect and on chance cases."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from vicinal.errors import InputError
from vicinal.evaluations.probe import converged_probe, few_label_probe, short_probe
from vicinal.representations.representations import Representations

Array = NDArray[np.float32]


def representations(array: Array, labels: NDArray[np.int64] | None) -> Representations:
    names = () if labels is None else tuple(str(i) for i in range(labels.max() + 1))
    return Representations(
        array.astype(np.float32), np.arange(len(array)).astype(np.str_), labels, names
    )


def blobs(count: int, seed: int, spread: float = 0.1) -> Representations:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    centres = np.eye(4, 6)
    return representations(centres[labels] + spread * rng.normal(size=(count, 6)), labels)


def noise(count: int, seed: int) -> Representations:
    rng = np.random.default_rng(seed)
    return representations(rng.normal(size=(count, 5)), np.arange(count) % 4)


def digits() -> tuple[Representations, Representations]:
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    pixels, labels = pixels[order].astype(np.float32), labels[order].astype(np.int64)
    return representations(pixels[:1000], labels[:1000]), representations(
        pixels[1000:], labels[1000:]
    )


def test_separable_classes_are_read_off() -> None:
    result = converged_probe(blobs(400, 0), blobs(200, 1))
    assert result.accuracy.value == 1.0
    assert result.per_class.tolist() == [1.0] * 4
    np.testing.assert_array_equal(result.confusion, np.diag([50] * 4))
    assert result.accuracy.chance == 0.25
    assert result.accuracy.n == 200


def test_labels_that_say_nothing_give_chance() -> None:
    result = converged_probe(noise(2000, 0), noise(2000, 1))
    assert result.accuracy.value == pytest.approx(0.25, abs=0.04)
    assert result.accuracy.interval is not None
    low, high = result.accuracy.interval
    assert low < result.accuracy.value < high


@pytest.mark.parametrize("weight", [1e-3, 1e-1])
def test_agrees_with_scikit_learn_at_the_same_penalty(weight: float) -> None:
    train, test = digits()
    ours = converged_probe(train, test, grid=[weight])
    scaler = StandardScaler().fit(train.array)
    judge = LogisticRegression(C=1 / (len(train) * weight), max_iter=5000, tol=1e-8)
    judge.fit(scaler.transform(train.array), train.labels)
    theirs = judge.predict(scaler.transform(test.array))
    assert np.mean(ours.predictions == theirs) > 0.998


def test_the_penalty_is_chosen_on_held_out_training_images_only() -> None:
    train, test = digits()
    shuffled = representations(test.array, np.roll(test.labels, 1))  # type: ignore[arg-type]
    one, other = converged_probe(train, test), converged_probe(train, shuffled)
    assert one.regularisation == other.regularisation
    np.testing.assert_array_equal(one.predictions, other.predictions)


def test_a_collapse_of_scale_hides_from_the_converged_probe_and_not_from_the_short_one() -> None:
    def scaled(factor: float) -> tuple[Representations, Representations]:
        train, test = blobs(400, 0), blobs(400, 1)
        return (
            representations(train.array * factor, train.labels),
            representations(test.array * factor, test.labels),
        )

    for factor in (1.0, 1e-3):
        assert converged_probe(*scaled(factor)).accuracy.value == 1.0
    whole = short_probe(*scaled(10.0), epochs=30, learning_rate=1e-2).accuracy.value
    collapsed = short_probe(*scaled(1e-3), epochs=30, learning_rate=1e-2).accuracy.value
    assert whole > 0.95
    assert collapsed < 0.6


def test_the_short_probe_is_the_same_for_the_same_seed() -> None:
    pair = blobs(300, 0), blobs(300, 1)
    one, same = short_probe(*pair, seed=3), short_probe(*pair, seed=3)
    np.testing.assert_array_equal(one.predictions, same.predictions)
    assert one.accuracy.name == "probe_accuracy_short"


def test_constant_dimensions_change_nothing() -> None:
    def padded(count: int, seed: int) -> Representations:
        plain = blobs(count, seed, spread=0.6)
        constant = np.full((count, 3), 7.0, np.float32)
        return representations(np.hstack([plain.array, constant]), plain.labels)

    plain = converged_probe(blobs(400, 0, 0.6), blobs(400, 1, 0.6))
    np.testing.assert_array_equal(
        plain.predictions, converged_probe(padded(400, 0), padded(400, 1)).predictions
    )


def test_few_labels_are_fewer_than_all_of_them() -> None:
    train, test = digits()
    few = few_label_probe(train, test, per_class=5, repeats=5)
    assert 0.7 < few.value < converged_probe(train, test).accuracy.value
    assert few.value == few_label_probe(train, test, per_class=5, repeats=5).value
    assert few_label_probe(blobs(400, 0), blobs(200, 1)).value > 0.95


def test_what_cannot_be_probed_is_refused() -> None:
    unlabelled = representations(np.zeros((10, 3), np.float32), None)
    for probe in (converged_probe, short_probe, few_label_probe):
        with pytest.raises(InputError, match="labels"):
            probe(unlabelled, unlabelled)  # type: ignore[operator]
    one_class = representations(np.ones((10, 3), np.float32), np.zeros(10, np.int64))
    with pytest.raises(InputError, match="two classes"):
        converged_probe(one_class, one_class)
