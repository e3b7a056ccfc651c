"""Each claim can hold, can fail, and says why where it cannot be measured."""

from copy import deepcopy
from typing import Any

import pytest

from vicinal.study.claims import claims_over_seeds, judge

COLLAPSED = {"rankme": 3.0, "top2_share": 0.99, "std_mean": 0.01, "probe_accuracy": 0.2}
SYSTEMS: dict[str, Any] = {
    "S1": {"rankme": 40.0},
    "S2": {"tsne": {"class_agreement": 0.8}, "pca": {"class_agreement": 0.5}},
    "S3": {
        "probe_accuracy": 0.7,
        "groups": {
            "accuracy, vehicles": 0.8,
            "accuracy, animals": 0.6,
            "confused within vehicles": 0.1,
            "confused within animals": 0.3,
        },
    },
    "S4": COLLAPSED | {"reference": {"rankme": 40.0, "top2_share": 0.2, "std_mean": 1.0}},
    "S5": {"probe_accuracy": 0.5, "mined_other_class": 0.6},
    "S6": {"probe_accuracy": 0.2, "class_agreement": 0.2, "reference_class_agreement": 0.8},
    "S7": {
        "generated": {"precision_at_k": 0.6, "saturation_gap": 0.1, "brightness_gap": 0.2},
        "mined": {"precision_at_k": 0.4, "saturation_gap": 0.2, "brightness_gap": 0.4},
    },
    "S8": {
        "generated": {"auroc": 0.93, "top_classes": ["1", "7"]},
        "mined": {"auroc": 0.96, "top_classes": ["0"]},
    },
    "S9": {
        "generated": {"silhouette": 0.1, "nmi": 0.5, "ari": 0.4, "matched_accuracy": 0.5},
        "mined": {"silhouette": 0.2, "nmi": 0.3, "ari": 0.2, "matched_accuracy": 0.3},
    },
}


def test_all_nine_hold_on_figures_like_the_studys() -> None:
    claims = judge(SYSTEMS)
    assert [claim["id"] for claim in claims] == list(range(1, 10))
    assert all(claim["holds"] is True for claim in claims)
    assert all(claim["figures"] and claim["why"] for claim in claims)


@pytest.mark.parametrize(
    ("number", "path", "value"),
    [
        (1, ("S2", "tsne", "class_agreement"), 0.4),
        (2, ("S3", "groups", "accuracy, animals"), 0.9),
        (2, ("S3", "groups", "confused within vehicles"), 0.5),
        (3, ("S4", "rankme"), 30.0),
        (3, ("S4", "top2_share"), 0.1),
        (4, ("S5", "probe_accuracy"), 0.8),
        (5, ("S6", "probe_accuracy"), 0.8),
        (5, ("S6", "class_agreement"), 0.9),
        (6, ("S7", "mined", "precision_at_k"), 0.7),
        (7, ("S7", "mined", "brightness_gap"), 0.0),
        (8, ("S8", "mined", "auroc"), 0.9),
        (9, ("S9", "mined", "ari"), 0.9),
        (9, ("S9", "mined", "silhouette"), 0.0),
    ],
)
def test_each_fails_on_the_opposite_figure_and_no_other_does(
    number: int, path: tuple[str, ...], value: float
) -> None:
    systems = deepcopy(SYSTEMS)
    place = systems
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert [claim["id"] for claim in judge(systems) if claim["holds"] is False] == [number]


def test_without_labels_or_anomalies_claims_say_so() -> None:
    systems = deepcopy(SYSTEMS)
    del systems["S3"]["groups"]
    systems["S8"] = {"skipped": "no anomaly set"}
    systems["S2"]["tsne"] = {"class_agreement": None, "needs": "labels"}
    systems["S5"] = {"probe_accuracy": None, "mined_other_class": None, "needs": "two classes"}
    systems["S9"]["mined"]["nmi"] = None
    claims = {claim["id"]: claim for claim in judge(systems)}
    for number, reason in (
        (1, "needs labels"),
        (2, "vehicles and animals"),
        (4, "needs two classes"),
        (8, "no anomaly set"),
        (9, "a figure is missing"),
    ):
        assert claims[number]["holds"] is None
        assert reason in claims[number]["why"]
    assert claims[3]["holds"] is True


def test_over_seeds_a_claim_must_hold_for_every_seed() -> None:
    other = deepcopy(SYSTEMS)
    other["S5"]["probe_accuracy"] = 0.9
    claims = claims_over_seeds([judge(SYSTEMS), judge(other), judge(SYSTEMS)])
    assert claims[3]["holds"] is False
    assert "2 of 3 seeds" in claims[3]["why"]
    mined = claims[3]["spread"]["probe, mined neighbours (S5)"]
    assert mined["values"] == [0.5, 0.9, 0.5]
    assert mined["mean"] == pytest.approx(0.6333, abs=1e-4)
    assert mined["std"] == pytest.approx(0.23094, abs=1e-4)
    assert claims[0]["holds"] is True
