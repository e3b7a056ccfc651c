"""The study on a GPU: S1 to S9 by the seed recipe for several seeds, beside the study's figures.

Goals on an H200: training of S1 within 90 s, converged probe at least 72.4 %.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from gpu import arguments, cifar10, parsed, sitting, where
from measuring import table
from vicinal.files import read_json, read_rows
from vicinal.study.figures import HEADLINES
from vicinal.study.figures import STUDY as AUTHOR
from vicinal.study.run import StudyOptions, run_study

STUDY = {
    (*path, {"S8": "auroc", "S9": "silhouette"}.get(path[0], "probe_accuracy")): figure
    for path, figure in AUTHOR.items()
}


def main() -> None:
    data, anomalies = cifar10()
    parser = arguments(__doc__, "gpu-study")
    parser.add_argument("--data", default=data)
    parser.add_argument("--anomalies", help="Default: MNIST for CIFAR-10, the data's own else.")
    parser.add_argument("--recipe", default="gpu", help="gpu is the seed recipe on a GPU.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="Default: the recipe's.")
    parser.add_argument("--images", type=int, help="At most so many training images.")
    asked = parsed(parser)
    other = asked.anomalies or (anomalies if asked.data == data else None)
    changes = [f"training.epochs={asked.epochs}"] if asked.epochs else []
    with sitting(asked.minutes):
        for seed in asked.seeds:
            run = asked.out / f"seed-{seed}"
            if (run / "results.json").is_file():
                continue
            options = StudyOptions(
                data=asked.data,
                anomalies=other,
                limit=asked.images,
                recipe=asked.recipe,
                settings=(*asked.set, *changes, f"seed={seed}"),
                run=run,
                resume=(run / "run.json").is_file(),
                device=asked.device,
            )
            run_study(options)
    report(sorted(asked.out.glob("seed-*")), asked.device)


def report(runs: list[Path], device: str) -> None:
    """The figures of every finished seed, their spread, and the times of the first."""
    finished = [run for run in runs if (run / "results.json").is_file()]
    results = [read_json(run / "results.json") for run in finished]
    if not results:
        print("no seed is finished yet")
        return
    seeds = [f"seed {one['recipe']['seed']}" for one in results]
    rows = []
    for system, what, dotted, _ in HEADLINES:
        path = (system, *dotted.split("."))
        values = [at(one["systems"], path) for one in results]
        known = [value for value in values if value is not None]
        spread = f"{statistics.mean(known):.4f}" if known else "–"
        if len(known) > 1:
            spread += f" ± {statistics.stdev(known):.4f}"
        study = STUDY.get(path)
        shown = ["–" if value is None else f"{value:.4f}" for value in values]
        rows.append((system, what, *shown, spread, "–" if study is None else f"{study:.4f}"))
    print(table(("system", "figure", *seeds, "mean ± s.d.", "the study"), rows) + "\n")
    seconds = [("S1's epochs, s (goal ≤ 90)", *(f"{trained(run):.1f}" for run in finished))]
    stages = [one["seconds"] for one in results]
    seconds += [(name, *(f"{times[name]:.1f}" for times in stages)) for name in stages[0]]
    total = (f"{sum(times.values()):.1f}" for times in stages)
    print(table(("stage, s", *seeds), [*seconds, ("all", *total)]))
    recipe, data = results[0]["recipe"], results[0]["data"]
    print(
        f"\n{data['name']}, {data['train']:,} images, {recipe['training']['epochs']} epochs, "
        f"{results[0]['environment']['precision']}; {where(device)}. {data['note']}"
    )


def trained(run: Path) -> float:
    """Seconds of S1's epochs, without test curves and checkpoints."""
    rows = read_rows(run / "generated" / "losses.csv")
    return sum(float(row["seconds"]) for row in rows if row["split"] == "train")


def at(tree: Any, path: tuple[str, ...]) -> float | None:
    """The number at a path in nested dicts, None where it was not to be measured."""
    for name in path:
        if not isinstance(tree, dict) or name not in tree:
            return None
        tree = tree[name]
    return tree


if __name__ == "__main__":
    main()
