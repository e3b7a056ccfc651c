"""The study's figures beside its author's: nine claims with a verdict, a table for the terminal.

The author argued them by eye. Here each is a comparison of measured figures, stated in
its function; a claim without its figures is not measurable, and says why.

Source: the study's protocol, systems S1 to S9; fractions, not percentages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from vicinal.files import read_json

Systems = dict[str, Any]
Figures = dict[str, float | None]
Verdict = tuple[Figures, Callable[[], bool], str]


def judge(systems: Systems) -> list[dict[str, Any]]:
    """Turns the measured systems S1 to S9 into the nine claims with their verdicts.

    Returns:
        For each claim ``id``, ``claim``, ``holds`` (True, False, or None where it cannot
        be measured here), ``why`` (a sentence) and ``figures`` (numbers by name).
    """
    return [
        _judged(number, text, rule, {name: systems[name] for name in read})
        for number, (text, read, rule) in CLAIMS.items()
    ]


def over_seeds(runs: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Joins the claims of several seeds: a claim holds if it holds for every seed."""
    joined = []
    for same in zip(*runs, strict=True):
        verdicts = [claim["holds"] for claim in same]
        claim = dict(same[0])
        if None not in verdicts:
            held = sum(verdicts)
            claim["holds"] = held == len(verdicts)
            claim["why"] += f" It holds for {held} of {len(verdicts)} seeds."
            claim["spread"] = {
                name: spread([one["figures"][name] for one in same]) for name in same[0]["figures"]
            }
        joined.append(claim)
    return joined


def spread(values: list[float]) -> dict[str, Any]:
    """Values of several seeds with their mean and sample standard deviation."""
    return {"values": values, "mean": mean(values), "std": stdev(values)}


def _judged(
    number: int, text: str, rule: Callable[[Systems], Verdict], systems: Systems
) -> dict[str, Any]:
    claim: dict[str, Any] = {"id": number, "claim": text, "holds": None, "figures": {}}
    try:
        figures, holds, why = rule(systems)
    except _NotMeasurableError as reason:
        return claim | {"why": str(reason)}
    known = {name: value for name, value in figures.items() if value is not None}
    if len(known) < len(figures):
        return claim | {"figures": known, "why": f"Not measurable here: {_lacking(systems)}."}
    return claim | {"holds": holds(), "figures": known, "why": why}


def _lacking(systems: Systems) -> str:
    """What the systems that a claim reads say is lacking, or their parts: of these the first."""
    parts = [part for system in systems.values() for part in (system, *system.values())]
    needs = [part["needs"] for part in parts if isinstance(part, dict) and part.get("needs")]
    return f"needs {needs[0]}" if needs else "a figure is missing"


class _NotMeasurableError(Exception):
    """Why a claim has no figures in this run."""


def _maps(systems: Systems) -> Verdict:
    tsne, pca = (systems["S2"][name]["class_agreement"] for name in ("tsne", "pca"))
    return (
        {"t-SNE, neighbours of the same class": tsne, "PCA, neighbours of the same class": pca},
        lambda: tsne > pca,
        "Share of a test image's nearest neighbours on the map that are of its class.",
    )


def _vehicles(systems: Systems) -> Verdict:
    groups = systems["S3"].get("groups")
    if groups is None:
        raise _NotMeasurableError(
            "Not measurable here: needs classes that are vehicles and animals."
        )
    if None in groups.values():
        raise _NotMeasurableError("Not measurable here: needs test images of both groups.")
    return (
        groups,
        lambda: (
            groups["accuracy, vehicles"] > groups["accuracy, animals"]
            and groups["confused within vehicles"] < groups["confused within animals"]
        ),
        "Linear probe: accuracy within each group, and the share of its images taken for "
        "another class of the same or of the other group.",
    )


def _collapse(systems: Systems) -> Verdict:
    whole, without = systems["S1"], systems["S4"]
    reference = without["reference"]
    return (
        {
            "RankMe, S1": whole["rankme"],
            "RankMe, S4": without["rankme"],
            "variance in two components, S1": reference["top2_share"],
            "variance in two components, S4": without["top2_share"],
            "standard deviation a dimension, S1": reference["std_mean"],
            "standard deviation a dimension, S4": without["std_mean"],
        },
        lambda: (
            without["rankme"] < whole["rankme"] / 2
            and without["top2_share"] > reference["top2_share"]
        ),
        "Collapse is taken as less than half of S1's effective rank, with more of the variance "
        "in two components. The standard deviation stands beside: of the representation's scale "
        "the objective sees nothing, a projector's BatchNorm undoes it.",
    )


