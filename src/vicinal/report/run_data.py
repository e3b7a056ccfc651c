"""What a run folder holds, read for the report: tables, charts and what ``scripts`` draw."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.errors import InputError, option
from vicinal.files import read_rows
from vicinal.report import charts
from vicinal.report.inlined import Pictures, base64_array, finite
from vicinal.runs.kinds import instead_of
from vicinal.study.figures import headline_figures

LEARNERS = ("generated", "no-variance", "mined")
Curves = dict[str, dict[str, list[float | None]]]
"""A learner's loss curves: split ("train" or "test") to column to its numbers."""
NONE = -1
"""Stands for a missing label or cluster."""


@dataclass(frozen=True, eq=False)
class MapPoints:
    """The points of one map.

    Attributes:
        ids: The N images' ids.
        x: Array (N,) float32.
        y: Array (N,) float32.
        label: Array (N,) int64 of class numbers, -1 where there is none; None without labels.
        cluster: Array (N,) int64 of cluster numbers; None on a map without clusters.
    """

    ids: list[str]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    label: NDArray[np.int64] | None
    cluster: NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class StudyFiles:
    """Everything the report is drawn from, except the pictures."""

    results: dict[str, Any]
    recipe: str
    environment: dict[str, Any]
    losses: dict[str, Curves]
    maps: dict[str, MapPoints]


def read_run(folder: Path) -> StudyFiles:
    """Reads a run folder; only ``results.json`` must be there.

    Raises:
        InputError: If ``results.json`` is missing or not a study's.
    """
    path = folder / "results.json"
    if not path.is_file():
        raise InputError(f"{folder}: {instead_of(folder, 'study or explore')}")
    results = read_object(path)
    for part in ("data", "systems"):
        if not isinstance(results.get(part), dict):
            raise InputError(f"{path}: no {part!r} in it; is it the results of a study?")
    recipe = folder / "recipe.toml"
    environment = folder / "environment.json"
    stored = read_object(environment) if environment.is_file() else {}
    return StudyFiles(
        results=results,
        recipe=recipe.read_text("utf-8") if recipe.is_file() else _as_text(results.get("recipe")),
        environment={**(results.get("environment") or {}), **stored},
        losses={
            name: _read_losses(folder / name / "losses.csv")
            for name in LEARNERS
            if (folder / name / "losses.csv").is_file()
        },
        maps={file.stem: _read_points(file) for file in sorted(folder.glob("maps/*.parquet"))},
    )


def dig(data: Any, path: str) -> Any:
    """The value at a dotted path, or None where any part of it is missing."""
    for part in path.split("."):
        data = data.get(part) if isinstance(data, Mapping) else None
    return data


def class_names(folder: StudyFiles) -> list[str]:
    """The class names; numbers where labels have no name."""
    names = [str(name) for name in folder.results["data"].get("classes") or []]
    highest = max(
        (int(p.label.max()) for p in folder.maps.values() if p.label is not None), default=-1
    )
    for system in ("S3", "S4", "S5", "S6"):
        highest = max(highest, len(dig(folder.results["systems"], f"{system}.per_class") or ()) - 1)
    return names + [str(number) for number in range(len(names), highest + 1)]


