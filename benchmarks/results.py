"""Writes docs/results.md from run folders: python benchmarks/results.py RUN [RUN ...].

A run's figures are copied from its results.json; nothing is computed here but the text. A section
takes the place of the one with its heading; others stay, since their runs may be gone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hang_on import FILE, table
from vicinal.files import read_json, replacing
from vicinal.study.figures import as_text, headline
from vicinal.study.side_by_side import PAYS

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
HEADER = """# Results

Written by `python benchmarks/results.py RUN …` from each run's `results.json`. The study's
figures are those its first author reported on CIFAR-10 with a ResNet-18 encoder. Probe and
precision are test accuracies; `converged` and `short` are the two probe protocols of
`docs/architecture.md`.
"""
VERDICTS = {True: "holds", False: "does not hold", None: "not measurable here"}


def section(run: Path) -> str:
    """One run as Markdown: what it is, its figures, its claims, its times."""
    results = read_json(run / "results.json")
    data, recipe, environment = results["data"], results["recipe"], results["environment"]
    limit = f", a class-balanced part (--limit {data['limit']})" if data["limit"] else ""
    anomalies = data["anomalies"]
    figures = headline(run)["figures"]
    seeds = max((len(one["spread"]["values"]) for one in figures if one["spread"]), default=1)
    over, rule = (f" mean of {seeds} seeds ± deviation |", " --- |") if seeds > 1 else ("", "")
    lines = [
        f"## {data['name']}{_copy(data)}, recipe {recipe['name']}",
        "",
        f"- data: {data['train']:,} training images{limit} and {data['test']:,} test images of "
        f"{data['size']}×{data['size']}; anomalies: "
        + (f"{anomalies['count']:,} of {anomalies['name']}" if anomalies else "none"),
        f"- training: {recipe['training']['epochs']} epochs ({_of_others(recipe)}), "
        f"seed {recipe['seed']}, {environment['precision']}",
        f"- {environment['started'][:10]}, commit {environment['commit']}, "
        f"{environment['processor']}, {environment['threads']} threads, "
        f"torch {environment['torch']}, vicinal {environment['vicinal']}",
        "",
        f"| system | figure | this run |{over} the study | beside it |",
        f"| --- | --- | --- |{rule} --- | --- |",
        *(
            f"| {figure['system']} | {figure['what']} | {as_text(figure['value'], figure['kind'])} "
            f"|{_over_seeds(figure) if seeds > 1 else ''} "
            f"{as_text(figure['study'], figure['kind'])} | {figure['beside'] or '–'} |"
            for figure in figures
        ),
        "",
        *_by_epochs(results["systems"]),
        *(
            f"{claim['id']}. **{VERDICTS[claim['holds']]}**: {claim['claim']}" + _of_seeds(claim)
            for claim in results["claims"]
        ),
        "",
        *_hanging(run),
        f"S1 trained at a median of {results['systems']['S1']['images_per_second']:,.0f} images/s. "
        "Stage times in seconds, on a shared machine (a resumed stage counts from where it "
        f"went on{_two_at_a_time(data, environment)}): "
        + ", ".join(f"{name} {seconds:.0f}" for name, seconds in results["seconds"].items())
        + ".",
    ]
    return "\n".join(lines) + "\n"


def _over_seeds(figure: dict[str, Any]) -> str:
    """A cell with a figure's mean and standard deviation over seeds, where it has them."""
    spread, kind = figure["spread"], figure["kind"]
    if spread is None:
        return " – |"
    return f" {as_text(spread['mean'], kind)} ± {as_text(spread['std'], kind)} |"


def _of_seeds(claim: dict[str, Any]) -> str:
    """For how many seeds a claim holds, where there are several."""
    told = claim["why"].rpartition("It holds for ")[2]
    return f" ({told.rstrip('.')})" if told.endswith("seeds.") else ""


def _of_others(recipe: dict[str, Any]) -> str:
    """How long S4 and S5 trained, where not as long as S1."""
    without = recipe.get("no_variance", {}).get("epochs")
    return (f"S4: {without}, " if without else "") + f"S5: {recipe['mined']['epochs']}"


def _by_epochs(systems: dict[str, Any]) -> list[str]:
    """The figures of the encoders that trainings kept, a table for each that did."""
    lines: list[str] = []
    for system in ("S1", "S4"):
        kept = systems[system].get("by_epochs") or []
        if not kept:
            continue
        votes = list(kept[0]["knn"] or {})
        titles = ["probe, converged", "short", *(f"{k}-NN" for k in votes), "RankMe"]
        titles += ["AUROC", "silhouette"]
        lines += [f"{system} by epochs:", "", f"| epochs | {' | '.join(titles)} |"]
        lines += [f"| --- |{' --- |' * len(titles)}"]
        for one in kept:
            cells = [_percent(one["probe_accuracy"], one["interval"])]
            cells += [_percent(one["probe_accuracy_short"], one["interval_short"])]
            cells += [_percent(one["knn"][k]["value"], one["knn"][k]["interval"]) for k in votes]
            cells += [f"{one['rankme']:.1f}"]
            cells += [_four(one["auroc"]), _four(one["silhouette"])]
            lines.append(f"| {one['epochs']} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def _hanging(run: Path) -> list[str]:
    """What the figures hang on, where `hang_on.py` tried other settings."""
    if not (run / FILE).is_file():
        return []
    tried = read_json(run / FILE)
    return [
        "What the figures hang on: each under settings that the study leaves unsaid "
        "(`python benchmarks/hang_on.py RUN`).",
        "",
        table(tried["rows"], tried["on_cifar"]),
        "",
    ]


def _percent(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return "–"
    span = f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval else ""
    return f"{100 * value:.1f} %{span}"


def _four(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "–"
    span = figure["interval"]
    return f"{figure['value']:.4f}" + (f" ({span[0]:.4f} to {span[1]:.4f})" if span else "")


def _two_at_a_time(data: dict[str, Any], environment: dict[str, Any]) -> str:
    if data["train"] < PAYS or environment["device"] != "cpu" or environment["threads"] < 2:
        return ""
    return "; S1 to S9 are measured two at a time, and theirs are parts of the time of all"


def _copy(data: dict[str, Any]) -> str:
    # torchvision gives the original CIFAR-10; the project's own parquet files went through JPEG.
    return " (JPEG copy)" if data["name"] == "cifar10" and ":" in data["source"] else ""


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("give one run folder or more")
    _, *earlier = PAGE.read_text("utf-8").split("\n## ")
    sections = [f"## {each.rstrip()}\n" for each in earlier]
    sections += [section(Path(name)) for name in sys.argv[1:]]
    latest = {each.partition("\n")[0]: each for each in sections}  # by heading
    text = "\n".join([HEADER, *latest.values()])
    with replacing(PAGE) as partial:
        partial.write_text(text, "utf-8")
    print(PAGE)
