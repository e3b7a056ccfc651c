"""What each answer says as plain data (`--json`), whole and number by number."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from vicinal.evaluations.anomalies import Ranked, rank_beside, rank_within
from vicinal.evaluations.duplicates import find_duplicates
from vicinal.evaluations.groups import group
from vicinal.evaluations.label_probe import label_probe
from vicinal.evaluations.leaks import Pictures, leaks_between
from vicinal.evaluations.retrieval import Similar
from vicinal.evaluations.score import Score
from vicinal.evaluations.two_sets import compare_sets, two_sample
from vicinal.evaluations.wrong_labels import LEAST, WrongLabels, wrong_labels
from vicinal.representations.representations import Representations

IDS = np.array(["a", "b", "c", "d"])
SET = Representations(np.eye(4, dtype=np.float32), IDS)


def score(name: str, value: float, **other: object) -> dict[str, object]:
    """A share as `Score.to_json` has it."""
    usual = {"low": 0.0, "high": 1.0, "better": "higher", "chance": None, "seed": None}
    return {"name": name, "value": value, "interval": None, **usual, **other}


def blobs(*counts: int, apart: float = 9.0) -> tuple[np.ndarray, np.ndarray]:
    """Normal clouds (N, 6) float32 about corners, and the number of each point's."""
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(len(counts)), counts)
    centres = apart * np.eye(6)[: len(counts)]
    return (centres[classes] + rng.normal(size=(len(classes), 6))).astype(np.float32), classes


def test_wrong_labels() -> None:
    judged = Score.share("label_agreement", 1, 2, 0.5)
    found = WrongLabels(
        rows=np.array([2, 0]),
        scores=np.array([1.5, 0.25]),
        given=np.array([1, 0]),
        suggested=np.array([0, 1]),
        confidence=np.array([0.75, 0.5]),
        given_confidence=np.array([0.125, 0.5]),
        neighbours=np.array([[0, 1], [2, 3]]),
        agreeing=np.array([[True, False], [True, True]]),
        contradicted=np.array([True, False]),
        accuracy=judged,
        unjudged=2,
        class_names=("cat", "dog"),
    )
    first = {
        "rank": 1,
        "id": "c",
        "label": "dog",
        "suggested": "cat",
        "confidence": 0.75,
        "given_confidence": 0.125,
        "score": 1.5,
        "contradicted": True,
        "neighbours_agree": 1,
        "neighbours": ["a"],
    }
    second = {
        "rank": 2,
        "id": "a",
        "label": "cat",
        "suggested": "dog",
        "confidence": 0.5,
        "given_confidence": 0.5,
        "score": 0.25,
        "contradicted": False,
        "neighbours_agree": 2,
        "neighbours": ["c", "d"],
    }
    assert found.to_json(SET) == {
        "judged": 2,
        "unjudged": 2,
        "classes": ["cat", "dog"],
        "agreement": judged.to_json(),
        "contradicted": 1,
        "neighbours_asked": 2,
        "pictures": [first, second],
    }
    assert found.header(SET) == list(first)
    told = found.summary()
    assert told[0].startswith("1 of 2 labels are contradicted")
    assert "agrees with 50.0% of all labels (always the largest class: 50.0%)" in told[0]
    assert told[1].startswith("2 labels were not judged: a class needs 5")
    assert len(replace(found, unjudged=0).summary()) == 1


def test_a_class_of_exactly_enough_pictures_is_judged() -> None:
    array, classes = blobs(LEAST, LEAST, LEAST - 1)
    found = wrong_labels(array, classes, k=3)
    assert (len(found.rows), found.unjudged) == (2 * LEAST, LEAST - 1)
    assert found.accuracy.to_json() | {"interval": None} == score(
        "label_agreement", 1.0, n=2 * LEAST, chance=0.5, seed=0
    )


def test_the_label_probe() -> None:
    array, classes = blobs(6, 9, 3)
    rows = np.array([0, 1, 2, 3, 6, 7, 8, 9, 10])
    found = replace(label_probe(array, rows, classes[rows]), class_names=("x", "y"))
    plain = found.to_json(Representations(array, np.arange(18).astype(np.str_)))
    assert plain["accuracy"] | {"interval": None} == score(
        "cross_validated_accuracy", 1.0, n=9, chance=5 / 9, seed=0
    )
    assert plain["folds"] == 5
    assert plain["labels"] == {"x": 4, "y": 5}
    assert [one["id"] for one in plain["pictures"]] == ["4", "5", *map(str, range(11, 18))]
    assert [one["prediction"] for one in plain["pictures"][:6]] == ["x"] * 2 + ["y"] * 4
    assert set(plain) == {"accuracy", "folds", "labels", "pictures"}