def labels_by_id(folder: StudyFiles) -> dict[str, int]:
    """The class of each image that is on a map."""
    found: dict[str, int] = {}
    for points in folder.maps.values():
        if points.label is not None:
            found |= {
                n: v for n, v in zip(points.ids, points.label.tolist(), strict=True) if v != NONE
            }
    return found


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; NaN and infinity become None.

    Raises:
        InputError: If the file cannot be read as one.
    """
    try:
        # NaN and infinities are no JSON: the page shows them as missing.
        data = json.loads(path.read_text("utf-8"), parse_constant=lambda _: None)
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(data, dict):
        raise _damaged(path, "no JSON object")
    return data


def _damaged(path: Path, why: str) -> InputError:
    again = f"remove it, and the same command with {option('resume', True)} makes it again"
    return InputError(f"{path}: damaged ({why}); {again}")


def _as_text(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) if data else ""


def _read_losses(path: Path) -> Curves:
    """Columns by split, in the order of the epochs; what is not a number becomes None."""
    curves: Curves = {}
    for row in read_rows(path):
        columns = curves.setdefault(row.pop("split", "train"), {})
        for name, text in row.items():
            columns.setdefault(name, []).append(_number(text))
    return curves


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _read_points(path: Path) -> MapPoints:
    table = pq.read_table(path)
    return MapPoints(
        ids=[str(name) for name in table.column("id").to_pylist()],
        x=_finite(table.column("x")),
        y=_finite(table.column("y")),
        label=_integers(table, "label"),
        cluster=_integers(table, "cluster"),
    )


def _finite(column: pa.ChunkedArray) -> NDArray[np.float32]:
    array = np.asarray(column.to_numpy(), dtype=np.float32)
    return np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0)


def _integers(table: pa.Table, name: str) -> NDArray[np.int64] | None:
    """A nullable integer column; None where it is absent or wholly null."""
    if name not in table.column_names or table.column(name).null_count == len(table):
        return None
    return np.asarray(table.column(name).fill_null(NONE).to_numpy(), dtype=np.int64)


_SYSTEMS = {
    "S1": ("Generated neighbours", "An encoder trained on two augmented views of each image"),
    "S2": ("Maps", "The test images laid out in two dimensions"),
    "S3": ("Linear probe", "A linear classifier on S1's frozen representations"),
    "S4": ("No variance term", "S1 again without what keeps it from collapsing"),
    "S5": ("Mined neighbours", "Trained on pairs of an image and a near other image"),
    "S6": ("Laplacian Eigenmaps", "A spectral embedding of the raw pixels"),
    "S7": ("Retrieval", "Do the five nearest images show the same class?"),
    "S8": (
        "Anomaly detection",
        "Finds images of another data set by their distance to the training images",
    ),
    "S9": ("Clustering", "k-means on the representations"),
}


def overview(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The opening table's rows: each system's names and figures, or why it has none."""
    figures = headline_figures(results)
    return [
        {
            "system": system,
            "name": name,
            "what": what,
            "figures": [figure for figure in figures if figure["system"] == system],
            "skipped": why_skipped(system, results["systems"].get(system)),
        }
        for system, (name, what) in _SYSTEMS.items()
    ]


def why_skipped(system: str, found: Any) -> str | None:
    """Why a system has no figures, or None where it has."""
    if not found:
        return "no anomaly set was given" if system == "S8" else "not part of this run"
    return str(found["skipped"]) if "skipped" in found else None


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


def study_charts(folder: StudyFiles) -> dict[str, charts.Chart]:
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
    figure: str, alt: str, wanted: Sequence[tuple[str, str, str]], folder: StudyFiles
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


MISSING = 65535
"""Stands for no label, no cluster or no sheet in the page's 16-bit arrays."""


def page_data(folder: StudyFiles, pictures: Pictures, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data for the page's script; every number finite or None."""
    row_of: dict[str, int] = {}
    for points in folder.maps.values():
        for name in points.ids:
            row_of.setdefault(name, len(row_of))
    sheets = {name: number for number, name in enumerate(pictures.sheets)}
    places = [pictures.places.get(name) for name in row_of]
    columns = {
        "sheet": [sheets[place[0]] if place else MISSING for place in places],
        "x": [place[1] if place else 0 for place in places],
        "y": [place[2] if place else 0 for place in places],
        "size": [place[3] if place else 0 for place in places],
    }
    data = {
        "classes": class_names(folder),
        "charts": dict(drawn),
        "maps": {name: _packed(points, row_of) for name, points in folder.maps.items()},
        "ids": list(row_of),
        "pictures": {name: base64_array(values, "<u2") for name, values in columns.items()},
    }
    plain: dict[str, Any] = finite(data)
    return plain


def _packed(points: MapPoints, row_of: Mapping[str, int]) -> dict[str, str]:
    """A map's columns as little-endian base64: a quarter of the size of JSON numbers."""
    packed = {
        "row": base64_array([row_of[name] for name in points.ids], "<u4"),
        "x": base64_array(points.x, "<f4"),
        "y": base64_array(points.y, "<f4"),
    }
    for name in ("label", "cluster"):
        column: NDArray[np.int64] | None = getattr(points, name)
        if column is not None:
            packed[name] = base64_array(np.where(column < 0, MISSING, column), "<u2")
    return packed
