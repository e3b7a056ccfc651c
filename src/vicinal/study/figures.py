"""The figures that the study's first author reported, on CIFAR-10 with a ResNet-18 encoder.

Source: the study's protocol, systems S1 to S9; fractions, not percentages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PROBE = {"S3": 0.7240, "S4": 0.1523, "S5": 0.5190, "S6": 0.224}
AUROC = {"generated": 0.9348, "mined": 0.9590}
SILHOUETTE = {"generated": 0.0884, "mined": 0.1453}

CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
VEHICLES = ("airplane", "automobile", "ship", "truck")


def is_cifar10(class_names: tuple[str, ...]) -> bool:
    """Whether these are CIFAR-10's classes, so that the study's figures can be held against."""
    return class_names == CIFAR10


def with_study_figures(systems: dict[str, Any]) -> dict[str, Any]:
    """Puts each of the study's figures beside the one measured.

    A system, or S8's and S9's learner, gets ``study_figure``, and ``study_beside``: `beside` of
    each figure that the study's is held against, by its name.
    """
    held = {
        name: value | {"study_figure": PROBE[name], "study_beside": _probes(value, PROBE[name])}
        for name, value in systems.items()
        if name in PROBE
    }
    for name, figures, measured, interval in (
        ("S8", AUROC, "auroc", "interval"),
        ("S9", SILHOUETTE, "silhouette", "silhouette_interval"),
    ):
        system = systems[name]
        held[name] = system | {
            learner: system[learner]
            | {
                "study_figure": figure,
                "study_beside": {
                    measured: beside(
                        system[learner][measured], system[learner].get(interval), figure
                    )
                },
            }
            for learner, figure in figures.items()
            if learner in system
        }
    return systems | held


def _probes(system: dict[str, Any], study: float) -> dict[str, Any]:
    return {
        name: beside(system[name], system.get(interval), study)
        for name, interval in (
            ("probe_accuracy", "interval"),
            ("probe_accuracy_short", "interval_short"),
        )
        if system.get(name) is not None
    }


def beside(value: float, interval: Sequence[float] | None, study: float) -> dict[str, Any]:
    """How a figure compares with the study's.

    Args:
        value: The figure.
        interval: Its 95 % confidence interval, or None for the figure alone.
        study: The study's figure.

    Returns:
        ``verdict``: "met" if the interval has the study's figure in it, else "above" or "below";
        ``by``: the figure less the study's; ``interval``: that difference's, two numbers or None.
    """
    low, high = interval or (value, value)
    verdict = "met" if low <= study <= high else "above" if value > study else "below"
    by = None if interval is None else [low - study, high - study]
    return {"verdict": verdict, "by": value - study, "interval": by}


def in_words(compared: dict[str, Any], *, share: bool) -> str:
    """What `beside` found in a few words; ``share``: in points of a hundred, not as it is."""
    if compared["verdict"] != "below":
        return str(compared["verdict"])

    def number(difference: float) -> str:
        return f"{-100 * difference:.1f}" if share else f"{-difference:.4f}"

    unit = " points" if share else ""
    low, high = compared["interval"] or (None, None)
    span = "" if low is None or high is None else f" ({number(high)} to {number(low)})"
    return f"below by {number(compared['by'])}{unit}{span}"
