"""The charts of the page, as plain Plotly specifications; ``scripts/show_charts.js`` draws them.

A chart is a dict with ``data`` and ``layout`` as Plotly has them, a ``height`` in pixels
(or ``square``) and an ``alt`` text for those who cannot see it.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Chart = dict[str, Any]
Numbers = Sequence[float | None]

COLOURS = {
    "generated": "#1f7ac8",
    "mined": "#d9760a",
    "no-variance": "#a3266b",
    "spectral": "#2b8a3e",
    "pixels": "#7c8590",
    "untrained": "#a58b6a",
    "patches": "#6b5b95",
    "vicreg": "#1f7ac8",
    "barlow": "#d9760a",
    "sigreg": "#2b8a3e",
    "visreg": "#a3266b",
    "ntxent": "#6b5b95",
    "tcr": "#7c8590",
}
"""One colour for each learner and baseline, the same in every chart."""
LEARNERS = {
    "generated": "S1 generated neighbours",
    "mined": "S5 mined neighbours",
    "no-variance": "S4 no spread term",
    "spectral": "S6 Laplacian Eigenmaps",
    "pixels": "raw pixels",
    "untrained": "untrained encoder",
    "patches": "patch features, no training",
    "vicreg": "VICReg",
    "barlow": "Barlow Twins",
    "sigreg": "SIGReg",
    "visreg": "VISReg",
    "ntxent": "NT-Xent",
    "tcr": "TCR",
}
NO_TERMS = ("epoch", "split", "seconds", "images_per_second", "rankme")
"""Columns of losses.csv that are no terms of the loss."""
ROC_POINTS = 400
LOG_FROM = 20
"""A loss that shrinks by more than this factor gets a logarithmic axis."""


def plotly_text(text: object) -> str:
    """Text that Plotly shows as it is; it would read ``<a href=…>`` as a link."""
    return html.escape(str(text), quote=False)


def _line(
    name: str, x: Sequence[Any], y: Sequence[Any], colour: str, hover: str, **more: Any
) -> dict[str, Any]:
    """A line as Plotly has it; ``more`` are fields of the trace, of ``line`` those it names."""
    line = {"color": colour, "width": 2, **more.pop("line", {})}
    trace = {"type": "scatter", "mode": "lines", "name": name, "x": list(x), "y": list(y)}
    return {**trace, "line": line, "hovertemplate": hover, **more}


def _bars(values: Sequence[float | None], colour: str, hover: str, **more: Any) -> dict[str, Any]:
    """Horizontal bars as Plotly has them, one below the other."""
    trace = {"type": "bar", "orientation": "h", "x": list(values), "y": list(range(len(values)))}
    return {**trace, "marker": {"color": colour}, "hovertemplate": hover, **more}


def _titled(title: str, **axis: Any) -> dict[str, Any]:
    """An axis with a title, or a layout."""
    return {"title": {"text": title}, **axis}


def loss_charts(prefix: str, curves: Mapping[str, Mapping[str, Numbers]]) -> dict[str, Chart]:
    """A chart a loss term: train and test, mean per epoch, weighted as in the total or not."""
    charts: dict[str, Chart] = {}
    columns = next(iter(curves.values()), {})
    for term in [name for name in columns if name not in NO_TERMS]:
        data: list[dict[str, Any]] = []
        for split, dash, colour in (("train", "solid", "#1f7ac8"), ("test", "4px,3px", "#d9760a")):
            columns = curves.get(split, {})
            y = columns.get(term, ())
            if all(value is None for value in y):
                continue
            epochs = columns.get("epoch") or list(range(1, len(y) + 1))
            more = {"line": {"dash": dash}, "marker": {"color": colour, "size": 8}}
            mode = "lines" if len(y) > 1 else "markers"
            data.append(_line(split, epochs, y, colour, "%{y:.4g}", mode=mode, **more))
        if not data:
            continue
        values = [v for trace in data for v in trace["y"] if v is not None]
        log = min(values) > 0 and max(values) / min(values) > LOG_FROM
        charts[f"{prefix}-{term}"] = {
            "term": term,
            "data": data,
            "layout": _titled(
                f"{term}, log scale" if log else term,
                xaxis=_titled("epoch"),
                yaxis={"type": "log", "dtick": 1} if log else {"rangemode": "tozero"},
                hovermode="x unified",
            ),
            "height": 230,
            "alt": f"{term} loss by epoch, train and test: from {values[0]:.3g} "
            f"to {data[0]['y'][-1] or 0:.3g} in training",
        }
    return charts


def epochs_chart(kept: Sequence[Mapping[str, Any]]) -> Chart:
    """Accuracies of the encoders that a training kept, by epochs, with their intervals."""
    lines = {
        "probe, converged": [(one["probe_accuracy"], one["interval"]) for one in kept],
        "probe, short": [(one["probe_accuracy_short"], one["interval_short"]) for one in kept],
    }
    for k in kept[0]["knn"] or {}:
        votes = [one["knn"][k] for one in kept]
        lines[f"{k} nearest vote"] = [(vote["value"], vote["interval"]) for vote in votes]
    colours = ("#1f7ac8", "#d9760a", "#2b8a3e", "#a3266b")
    epochs = [one["epochs"] for one in kept]
    data = []
    for (name, points), colour in zip(lines.items(), colours, strict=False):
        more = {"error_y": _intervals(points), "marker": {"color": colour, "size": 7}}
        y = [value for value, _ in points]
        data.append(_line(name, epochs, y, colour, "%{y:.1%}", mode="lines+markers", **more))
    told = (
        f"{name} from {points[0][0]:.1%} after {epochs[0]} to {points[-1][0]:.1%} "
        f"after {epochs[-1]}"
        for name, points in lines.items()
        if points[0][0] is not None and points[-1][0] is not None
    )
    return {
        "data": data,
        "layout": _titled(
            "Accuracy by epochs",
            xaxis=_titled("epochs", rangemode="tozero"),
            yaxis={"tickformat": ".0%"},
            hovermode="x unified",
        ),
        "height": 300,
        "alt": "accuracy by epochs: " + ", ".join(told),
    }


def _intervals(points: Sequence[tuple[float | None, Sequence[float] | None]]) -> dict[str, Any]:
    """Plotly's error bars of values with intervals; 0 where there is none."""
    bounds = [(value, *(interval or (value, value))) for value, interval in points]
    above = [0 if v is None or high is None else high - v for v, _, high in bounds]
    below = [0 if v is None or low is None else v - low for v, low, _ in bounds]
    return {
        "type": "data",
        "symmetric": False,
        "array": above,
        "arrayminus": below,
        "thickness": 1,
    }