def test_leaks() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(256, size=(5, 32, 32, 3), dtype=np.uint8)
    array = small.reshape(5, -1)[:, :8].astype(np.float32)
    names = np.array(["0", "1", "2", "3", "4"])
    train = Pictures(Representations(array[:3], names[:3]), small[:3], False)
    test = Pictures(Representations(array[[3, 1]], names[3:]), small[[3, 1]], False)
    found = leaks_between(train, test)
    assert found.to_json() == {
        "limit": found.leaks.limit,
        "warning": None,
        "tested": 2,
        "leaked": ["4"],
        "probe_accuracy": None,
        "pairs": [{"difference": 0.0, "id_a": "1", "id_b": "4"}],
    }
    assert found.header() == ["difference", "id_a", "id_b"]
    assert found.summary() == [
        "1 of 2 test pictures are copies of training pictures (1 exact, 0 nearly)"
    ]
    unread = leaks_between(replace(train, small=None, why="no pixels"), test)
    assert unread.warning() == "not sure: no pixels; look at the pairs"


def test_leaks_by_vectors_pair_each_with_its_nearest_of_the_other_set() -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(size=(40, 16)).astype(np.float32)
    copies = array[[0, 7, 39, 7]]
    first = rng.normal(size=(20, 16)).astype(np.float32)
    first[5] = first[0]  # a pair of the other set alone
    one, other = (
        Representations(rows, np.arange(len(rows)).astype(np.str_))
        for rows in (array, np.concatenate([first, copies]))
    )
    found = leaks_between(Pictures(one, None, True), Pictures(other, None, True)).leaks
    assert sorted(found.pairs.tolist()) == [[0, 20], [7, 21], [7, 23], [39, 22]]
    assert found.differences.tolist() == [0.0] * 4
    assert found.tested == 24


def test_two_sets() -> None:
    array, _ = blobs(30, 30)
    sets = [
        Representations(part, np.array([f"{name}{row}" for row in range(30)]))
        for name, part in (("l", array[:30]), ("r", array[30:]))
    ]
    found = compare_sets(*sets, names=("left", "right"), false_alarms=0.05, permutations=150)
    plain = found.to_json()
    assert plain["p_value"] == 1 / 151  # no division of them is as far apart
    assert (plain["permutations"], plain["taken"], plain["false_alarms"]) == (150, [30, 30], 0.05)
    assert plain["told_apart"] == score("told_apart", 1.0, better="lower", chance=0.5, n=60, seed=0)
    for letter, name, own, other in (("A", "left", *sets), ("B", "right", *sets[::-1])):
        side = plain[letter]
        assert (side["name"], side["pictures"], side["flagged"]) == (name, 30, 30)
        apart = np.linalg.norm(own.array[:, None] - other.array, axis=2)
        far = np.sort(apart, axis=1)[:, :2].mean(axis=1)
        within = np.linalg.norm(other.array[:, None] - other.array, axis=2)
        usual = np.median(np.sort(within, axis=1)[:, 1:3].mean(axis=1))
        order = np.argsort(-far)
        for rank, (row, one) in enumerate(zip(order, side["listed"], strict=True), 1):
            assert one["set"] == letter
            assert one["rank"] == rank
            assert one["id"] == own.ids[row]
            assert one["score"] == pytest.approx(far[row], rel=1e-5)
            assert one["times_usual"] == pytest.approx(far[row] / usual, rel=1e-5)
            assert one["p_value"] == pytest.approx(1 / 31)
            assert one["flagged"] is True
            assert one["nearest"] == other.ids[apart[row].argmin()]
    assert set(found.header()) == set(plain["A"]["listed"][0])


def test_every_permutation_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from vicinal.evaluations import two_sets

    counted: list[int] = []
    honest = two_sets._discrepancy

    def counting(kernel: np.ndarray, first: np.ndarray) -> np.ndarray:
        counted.append(first.shape[1])
        return honest(kernel, first)

    monkeypatch.setattr(two_sets, "_discrepancy", counting)
    monkeypatch.setattr(two_sets, "_BLOCK", 40)
    one, other = np.random.default_rng(0).normal(size=(2, 25, 4)).astype(np.float32)
    found = two_sample(one, other, permutations=101)
    assert counted == [1, 40, 40, 21]
    assert found.permutations == 101
    with pytest.raises(Exception, match="permutations"):
        two_sample(one, other, permutations=0)


