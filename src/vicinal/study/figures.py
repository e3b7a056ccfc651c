"""The study's headline figures: where each lies, its spread over seeds, its author's beside it.

Fractions, not percentages. Source: the study's protocol, systems S1 to S9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from vicinal.files import read_json

Results = dict[str, Any]


class Headline(NamedTuple):
    """A figure that the summary, the report's opening table and the model card show.

    Attributes:
        system: S1 to S9.
        what: What is measured.
        path: Where it lies in the system's results, with dots.
        kind: How it is written: "percent", "four" decimals, "short" or "yes" and "no".
    """

    system: str
    what: str
    path: str
    kind: str = "percent"


HEADLINES = (
    Headline("S1", "all losses fall", "curves_fall", "yes"),
    Headline("S1", "effective rank (RankMe)", "rankme", "short"),
    Headline("S2", "t-SNE: neighbours of the same class", "tsne.class_agreement"),
    Headline("S2", "PCA: neighbours of the same class", "pca.class_agreement"),
    Headline("S3", "linear probe, converged", "probe_accuracy"),
    Headline("S3", "linear probe, short", "probe_accuracy_short"),
    Headline("S4", "no spread term: probe, converged", "probe_accuracy"),
    Headline("S4", "no spread term: probe, short", "probe_accuracy_short"),
    Headline("S5", "mined neighbours: probe, converged", "probe_accuracy"),
    Headline("S5", "mined neighbours: probe, short", "probe_accuracy_short"),
    Headline("S6", "Laplacian Eigenmaps: probe, converged", "probe_accuracy"),
    Headline("S6", "Laplacian Eigenmaps: probe, short", "probe_accuracy_short"),
    Headline("S7", "class precision of the nearest, S1", "generated.precision_at_k"),
    Headline("S7", "class precision of the nearest, S5", "mined.precision_at_k"),
    Headline("S8", "anomaly AUROC, S1", "generated.auroc", "four"),
    Headline("S8", "anomaly AUROC, S5", "mined.auroc", "four"),
    Headline("S9", "silhouette, S1", "generated.silhouette", "four"),
    Headline("S9", "silhouette, S5", "mined.silhouette", "four"),
)
SPREAD_TOO = ("S4.rankme", "S5.rankme")
"""Figures whose spread over seeds is kept beside that of `HEADLINES`."""

CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
VEHICLES = ("airplane", "automobile", "ship", "truck")

STUDY = {
    ("S3",): 0.7240,
    ("S4",): 0.1523,
    ("S5",): 0.5190,
    ("S6",): 0.224,
    ("S8", "generated"): 0.9348,
    ("S8", "mined"): 0.9590,
    ("S9", "generated"): 0.0884,
    ("S9", "mined"): 0.1453,
}
"""The author's figures of CIFAR-10, by the part of the results that each is held against."""
INTERVALS = {
    "probe_accuracy": "interval",
    "probe_accuracy_short": "interval_short",
    "auroc": "interval",
    "silhouette": "silhouette_interval",
}
"""Figures that the author has too, with the name of their confidence interval."""


