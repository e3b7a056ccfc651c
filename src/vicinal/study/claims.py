"""The study's nine claims, each with a verdict.

The author argued them by eye. Here each is a comparison of measured figures, stated in its
function; a claim without its figures is not measurable, and says why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vicinal.study.figures import spread

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


def claims_over_seeds(runs: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
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


def _of_both(system: Systems, titles: dict[str, str]) -> tuple[Systems, Systems, Figures]:
    """What S1's encoder and S5's have in a system, and the figures of ``titles`` side by side."""
    generated, mined = system["generated"], system["mined"]
    figures = {
        f"{title}, {learner}": measured[name]
        for name, title in titles.items()
        for learner, measured in (("S1", generated), ("S5", mined))
    }
    return generated, mined, figures


def _nearest(systems: Systems) -> Verdict:
    generated, mined, figures = _of_both(systems["S7"], {"precision_at_k": "class precision"})
    return (
        figures,
        lambda: generated["precision_at_k"] > mined["precision_at_k"],
        "Share of a test image's nearest training images that are of its class.",
    )


def _colour(systems: Systems) -> Verdict:
    gaps = {"saturation_gap": "saturation distance", "brightness_gap": "brightness distance"}
    generated, mined, figures = _of_both(systems["S7"], gaps)
    return (
        figures,
        lambda: sum(mined[gap] for gap in gaps) > sum(generated[gap] for gap in gaps),
        "Mean saturation and brightness distance of a query and its farthest images, 0 to 1; "
        "the sum of the two decides.",
    )


def _anomalies(systems: Systems) -> Verdict:
    if "skipped" in systems["S8"]:
        raise _NotMeasurableError("Not measurable here: no anomaly set was given.")
    generated, mined, figures = _of_both(systems["S8"], {"auroc": "AUROC"})
    shown = "; ".join(
        f"{name}: {', '.join(measured['top_classes']) or 'no classes'}"
        for name, measured in (("S1", generated), ("S5", mined))
    )
    return (
        figures,
        lambda: mined["auroc"] > generated["auroc"],
        f"Classes of the anomaly set with the highest mean score, {shown}.",
    )


def _clusters(systems: Systems) -> Verdict:
    agreement = {"nmi": "NMI", "ari": "ARI", "matched_accuracy": "matched accuracy"}
    titles = agreement | {"silhouette": "silhouette"}
    generated, mined, figures = _of_both(systems["S9"], titles)
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
