"""The opening table: each system's figures beside the study's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vicinal.report.run_folder import dig
from vicinal.study.figures import in_words


@dataclass(frozen=True)
class Line:
    """A figure in the opening table.

    Attributes:
        label: What it is.
        value: The figure; None where it could not be measured.
        kind: How to write it, one of ``formats.FORMATS``.
        bar: Whether it has a natural scale from 0 to 1 and so a bar.
        study: The study's own figure, on CIFAR-10 only.
        compared: Whether the study has such a figure at all.
        beside: How it compares with the study's figure, in words.
        needs: What the run says is lacking for it; None where it says nothing.
        spread: Its mean, standard deviation and values over seeds, if several were run.
    """

    label: str
    value: float | bool | None
    kind: str
    bar: bool
    study: float | None
    compared: bool
    beside: str | None
    needs: str | None
    spread: Mapping[str, Any] | None


@dataclass(frozen=True)
class Row:
    """A system in the opening table; ``skipped`` says why it has no lines."""

    system: str
    name: str
    what: str
    lines: list[Line]
    skipped: str | None


_PROBES: list[tuple[str, str, str, str | None]] = [
    ("linear probe, converged", "probe_accuracy", "percent", "study_figure"),
    ("linear probe, short", "probe_accuracy_short", "percent", "study_figure"),
]
_SYSTEMS: dict[str, tuple[str, str, list[tuple[str, str, str, str | None]]]] = {
    "S1": (
        "Generated neighbours",
        "An encoder trained on two augmented views of each image",
        [
            ("all losses fall", "curves_fall", "yes", None),
            ("effective rank (RankMe)", "rankme", "short", None),
        ],
    ),
    "S2": (
        "Maps",
        "The test images laid out in two dimensions",
        [
            ("class agreement, t-SNE", "tsne.class_agreement", "percent", None),
            ("class agreement, PCA", "pca.class_agreement", "percent", None),
        ],
    ),
    "S3": ("Linear probe", "A linear classifier on S1's frozen representations", _PROBES),
    "S4": ("No variance term", "S1 again without what keeps it from collapsing", _PROBES),
    "S5": ("Mined neighbours", "Trained on pairs of an image and a near other image", _PROBES),
    "S6": ("Laplacian Eigenmaps", "A spectral embedding of the raw pixels", _PROBES),
    "S7": (
        "Retrieval",
        "Do the five nearest images show the same class?",
        [
            ("precision at 5, S1", "generated.precision_at_k", "percent", None),
            ("precision at 5, S5", "mined.precision_at_k", "percent", None),
        ],
    ),
    "S8": (
        "Anomaly detection",
        "Finds images of another data set by their distance to the training images",
        [
            ("AUC, S1", "generated.auroc", "four", "generated.study_figure"),
            ("AUC, S5", "mined.auroc", "four", "mined.study_figure"),
        ],
    ),
    "S9": (
        "Clustering",
        "k-means on the representations",
        [
            ("silhouette, S1", "generated.silhouette", "four", "generated.study_figure"),
            ("silhouette, S5", "mined.silhouette", "four", "mined.study_figure"),
        ],
    ),
}


def overview(results: Mapping[str, Any]) -> list[Row]:
    """The opening table's rows, S1 to S9, of a study's results."""
    systems, seeds = results["systems"], results.get("seeds") or {}
    rows = []
    for system, (name, what, figures) in _SYSTEMS.items():
        found = systems.get(system)
        lines = [
            Line(
                label=label,
                value=dig(found, path),
                kind=kind,
                bar=kind in ("percent", "four"),
                study=dig(found, study) if study else None,
                compared=study is not None,
                beside=_beside(found, path, kind),
                needs=dig(found, ".".join([*path.split(".")[:-1], "needs"])),
                spread=seeds.get(f"{system}.{path}"),
            )
            for label, path, kind, study in figures
        ]
        rows.append(Row(system, name, what, lines, why_skipped(system, found)))
    return rows


def _beside(system: Any, path: str, kind: str) -> str | None:
    """A figure beside the study's in words, None where the study has none."""
    *place, name = path.split(".")
    compared = dig(system, ".".join([*place, "study_beside", name]))
    return in_words(compared, share=kind == "percent") if compared else None


def why_skipped(system: str, found: Any) -> str | None:
    """Why a system has no figures, or None where it has."""
    if not found:
        return "no anomaly set was given" if system == "S8" else "not part of this run"
    return str(found["skipped"]) if "skipped" in found else None