def _mined(systems: Systems) -> Verdict:
    generated, mined = (systems[name]["probe_accuracy"] for name in ("S3", "S5"))
    return (
        {
            "probe, generated neighbours (S1)": generated,
            "probe, mined neighbours (S5)": mined,
            "mined pairs of two classes": systems["S5"]["mined_other_class"],
        },
        lambda: generated > mined,
        "Converged linear probe; and the share of mined pairs whose images differ in class.",
    )


def _spectral(systems: Systems) -> Verdict:
    vicreg, spectral = systems["S3"]["probe_accuracy"], systems["S6"]
    on_map = spectral["reference_class_agreement"]
    return (
        {
            "probe, VICReg": vicreg,
            "probe, Laplacian Eigenmaps": spectral["probe_accuracy"],
            "map agreement, VICReg": on_map,
            "map agreement, Laplacian Eigenmaps": spectral["class_agreement"],
        },
        lambda: vicreg > spectral["probe_accuracy"] and on_map > spectral["class_agreement"],
        "Converged linear probe, and neighbours of the same class on the t-SNE maps.",
    )


def _nearest(systems: Systems) -> Verdict:
    one, other = (systems["S7"][name]["precision_at_k"] for name in ("generated", "mined"))
    return (
        {"class precision, S1": one, "class precision, S5": other},
        lambda: one > other,
        "Share of a test image's nearest training images that are of its class.",
    )


def _colour(systems: Systems) -> Verdict:
    generated, mined = systems["S7"]["generated"], systems["S7"]["mined"]
    figures: Figures = {
        f"{kind} distance, {name}": system[f"{kind}_gap"]
        for kind in ("saturation", "brightness")
        for name, system in (("S1", generated), ("S5", mined))
    }
    return (
        figures,
        lambda: (
            mined["saturation_gap"] + mined["brightness_gap"]
            > generated["saturation_gap"] + generated["brightness_gap"]
        ),
        "Mean saturation and brightness distance of a query and its farthest images, 0 to 1; "
        "the sum of the two decides.",
    )


def _anomalies(systems: Systems) -> Verdict:
    if "skipped" in systems["S8"]:
        raise _NotMeasurableError("Not measurable here: no anomaly set was given.")
    generated, mined = (systems["S8"][name] for name in ("generated", "mined"))
    shown = "; ".join(
        f"{name}: {', '.join(system['top_classes']) or 'no classes'}"
        for name, system in (("S1", generated), ("S5", mined))
    )
    return (
        {"AUROC, S1": generated["auroc"], "AUROC, S5": mined["auroc"]},
        lambda: mined["auroc"] > generated["auroc"],
        f"Classes of the anomaly set with the highest mean score, {shown}.",
    )


def _clusters(systems: Systems) -> Verdict:
    generated, mined = (systems["S9"][name] for name in ("generated", "mined"))
    agreement = {"nmi": "NMI", "ari": "ARI", "matched_accuracy": "matched accuracy"}
    figures: Figures = {
        f"{called}, {name}": system[measure]
        for measure, called in (agreement | {"silhouette": "silhouette"}).items()
        for name, system in (("S1", generated), ("S5", mined))
    }
    return (
        figures,
        lambda: (
            all(generated[measure] > mined[measure] for measure in agreement)
            and mined["silhouette"] > generated["silhouette"]
        ),
        "All three agreements with the classes must be better for S1, the silhouette for S5.",
    )


CLAIMS: dict[int, tuple[str, tuple[str, ...], Callable[[Systems], Verdict]]] = {
    # its sentence, the systems it is about, its rule
    1: ("t-SNE beats PCA as a map", ("S2",), _maps),
    2: ("Vehicles are told apart better than animals", ("S3",), _vehicles),
    3: ("Without the variance term the representation collapses", ("S1", "S4"), _collapse),
    4: ("Generated neighbours beat mined neighbours", ("S3", "S5"), _mined),
    5: ("VICReg beats Laplacian Eigenmaps on probe and map", ("S3", "S6", "S2"), _spectral),
    6: ("S1's nearest images share the query's class more often than S5's", ("S7",), _nearest),
    7: ("S5's farthest images are chosen by colour more than S1's", ("S7",), _colour),
    8: ("The anomaly set is detected better by S5 than by S1", ("S8",), _anomalies),
    9: (
        "Clusters agree with classes better in S1 than in S5, although S5's silhouette is higher",
        ("S9",),
        _clusters,
    ),
}


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
        place = results["systems"].get(system) or {}
        for part in parts:
            place = place.get(part) or {}
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
