"""Probes: is an image's class readable from its representation, linearly or by its neighbours?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.metrics import confusion_matrix
from torch.nn import functional

from vicinal import cores
from vicinal.errors import InputError
from vicinal.evaluations.score import Score, checked
from vicinal.evaluations.softmax import (
    Array32,
    Axes,
    answers,
    fit_softmax,
    principal_axes,
    standardisation,
)
from vicinal.representations.neighbours import nearest, unit_length
from vicinal.representations.representations import Representations

GRID = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Weights of ½‖W‖² beside the mean cross-entropy; scikit-learn's C is 1 / (N × weight)."""
FEW_LABEL_REGULARISATION = 1e-2
"""Fixed, for a handful of labels cannot choose it; on the five-a-class digits its tenth
and its tenfold differ from it by less than the spread between draws."""
_HELD_OUT = 200  # fewer images choose poorly: folds are held out in turn until it is so many


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """A classifier's answers about frozen representations of test images.

    Attributes:
        accuracy: Share of test images classified rightly, with its Wilson interval; chance is
            the share of the largest class among them: what one constant answer reaches at best.
        train_accuracy: The same of the training images.
        per_class: Array (C,) float64, recall of each class; NaN where the test set has none.
        confusion: Array (C, C) int64, test images by true class (row) and answer (column).
        predictions: Array (N,) int64, the answer for each test image.
        regularisation: Weight of ½‖W‖² beside the mean cross-entropy; None where none was used.
    """

    accuracy: Score
    train_accuracy: Score
    per_class: NDArray[np.float64]
    confusion: NDArray[np.int64]
    predictions: NDArray[np.int64]
    regularisation: float | None = None


@dataclass(frozen=True, eq=False)
class LabelledPair:
    """Labels of the two sets a probe reads, and the number of classes they come from."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    classes: int


def labelled_pair(train: Representations, test: Representations) -> LabelledPair:
    """Checks that a probe can be fitted to ``train`` and judged on ``test``.

    Raises:
        InputError: If labels are missing, classes or dimensions differ, training images show
            fewer than two classes, or a representation is not finite.
    """
    of_train, of_test = _labels(train, test)
    if train.array.shape[1] != test.array.shape[1]:
        raise InputError(
            f"the probe needs representations of one dimension, found {train.array.shape[1]} "
            f"in training and {test.array.shape[1]} in test"
        )
    if train.class_names != test.class_names:
        raise InputError(
            f"training and test images have different classes: {train.class_names} "
            f"and {test.class_names}"
        )
    checked(train.array, "the probe's training images")
    checked(test.array, "the probe's test images", least=1)
    if len(np.unique(of_train)) < 2:
        raise InputError("the probe needs at least two classes among the training images")
    classes = max(len(train.class_names), int(max(of_train.max(), of_test.max())) + 1)
    return LabelledPair(of_train, of_test, classes)


def _labels(
    train: Representations, test: Representations
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The labels of both, where every image has one."""
    found = []
    for which, one in (("training", train), ("test", test)):
        if one.labels is None:
            raise InputError(f"the probe needs labels, and the {which} images have none")
        if one.labelled_count < len(one):
            raise InputError(
                f"the probe needs labels, and {len(one) - one.labelled_count:,} of the {which} "
                "images have none; leave these out"
            )
        found.append(one.labels)
    return found[0], found[1]


def judge(
    name: str,
    labels: LabelledPair,
    train_predictions: NDArray[np.int64],
    predictions: NDArray[np.int64],
    *,
    seed: int,
    regularisation: float | None = None,
) -> ProbeResult:
    """Compares predictions (N,) int64 of both sets with their labels.

    Args:
        name: The name of the test accuracy; the training accuracy's is ``train_`` + name.
        labels: The true labels.
        train_predictions: The answers for the training images.
        predictions: The answers for the test images.
        seed: What the probe drew at random came from.
        regularisation: As in `ProbeResult`.
    """
    confusion = confusion_matrix(labels.test, predictions, labels=np.arange(labels.classes))
    members = confusion.sum(axis=1)
    per_class = np.full(labels.classes, np.nan)
    np.divide(np.diag(confusion), members, out=per_class, where=members > 0)
    return ProbeResult(
        accuracy=accuracy(name, labels.test, predictions, seed),
        train_accuracy=accuracy(f"train_{name}", labels.train, train_predictions, seed),
        per_class=per_class,
        confusion=confusion,
        predictions=predictions,
        regularisation=regularisation,
    )


def largest_class_share(labels: NDArray[np.int64]) -> float:
    """The accuracy of always answering with the commonest of ``labels`` (N,) int64."""
    return float(np.bincount(labels).max() / len(labels))


