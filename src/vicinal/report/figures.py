"""Which charts a run has the figures for, and what is in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vicinal.report import charts
from vicinal.report.run_folder import RunFolder, class_names, dig

MAPS: dict[str, tuple[str, list[tuple[str, str, str]]]] = {
    "S2": (
        "PCA and t-SNE of the test images, coloured by class",
        [("generated-pca", "label", "PCA"), ("generated-tsne", "label", "t-SNE")],
    ),
    "S4": (
        "PCA of the test images with and without the term against collapse, coloured by class",
        [
            ("generated-pca", "label", "S1, with the term"),
            ("no-variance-pca", "label", "S4, without it"),
        ],
    ),
    "S6": (
        "t-SNE of the Laplacian Eigenmaps and of S1's representations, coloured by class",
        [
            ("spectral-tsne", "label", "S6, Laplacian Eigenmaps"),
            ("generated-tsne", "label", "S1"),
        ],
    ),
    "S9-generated": (
        "t-SNE of S1's representations by k-means cluster, with centroids, and by class",
        [
            ("clusters-generated", "cluster", "S1 by cluster, × centroids"),
            ("clusters-generated", "label", "S1 by class"),
        ],
    ),
    "S9-mined": (
        "t-SNE of S5's representations by k-means cluster, with centroids, and by class",
        [
            ("clusters-mined", "cluster", "S5 by cluster, × centroids"),
            ("clusters-mined", "label", "S5 by class"),
        ],
    ),
}
"""The figures with maps: what is to be seen, and each panel's map, colouring and title."""


def study_charts(folder: RunFolder) -> dict[str, charts.Chart]:
    """Every chart that this run has the figures for, by its id in the page."""
    systems, names = folder.results["systems"], class_names(folder)
    drawn: dict[str, charts.Chart] = {}
    for system, learner in (("S1", "generated"), ("S4", "no-variance"), ("S5", "mined")):
        drawn |= charts.loss_charts(system, folder.losses.get(learner, {}))
        if kept := dig(systems, f"{system}.by_epochs"):
            drawn[f"{system}-epochs"] = charts.epochs_chart(kept)
    objectives = folder.results.get("objectives") or {}
    titles = [(f"objective-{n}-tsne", "label", one["title"]) for n, one in objectives.items()]
    alt = "t-SNE of the test images by each objective, coloured by class"
    for figure, (text, wanted) in (MAPS | {"objectives": (alt, titles)}).items():
        if map_figure := _map_figure(figure, text, wanted, folder):
            drawn[f"{figure}-maps"] = map_figure
    if objectives:
        spectra = {name: one["spectrum"] for name, one in objectives.items()}
        drawn["objectives-spectrum"] = charts.spectrum_chart(spectra)
    reference = dig(systems, "S3.per_class")
    for system, learner in (
        ("S3", "generated"),
        ("S4", "no-variance"),
        ("S5", "mined"),
        ("S6", "spectral"),
    ):
        if own := dig(systems, f"{system}.per_class"):
            bars = {learner: own} | ({"generated": reference} if reference else {})
            drawn[f"{system}-classes"] = charts.per_class_chart(names, bars)
        if counts := dig(systems, f"{system}.confusion"):
            drawn[f"{system}-confusion"] = charts.confusion_chart(names, counts)
    spectra = {
        "generated": dig(systems, "S4.reference.spectrum"),
        "no-variance": dig(systems, "S4.spectrum"),
    }
    if spectra := {learner: values for learner, values in spectra.items() if values}:
        drawn["S4-spectrum"] = charts.spectrum_chart(spectra)
    scorers = ("generated", "mined", "pixels", "untrained", "patches")
    curves = {s: dig(systems, f"S8.{s}") for s in scorers if dig(systems, f"S8.{s}.roc.fpr")}
    if curves:
        drawn["S8-roc"] = charts.roc_chart(curves)
    for learner in ("generated", "mined"):
        if scores := dig(systems, f"S8.{learner}.class_scores"):
            drawn[f"S8-{learner}-classes"] = charts.bar_chart(
                f"Mean score by class, {charts.LEARNERS[learner]}", scores, charts.COLOURS[learner]
            )
    if seconds := folder.results.get("seconds"):
        drawn["seconds"] = charts.bar_chart("Seconds by stage", seconds, "#7c8590", " s")
    return drawn


def _map_figure(
    figure: str, alt: str, wanted: Sequence[tuple[str, str, str]], folder: RunFolder
) -> charts.Chart | None:
    """Maps side by side, those that are there; None where none is."""
    panels: list[dict[str, Any]] = []
    for name, by, title in wanted:
        points = folder.maps.get(name)
        if points is None or not len(points.ids):
            continue
        if getattr(points, by) is None:
            if any(panel["map"] == name for panel in panels):
                continue  # by class without labels would repeat the map in one colour
            by = "none"
        panel: dict[str, Any] = {"map": name, "by": by, "title": title}
        if name.endswith("-pca") and (
            shares := dig(folder.results["systems"], "S2.pca.explained") if figure == "S2" else None
        ):
            panel["title"] += f", {sum(shares[:2]):.0%} of the variance"
        if by == "cluster":
            learner = name.removeprefix("clusters-")
            panel["centroids"] = dig(folder.results["systems"], f"S9.{learner}.centroids") or []
        panels.append(panel)
    legends = [by for by in ("cluster", "label") if any(panel["by"] == by for panel in panels)]
    return charts.map_chart(alt, panels, legends) if panels else None