def map_chart(alt: str, panels: Sequence[Mapping[str, Any]], legends: Sequence[str]) -> Chart:
    """Maps side by side in one figure, so that one legend toggles a class in all of them.

    Args:
        alt: What there is to see.
        panels: Each with ``map`` (its name), ``by`` ("label" or "cluster"), ``title`` and,
            if centroids are drawn in, ``centroids``, a list of [x, y].
        legends: Which of "label" and "cluster" have a legend.
    """
    return {"kind": "maps", "panels": list(panels), "legends": list(legends), "alt": alt}


def per_class_chart(names: Sequence[str], accuracies: Mapping[str, Numbers]) -> Chart:
    """Probe accuracy of each class, a bar a learner."""
    told = []
    for learner, values in accuracies.items():
        known = [(n, v) for n, v in zip(names, values, strict=False) if v is not None]
        told.append(f"{LEARNERS[learner]}: " + ", ".join(f"{n} {v:.0%}" for n, v in known))
    return {
        "data": [
            _bars(values, COLOURS[learner], "%{x:.1%}", name=LEARNERS[learner])
            for learner, values in accuracies.items()
        ],
        "layout": _titled(
            "Accuracy by class",
            xaxis={"range": [0, 1], "tickformat": ".0%"},
            yaxis=_classes(names),
            hovermode="y unified",
        ),
        "height": max(440, 110 + len(names) * (14 + 12 * len(accuracies))),
        "alt": "Probe accuracy by class: " + "; ".join(told),
    }


def confusion_chart(names: Sequence[str], counts: Sequence[Sequence[float]]) -> Chart:
    """Confusion matrix: a row a true class, shaded by the share of that class."""
    table = np.asarray(counts, dtype=np.float64)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1e-12)
    shown_classes = int(table.any(axis=1).sum())  # one without test images has no share
    shown = [plotly_text(name) for name in names]
    hover = [
        [
            f"{shown[i]} taken for {shown[j]}<br>{table[i, j]:g} images, {share[i, j]:.1%}"
            for j in range(table.shape[1])
        ]
        for i in range(table.shape[0])
    ]
    trace: dict[str, Any] = {"type": "heatmap", "z": np.round(share, 4).tolist()}
    trace |= {"hovertext": hover, "hoverinfo": "text", "showscale": False}
    trace |= {"zmin": 0, "zmax": 1, "xgap": 1, "ygap": 1}
    if len(names) <= 12:
        trace |= {"text": [[f"{v:g}" for v in row] for row in table], "texttemplate": "%{text}"}
    return {
        "kind": "heat",
        "data": [trace],
        "layout": _titled(
            "Confusion: rows true, columns predicted",
            xaxis={**_classes(names), "autorange": True, "showgrid": False, "tickangle": -45},
            yaxis={**_classes(names), "showgrid": False},
        ),
        "square": True,
        "alt": f"Confusion matrix; {np.trace(share) / max(shown_classes, 1):.0%} of a class, "
        "on average, is recognised",
    }