def accuracy(
    name: str, labels: NDArray[np.int64], predictions: NDArray[np.int64], seed: int
) -> Score:
    """The share of right predictions (N,) int64 of ``labels``, with its Wilson interval."""
    right = int((labels == predictions).sum())
    return Score.share(name, right, len(labels), largest_class_share(labels), seed=seed)


def converged_probe(
    train: Representations,
    test: Representations,
    *,
    holdout: float = 0.1,
    grid: Sequence[float] = GRID,
    seed: int = 0,
    device: str = "cpu",
) -> ProbeResult:
    """Multinomial logistic regression on standardised representations, run to its optimum.

    Minimises mean cross-entropy + ½·w·‖W‖² (biases free) by L-BFGS until no component of the
    preconditioned gradient exceeds 1e-5. ``w`` is the value of ``grid`` that is right most
    often on a stratified held-out part of ``train`` (on further such parts in turn until 200
    images were held out), the strongest on a tie; then all of ``train`` is fitted.
    Test images choose nothing. Standardising makes it blind to the scale of each dimension.

    Args:
        train: Labelled representations (N, F) to fit.
        test: Labelled representations (M, F) to judge on.
        holdout: Share held out, rounded to one over a whole number.
        grid: Weights of the penalty to choose from, all above 0; with one, nothing is held out.
        seed: Seed of what is held out.
        device: Where products are computed, ``cpu`` or ``cuda``; the optimum is the same.

    Returns:
        The result, its accuracy named ``probe_accuracy``.

    Raises:
        InputError: As `labelled_pair`, or if ``holdout`` or ``grid`` is out of range.
    """
    labels = labelled_pair(train, test)
    if not 0 < holdout < 1 or not grid or min(grid) <= 0:
        raise InputError(
            f"the probe needs 0 < holdout < 1 and penalties above 0, found {holdout} and {grid}"
        )
    classes, targets = np.unique(labels.train, return_inverse=True)
    standard = standardisation(train.array)
    axes = principal_axes(standard, train.array, device)
    points = axes.rotate(standard, train.array, device)
    penalty = _choose(points, targets, axes, sorted(grid, reverse=True), holdout, seed, device)
    weights = fit_softmax(points, targets, axes.variances, penalty, device=device)
    return judge(
        "probe_accuracy",
        labels,
        classes[answers(weights, points)],
        classes[answers(weights, axes.rotate(standard, test.array, device))],
        seed=seed,
        regularisation=penalty,
    )


def few_label_probe(
    train: Representations,
    test: Representations,
    *,
    per_class: int = 5,
    repeats: int = 10,
    seed: int = 0,
) -> Score:
    """Mean test accuracy of the converged regression given a few labels of each class.

    Dimensions are standardised by all training images, which needs no label; the penalty is
    `FEW_LABEL_REGULARISATION`. A class with fewer images than ``per_class`` gives all it has.

    Args:
        train: Labelled representations (N, F) to draw from.
        test: Labelled representations (M, F) to judge on.
        per_class: Labels of each class.
        repeats: Independent draws.
        seed: Seed of the draws.

    Returns:
        ``few_label_accuracy``: n counts the test images; the interval is Student's, of the
        mean over the draws (none with one draw).

    Raises:
        InputError: As `labelled_pair`, or if a count is below 1.
    """
    labels = labelled_pair(train, test)
    if per_class < 1 or repeats < 1:
        raise InputError(f"needs per_class and repeats ≥ 1, found {per_class} and {repeats}")
    standard = standardisation(train.array)
    shares = np.empty(repeats)
    classes, targets = np.unique(labels.train, return_inverse=True)
    for repeat, index in enumerate(_draws(targets, per_class, repeats, seed)):
        axes = principal_axes(standard, train.array[index])
        points = axes.rotate(standard, train.array[index])
        weights = fit_softmax(points, targets[index], axes.variances, FEW_LABEL_REGULARISATION)
        given = classes[answers(weights, axes.rotate(standard, test.array))]
        shares[repeat] = (given == labels.test).mean()
    mean = float(shares.mean())
    interval = None
    if repeats > 1:
        half = float(student.ppf(0.975, repeats - 1) * shares.std(ddof=1) / np.sqrt(repeats))
        interval = (max(0.0, mean - half), min(1.0, mean + half))
    chance, count = largest_class_share(labels.test), len(test)
    return Score("few_label_accuracy", mean, 0.0, 1.0, "higher", chance, count, seed, interval)


