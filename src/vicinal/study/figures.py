"""The figures that the study's first author reported, on CIFAR-10 with a ResNet-18 encoder.

Source: the study's protocol, systems S1 to S9; fractions, not percentages.
"""

from __future__ import annotations

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
    """Puts each of the study's figures beside the one measured."""
    beside = {
        name: value | {"study_figure": PROBE[name]}
        for name, value in systems.items()
        if name in PROBE
    }
    for name, figures in (("S8", AUROC), ("S9", SILHOUETTE)):
        system = systems[name]
        beside[name] = system | {
            learner: system[learner] | {"study_figure": figure}
            for learner, figure in figures.items()
            if learner in system
        }
    return systems | beside
