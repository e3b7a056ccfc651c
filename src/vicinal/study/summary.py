"""The short table of figures that a study ends with in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vicinal.files import read_json
from vicinal.study.figures import in_words

# System, what is measured, where the figure lies in results.json's "systems".
ROWS = (
    ("S1", "effective rank (RankMe)", ("S1", "rankme")),
    ("S2", "t-SNE: neighbours of the same class", ("S2", "tsne", "class_agreement")),
    ("S3", "linear probe, converged", ("S3", "probe_accuracy")),
    ("S3", "linear probe, short", ("S3", "probe_accuracy_short")),
    ("S4", "no spread term: probe, converged", ("S4", "probe_accuracy")),
    ("S4", "no spread term: probe, short", ("S4", "probe_accuracy_short")),
    ("S5", "mined neighbours: probe, converged", ("S5", "probe_accuracy")),
    ("S5", "mined neighbours: probe, short", ("S5", "probe_accuracy_short")),
    ("S6", "Laplacian Eigenmaps: probe, converged", ("S6", "probe_accuracy")),
    ("S6", "Laplacian Eigenmaps: probe, short", ("S6", "probe_accuracy_short")),
    ("S7", "class precision of the nearest, S1", ("S7", "generated", "precision_at_k")),
    ("S7", "class precision of the nearest, S5", ("S7", "mined", "precision_at_k")),
    ("S8", "anomaly AUROC, S1", ("S8", "generated", "auroc")),
    ("S8", "anomaly AUROC, S5", ("S8", "mined", "auroc")),
    ("S9", "silhouette, S1", ("S9", "generated", "silhouette")),
    ("S9", "silhouette, S5", ("S9", "mined", "silhouette")),
)
ACCURACIES = ("probe_accuracy", "probe_accuracy_short", "class_agreement", "precision_at_k")


def headline(run: Path) -> dict[str, Any]:
    """The figures and verdicts of a run as plain data, and where its results and pages lie."""
    explorer = run / "explore.html"
    results = read_json(run / "results.json")
    found = []
    for system, what, path in ROWS:
        place = results["systems"]
        for key in path[:-1]:
            place = place.get(key) or {}
        figure = {"system": system, "what": what, "name": path[-1], "value": place.get(path[-1])}
        compared = (place.get("study_beside") or {}).get(path[-1])
        words = compared and in_words(compared, share=path[-1] in ACCURACIES)
        found.append(figure | {"study": place.get("study_figure"), "beside": words})
    return {
        "run": str(run),
        "results": str(run / "results.json"),
        "report": str(run / "report.html"),
        "explore": str(explorer) if explorer.is_file() else None,
        "figures": found,
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
        texts = [as_text(figure[key], figure["name"]) for key in ("value", "study")]
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


def as_text(figure: float | None, name: str) -> str:
    """A figure for people: shares as percentages, a dash where there is none."""
    if figure is None:
        return "–"
    if name in ACCURACIES:
        return f"{100 * figure:.1f} %"
    return f"{figure:.1f}" if name == "rankme" else f"{figure:.4f}"