def at(tree: Any, path: Sequence[str]) -> Any:
    """The value at a path in nested dicts, None where a step is missing."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def is_cifar10(class_names: tuple[str, ...]) -> bool:
    """Whether these are CIFAR-10's classes, so that the author's figures can stand beside."""
    return class_names == CIFAR10


def with_study_figures(systems: Results) -> Results:
    """The systems, or S8's and S9's learners, with `STUDY`'s figure and how it compares.

    Each gets ``study_figure``, and ``study_beside``: `beside` of each figure of `INTERVALS`.
    """
    held = deepcopy(systems)
    for path, figure in STUDY.items():
        part = at(held, path)
        if part is not None:
            part["study_figure"] = figure
            part["study_beside"] = {
                name: beside(part[name], part.get(interval), figure)
                for name, interval in INTERVALS.items()
                if part.get(name) is not None
            }
    return held


def beside(value: float, interval: Sequence[float] | None, study: float) -> Results:
    """How a figure compares with the author's.

    Args:
        value: The figure.
        interval: Its 95 % confidence interval, or None for the figure alone.
        study: The author's figure.

    Returns:
        ``verdict``: "met" if the interval has the author's figure in it, else "above" or "below";
        ``by``: the figure less the author's; ``interval``: that difference's, two numbers or None.
    """
    low, high = interval or (value, value)
    verdict = "met" if low <= study <= high else "above" if value > study else "below"
    by = None if interval is None else [low - study, high - study]
    return {"verdict": verdict, "by": value - study, "interval": by}


def in_words(compared: Results, *, share: bool) -> str:
    """What `beside` found in a few words; ``share``: in points of a hundred, not as it is."""
    if compared["verdict"] != "below":
        return str(compared["verdict"])

    def number(difference: float) -> str:
        return f"{-100 * difference:.1f}" if share else f"{-difference:.4f}"

    unit = " points" if share else ""
    low, high = compared["interval"] or (None, None)
    span = "" if low is None or high is None else f" ({number(high)} to {number(low)})"
    return f"below by {number(compared['by'])}{unit}{span}"


def spread(values: Sequence[float]) -> Results:
    """Values of several seeds with their mean and sample standard deviation."""
    return {"values": list(values), "mean": mean(values), "std": stdev(values)}


def spread_over_seeds(runs: Sequence[Results]) -> Results:
    """The spread of each figure that every seed's results have, by its dotted name."""
    names = [f"{one.system}.{one.path}" for one in HEADLINES if one.kind != "yes"]
    spreads = {}
    for name in sorted([*names, *SPREAD_TOO]):
        values = [at(one["systems"], name.split(".")) for one in runs]
        if None not in values:
            spreads[name] = spread(values)
    return spreads


def headline_figures(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The `HEADLINES` of a study's results.

    Returns:
        For each ``system``, ``what``, ``name`` (the path's last part), ``kind``, ``value`` (None
        where it could not be measured), ``needs`` (what was lacking then, None where that is not
        known), ``study`` (the study's own figure, on CIFAR-10 only), ``beside`` (how the two
        compare, in words) and ``spread`` over seeds (None for one seed).
    """
    found, seeds = [], results.get("seeds") or {}
    for system, what, path, kind in HEADLINES:
        *parts, name = path.split(".")
        place = at(results["systems"], (system, *parts)) or {}
        compared = (place.get("study_beside") or {}).get(name)
        found.append(
            {
                "system": system,
                "what": what,
                "name": name,
                "kind": kind,
                "value": place.get(name),
                "needs": place.get("needs"),
                "study": place.get("study_figure"),
                "beside": in_words(compared, share=kind == "percent") if compared else None,
                "spread": seeds.get(f"{system}.{path}"),
            }
        )
    return found


def headline(run: Path) -> dict[str, Any]:
    """The figures and verdicts of a run as plain data, and where its results and pages lie."""
    explorer = run / "explore.html"
    results = read_json(run / "results.json")
    return {
        "run": str(run),
        "results": str(run / "results.json"),
        "report": str(run / "report.html"),
        "explore": str(explorer) if explorer.is_file() else None,
        "figures": headline_figures(results),
        "claims": results["claims"],
    }


def print_summary(run: Path) -> None:
    """Prints the figures, the verdicts and where the pages lie."""
    found = headline(run)
    on_cifar = any(figure["study"] is not None for figure in found["figures"])
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "figure", "this run", *(["the study"] if on_cifar else [])):
        table.add_column(title, justify="right" if title.startswith("th") else "left")
    for figure in found["figures"]:
        texts = [as_text(figure[key], figure["kind"]) for key in ("value", "study")]
        texts += [figure["beside"] or ""]
        table.add_row(figure["system"], figure["what"], *texts[: 3 if on_cifar else 1])
    console = Console(highlight=False)
    console.print(table)
    verdicts = {True: "holds", False: "does not hold", None: "not measurable here"}
    for claim in found["claims"]:
        console.print(f"claim {claim['id']}  {verdicts[claim['holds']]:<20} {claim['claim']}")
    console.print(f"report: {found['report']}", soft_wrap=True)
    if found["explore"] is not None:
        console.print(f"its test images, to explore: {found['explore']}", soft_wrap=True)


def as_text(figure: float | None, kind: str) -> str:
    """A figure for people, by the kind of its `Headline`; a dash where there is none."""
    if figure is None:
        return "–"
    if kind == "yes":
        return "yes" if figure else "no"
    if kind == "percent":
        return f"{100 * figure:.1f} %"
    return f"{figure:.1f}" if kind == "short" else f"{figure:.4f}"