def _choose(
    points: Array32,
    targets: NDArray[np.int64],
    axes: Axes,
    penalties: list[float],
    holdout: float,
    seed: int,
    device: str,
) -> float:
    """The penalty that is right most often on held-out points; the first on a tie."""
    if len(penalties) == 1:
        return penalties[0]
    folds = max(2, round(1 / holdout))
    fold = stratified_folds(targets, folds, seed)
    right = np.zeros(len(penalties), np.int64)
    for held_out in range(min(folds, -(-folds * _HELD_OUT // len(targets)))):
        counted = fold != held_out
        weights = None
        for i, penalty in enumerate(penalties):  # from the strongest, each starting at the last
            weights = fit_softmax(
                points,
                targets,
                axes.variances,
                penalty,
                counted=counted,
                start=weights,
                device=device,
                tolerance=1e-4,  # moves a held-out accuracy by less than its fourth digit
            )
            right[i] += (answers(weights, points) == targets)[~counted].sum()
    return penalties[int(right.argmax())]


def stratified_folds(classes: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """The fold (N,) of each of N points, 0 to ``folds`` − 1; each has its part of every class."""
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    fold = np.empty(len(classes), np.int64)
    fold[by_class] = np.arange(len(classes)) % folds
    return fold


def _draws(
    targets: NDArray[np.int64], per_class: int, repeats: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Positions of ``per_class`` points of each class, drawn anew ``repeats`` times."""
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(targets == c) for c in range(targets.max() + 1)]
    for _ in range(repeats):
        yield np.concatenate([generator.permutation(m)[:per_class] for m in members])


def short_probe(
    train: Representations,
    test: Representations,
    *,
    epochs: int = 10,
    learning_rate: float = 3e-4,
    batch_size: int = 256,
    seed: int = 0,
    device: str = "cpu",
) -> ProbeResult:
    """Fits one linear layer to raw representations with Adam and a fixed number of epochs.

    Nothing is standardised and the optimiser stops long before it converges, so the scale of
    the representations counts: where it has collapsed, accuracy falls to chance even if classes
    can still be told apart, which ``converged_probe`` asks. The test images choose nothing.

    Args:
        train: Labelled representations (N, F) to fit.
        test: Labelled representations (M, F) to judge on.
        epochs: Passes over ``train``, each in a new order.
        learning_rate: Adam's, constant.
        batch_size: Representations a step; the last batch of an epoch may be smaller.
        seed: Seed of the layer's initial weights and of the orders.
        device: Where the layer is trained, ``cpu`` or ``cuda``, from the same weights and orders.

    Returns:
        The result, its accuracy named ``probe_accuracy_short``.

    Raises:
        InputError: As `labelled_pair`, or if a number is out of range.
    """
    labels = labelled_pair(train, test)
    if epochs < 1 or batch_size < 1 or learning_rate <= 0:
        raise InputError(
            "the short probe needs epochs and batch_size of at least 1 and a learning_rate "
            f"above 0, found {epochs}, {batch_size} and {learning_rate}"
        )
    points = _tensor(train.array).to(device)
    targets = torch.tensor(
        labels.train, device=device
    )  # a copy: what was read from a file is not writable
    with torch.random.fork_rng(devices=[]):  # leaves the caller's generator as it was
        torch.manual_seed(seed)
        layer = torch.nn.Linear(points.shape[1], labels.classes).to(device)
    adam = torch.optim.Adam(layer.parameters(), lr=learning_rate, fused=True)
    with cores.at_most(1):
        for epoch in range(epochs):
            order = np.random.default_rng((seed, epoch)).permutation(len(points))
            for batch in torch.split(torch.from_numpy(order).to(device), batch_size):
                adam.zero_grad(set_to_none=True)
                loss = functional.cross_entropy(layer(points[batch]), targets[batch])
                loss.backward()  # type: ignore[no-untyped-call]
                adam.step()
    return judge(
        "probe_accuracy_short",
        labels,
        _answers(layer, points),
        _answers(layer, _tensor(test.array).to(device)),
        seed=seed,
    )


def _tensor(array: NDArray[np.float32]) -> torch.Tensor:
    # A copy where the array is read-only, as a memory map is: torch warns about those.
    writeable = np.require(array, dtype=np.float32, requirements=["C", "W"])
    return torch.from_numpy(writeable)


@torch.no_grad()
def _answers(layer: torch.nn.Linear, points: torch.Tensor) -> NDArray[np.int64]:
    answers: NDArray[np.int64] = layer(points).argmax(dim=1).cpu().numpy()
    return answers


@dataclass(frozen=True, eq=False)
class KnnResult:
    """The k-NN probe at one k.

    Attributes:
        k: Neighbours that voted, at most the number of training images.
        accuracy: Share of the test images whose class was voted for.
        predictions: Array (N,) int64, the class voted for each test image.
    """

    k: int
    accuracy: Score
    predictions: NDArray[np.int64]


def knn_probe(
    train: Representations,
    test: Representations,
    *,
    k: Sequence[int] = (20, 200),
    temperature: float = 0.07,
    device: str = "cpu",
) -> tuple[KnnResult, ...]:
    """Classifies test images by a weighted vote of their nearest training images.

    Wu et al., CVPR 2018, section 3.4: the k nearest by cosine similarity s vote for their
    class with weight exp(s / temperature). Equal votes go to the first class.

    Args:
        train: The images that vote, with labels.
        test: The images to classify, with labels of the same classes.
        k: Numbers of neighbours; one above the training images is lowered to them.
        temperature: Above 0; the lower, the more the nearest outweigh the rest.
        device: Where neighbours are searched, ``cpu`` or ``cuda``.

    Returns:
        A result for each distinct k, rising; chance is 1 / classes.

    Raises:
        InputError: If labels are missing, classes differ or a number is out of range.
    """
    of_train, of_test = _labels(train, test)
    if train.class_names != test.class_names:
        raise InputError("k-NN probe: training and test images must have the same class names")
    if not k or min(k) < 1 or not temperature > 0:
        raise InputError(
            f"k-NN probe: k={tuple(k)} must be 1 or more, temperature={temperature} above 0"
        )
    if len(train) == 0 or len(test) == 0:
        raise InputError(f"k-NN probe: {len(train)} training and {len(test)} test images")
    ks = sorted({min(each, len(train)) for each in k})
    found = nearest(unit_length(test.array), unit_length(train.array), ks[-1], device=device)
    similarity = 1 - found.distances.astype(np.float64) ** 2 / 2
    # Dividing a query's weights by its greatest changes no vote and cannot overflow.
    weights = np.exp((similarity - similarity[:, :1]) / temperature)
    voters, classes = of_train[found.indices], len(test.class_names)
    return tuple(_result(each, weights, voters, of_test, classes) for each in ks)


def _result(
    k: int,
    weights: NDArray[np.float64],
    voters: NDArray[np.int64],
    labels: NDArray[np.int64],
    classes: int,
) -> KnnResult:
    """The vote of the first k of the neighbours' weights and classes (N, K)."""
    count = len(labels)
    ballot = np.arange(count)[:, None] * classes + voters[:, :k]
    votes = np.bincount(ballot.ravel(), weights[:, :k].ravel(), minlength=count * classes)
    predictions = votes.reshape(count, classes).argmax(axis=1)
    right = int((predictions == labels).sum())
    share = Score.share(f"knn_accuracy_k{k}", right, count, 1 / classes)
    return KnnResult(k=k, accuracy=share, predictions=predictions)


@dataclass(frozen=True, eq=False)
class GroupAccuracy:
    """How a probe does on one group of classes; the three scores add up to 1.

    Attributes:
        name: The group, such as ``vehicles``.
        accuracy: Share of the group's images given their own class.
        confused_within: Share given another class of the same group.
        confused_between: Share given a class outside the group.
    """

    name: str
    accuracy: Score
    confused_within: Score
    confused_between: Score


def group_accuracy(
    confusion: NDArray[np.int64], groups: Sequence[tuple[str, Sequence[int]]]
) -> list[GroupAccuracy]:
    """Accuracy and confusion rates of groups of classes.

    Chance is what answering at random, every class equally often, would give; a group with
    more classes has more of its confusion within, which the chance values make visible.

    Args:
        confusion: Array (C, C) int64, images by true class (row) and answer (column).
        groups: A name and the positions of its classes for each group.

    Returns:
        One result a group, in the same order.

    Raises:
        InputError: If a class is not there, is in two groups, or a group has no images.
    """
    members = [position for _, positions in groups for position in positions]
    if len(set(members)) < len(members):
        raise InputError("groups of classes overlap; put each class in one group")
    if members and not 0 <= min(members) <= max(members) < len(confusion):
        raise InputError(
            f"groups of classes name {min(members)} to {max(members)}, "
            f"but there are {len(confusion)} classes"
        )
    return [_group(confusion, name, list(positions)) for name, positions in groups]


def _group(confusion: NDArray[np.int64], name: str, positions: list[int]) -> GroupAccuracy:
    rows = confusion[positions]
    total = int(rows.sum())
    if total == 0:
        raise InputError(f"group {name!r} has no test images; leave it out")
    right = int(confusion[positions, positions].sum())
    inside = int(rows[:, positions].sum())
    classes, size = len(confusion), len(positions)
    within, between = (size - 1) / classes, (classes - size) / classes
    return GroupAccuracy(
        name=name,
        accuracy=Score.share(f"{name}_accuracy", right, total, 1 / classes),
        confused_within=Score.share(
            f"{name}_confused_within", inside - right, total, within, better="lower"
        ),
        confused_between=Score.share(
            f"{name}_confused_between", total - inside, total, between, better="lower"
        ),
    )