def _classes(names: Sequence[str], longest: int = 14) -> dict[str, Any]:
    """An axis with a tick a class, the first on top where it is the vertical one."""
    every = math.ceil(len(names) / 50)
    places = list(range(0, len(names), every))
    labels = [str(names[place]) for place in places]
    short = [plotly_text(s if len(s) <= longest else s[: longest - 1] + "…") for s in labels]
    return {"tickvals": places, "ticktext": short, "autorange": "reversed", "showgrid": False}


def spectrum_chart(spectra: Mapping[str, Sequence[float]]) -> Chart:
    """Eigenvalues of the covariance of the representations, largest first, log axis."""
    data = []
    for learner, values in spectra.items():
        y = [float(f"{v:.5g}") if v and v > 0 else None for v in values]
        x = range(1, len(values) + 1)
        data.append(_line(LEARNERS[learner], x, y, COLOURS[learner], "%{y:.3g}"))
    return {
        "data": data,
        "layout": _titled(
            "Variance along each principal direction",
            xaxis=_titled("direction, largest first"),
            yaxis={"type": "log", "exponentformat": "power", "nticks": 6},
            hovermode="x unified",
        ),
        "height": 320,
        "alt": "Spectra of the representations: variance along each principal direction, "
        "on a logarithmic axis",
    }


def roc_chart(curves: Mapping[str, Mapping[str, Any]]) -> Chart:
    """ROC curves with the area under each, and its interval, in the legend."""
    data: list[dict[str, Any]] = []
    hover = "%{y:.1%} found at %{x:.1%} false alarms<extra></extra>"
    for learner, curve in curves.items():
        fpr = np.asarray(curve["roc"]["fpr"], dtype=np.float64)
        tpr = np.asarray(curve["roc"]["tpr"], dtype=np.float64)
        # Real vertices evenly along the curve; tens of thousands would look the same.
        kept = np.searchsorted(fpr + tpr, np.linspace(0, 2, ROC_POINTS))
        kept = np.unique(np.append(kept.clip(0, len(fpr) - 1), [0, len(fpr) - 1]))
        name = f"{LEARNERS[learner]}, AUC {curve['auroc']:.4f}"
        if curve.get("interval"):
            name += " [{:.4f}, {:.4f}]".format(*curve["interval"])
        dash = "4px,3px" if learner in ("pixels", "untrained", "patches") else "solid"
        x, y = (values[kept].round(5).tolist() for values in (fpr, tpr))
        data.append(_line(name, x, y, COLOURS[learner], hover, line={"dash": dash}))
    alt = "ROC curves. " + ". ".join(str(trace["name"]) for trace in data)
    chance = {"color": "#8a929c", "width": 1, "dash": "2px,3px"}
    diagonal = {"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "line": chance}
    data.append({**diagonal, "showlegend": False, "hoverinfo": "skip"})
    share = {"range": [-0.01, 1.01], "tickformat": ".0%"}
    return {
        "data": data,
        "layout": {
            "xaxis": _titled("normal images flagged (false alarms)", **share),
            "yaxis": _titled("anomalies found", **share),
        },
        "square": True,
        "alt": alt,
    }


def bar_chart(title: str, values: Mapping[str, float], colour: str, unit: str = "") -> Chart:
    """Horizontal bars, one a name, in the order given."""
    shown = [float(f"{value:.5g}") for value in values.values()]
    bars = _bars(shown, colour, "%{x:.4g}" + unit + "<extra></extra>", showlegend=False)
    axes = {"xaxis": {"rangemode": "tozero"}, "yaxis": _classes(list(values), longest=30)}
    return {
        "data": [bars],
        "layout": _titled(title, **axes),
        "height": 90 + 24 * len(values),
        "alt": f"{title}: " + ", ".join(f"{n} {v:.3g}{unit}" for n, v in values.items()),
    }
