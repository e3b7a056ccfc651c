"""Our figures beside the study's: the verdicts, and the words for them."""

import pytest

from vicinal.study.figures import beside, in_words, with_study_figures


@pytest.mark.parametrize(
    ("value", "interval", "verdict"),
    [
        (0.72, (0.71, 0.73), "met"),
        (0.73, (0.724, 0.74), "met"),  # the interval's end counts
        (0.75, (0.74, 0.76), "above"),
        (0.70, (0.69, 0.71), "below"),
        (0.7240, None, "met"),
        (0.7239, None, "below"),
    ],
)
def test_a_figure_is_met_where_its_interval_has_the_studys(
    value: float, interval: tuple[float, float] | None, verdict: str
) -> None:
    found = beside(value, interval, 0.7240)
    assert found["verdict"] == verdict
    assert found["by"] == pytest.approx(value - 0.7240)


def test_what_is_below_says_by_how_much() -> None:
    below = beside(0.70, (0.69, 0.71), 0.7240)
    assert in_words(below, share=True) == "below by 2.4 points (1.4 to 3.4)"
    assert in_words(beside(0.0365, None, 0.0884), share=False) == "below by 0.0519"
    assert in_words(beside(0.75, (0.74, 0.76), 0.7240), share=True) == "above"


def test_every_figure_of_the_study_has_one_beside_it_unless_it_was_not_measured() -> None:
    probed = {
        "probe_accuracy": 0.5,
        "interval": [0.49, 0.51],
        "probe_accuracy_short": 0.1523,
        "interval_short": None,
    }
    systems = {name: dict(probed) for name in ("S3", "S4", "S5", "S6")} | {
        "S5": {"probe_accuracy": None, "probe_accuracy_short": None, "needs": "labels"},
        "S8": {"skipped": "no anomaly set was given"},
        "S9": {name: {"silhouette": 0.1} for name in ("generated", "mined")},
    }
    held = with_study_figures(systems)
    assert held["S4"]["study_beside"]["probe_accuracy"]["verdict"] == "above"
    assert held["S4"]["study_beside"]["probe_accuracy_short"]["verdict"] == "met"
    assert held["S3"]["study_beside"]["probe_accuracy"]["interval"] == [
        pytest.approx(0.49 - 0.7240),
        pytest.approx(0.51 - 0.7240),
    ]
    assert held["S5"]["study_beside"] == {}
    assert "study_beside" not in held["S8"]
    assert held["S9"]["mined"]["study_beside"]["silhouette"]["verdict"] == "below"