def test_groups() -> None:
    array, classes = blobs(12, 20, 8)
    named = Representations(array, np.arange(40).astype(np.str_), classes, ("p", "q", "r"))
    found = group(named, 3)
    plain = found.to_json(named)
    clusters = plain["clusters"]
    assert [one["size"] for one in clusters] == [20, 12, 8]
    assert [one["label"] for one in clusters] == ["q", "p", "r"]
    assert [one["share"] for one in clusters] == [1.0] * 3
    exact = array.astype(np.float64)
    for one in clusters:
        rows = np.flatnonzero(found.assignment == one["cluster"])
        apart = np.linalg.norm(exact[rows] - exact[rows].mean(axis=0), axis=1)
        nearest = rows[np.argsort(apart)][: len(one["representatives"])]
        assert [each["id"] for each in one["representatives"]] == nearest.astype(str).tolist()
    tree = plain["tree"]
    assert set(tree) == {"parents", "saved"}
    assert tree["parents"] == found.tree.parents.tolist()
    assert tree["saved"] == found.tree.saved.tolist()
    # Ward: what the last joining would add, |A|·|B| / (|A| + |B|) · ‖mean A − mean B‖².
    means = [exact[classes == c].mean(axis=0) for c in range(3)]
    squares = {
        (a, b): sum(classes == a) * sum(classes == b) / sum((classes == a) | (classes == b))
        * np.square(means[a] - means[b]).sum()
        for a, b in ((0, 1), (0, 2), (1, 2))
    }  # fmt: skip
    assert tree["saved"][2] == pytest.approx(min(squares.values()), rel=1e-4)


def test_the_oddest_among_themselves_and_beside_known_ones() -> None:
    scores = np.array([3.0, 1.0, 2.0, 2.0, 9.0], np.float32)
    within = rank_within(scores, false_alarms=0.4)
    assert within.p_values.tolist() == [0.4, 1.0, 0.8, 0.8, 0.2]
    assert within.bank == 4
    known = np.array([True, True, True, True, False])
    beside = rank_beside(scores, known, false_alarms=0.3)
    assert beside.p_values[known].tolist() == [0.25, 1.0, 0.75, 0.75]
    assert beside.p_values[4] == pytest.approx(1 / 5)  # among the four known ones and itself
    assert (beside.bank, beside.threshold) == (
        4,
        rank_within(scores[:4], false_alarms=0.3).threshold,
    )
    assert beside.flagged.tolist() == [True, False, False, False, True]


def test_oddness() -> None:
    found = Ranked(
        np.array([0.5, 2.0, 1.0, 0.25], np.float32), np.array([0.5, 0.0, 0.25, 1.0]), 1.5, 3
    )
    plain = found.to_json(SET)
    assert plain["pictures"][0] == {
        "rank": 1,
        "id": "b",
        "score": 2.0,
        "p_value": 0.0,
        "flagged": True,
    }
    assert [one["id"] for one in plain["pictures"]] == ["b", "c", "a", "d"]
    del plain["pictures"]
    assert plain == {
        "threshold": 1.5,
        "flagged": 1,
        "bank": 3,
        "calibration": 0,
        "measured": None,
    }


def test_duplicates() -> None:
    array = np.eye(12, dtype=np.float32) * 10
    array[5] = array[2]
    held = Representations(array, np.array(list("abcdefghijkl")))
    plain = find_duplicates(held, 1.0).to_json(held)
    pair = {"group": 0, "distance": 0.0, "id_a": "c", "id_b": "f"}
    assert plain == {
        "threshold": 1.0,
        "median_nearest": None,
        "warning": None,
        "pairs": [pair],
        "groups": [["c", "f"]],
    }


def test_similar_as_a_table(tmp_path: Path) -> None:
    found = Similar("a", 0, np.array([2, 1]), np.array([0.5, 0.75], np.float32))
    found.save(tmp_path / "found.csv", SET)
    with (tmp_path / "found.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [["rank", "id", "distance"], ["1", "c", "0.5"], ["2", "b", "0.75"]]
    with pytest.raises(ValueError, match="zip"):
        replace(found, distances=found.distances[:1]).listed(SET)


def test_copies_count_as_often_as_they_are_there() -> None:
    """The centres of a set of many pictures lie where most pictures do, copies too."""
    from vicinal.evaluations.groups import _centres

    points = load_digits().data[:300].astype(np.float32)
    counts = np.ones(300, np.int64)
    counts[0] = 5_000
    centres, nearest = _centres(points, counts, 10, 0)
    own = nearest == nearest[0]
    assert np.linalg.norm(centres[nearest[0]] - points[0]) < 2
    means = np.average(points[own].astype(np.float64), axis=0, weights=counts[own])
    np.testing.assert_allclose(centres[nearest[0]], means, rtol=1e-4, atol=1e-3)
