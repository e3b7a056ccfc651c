"""From a study's cached representations to all of S2 to S9 on a GPU: seconds of each system.

Goal on an H200: 20 s in all. ``--against-cpu`` measures the CPU's own way too, and says how far
apart the figures are.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from again import measuring, studied
from gpu import arguments, parsed, sitting, where
from measuring import say, table
from vicinal.files import read_json, write_json
from vicinal.recipes.recipe import Recipe
from vicinal.study.data import Data
from vicinal.study.figures import HEADLINES
from vicinal.study.systems import SYSTEMS

GOAL = 20
TIMED = [name for name in SYSTEMS if name != "S1"]


def main() -> None:
    parser = arguments(__doc__, "gpu-evaluation")
    parser.add_argument(
        "--run",
        type=Path,
        default=Path("runs/gpu-study/seed-0"),
        help="A finished study's folder, such as gpu_study.py makes.",
    )
    parser.add_argument("--against-cpu", action="store_true")
    asked = parsed(parser)
    recipe, data = studied(asked.run)
    devices = list(dict.fromkeys([asked.device, *(["cpu"] if asked.against_cpu else [])]))
    with sitting(asked.minutes):
        for device in devices:
            path = asked.out / f"{device}.json"
            kept = read_json(path) if path.is_file() else {}
            for name in TIMED:
                if name not in kept:
                    kept[name] = timed(name, asked.run, data, recipe, device)
                    write_json(path, kept)
    report(asked.out, devices)


def timed(name: str, run: Path, data: Data, recipe: Recipe, device: str) -> dict[str, Any]:
    """Seconds and figures of a system, measured twice; the first time libraries load."""
    with measuring(run, data, recipe, device) as measure:
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            figures = SYSTEMS[name](measure)
            seconds.append(time.perf_counter() - began)
    say(f"{name} on {device}: {seconds[0]:.1f} s, then {seconds[1]:.1f} s")
    return {"first": seconds[0], "seconds": seconds[1], "figures": figures}


def report(out: Path, devices: list[str]) -> None:
    """Seconds of each system, and the headline figures side by side."""
    kept = [read_json(out / f"{d}.json") for d in devices if (out / f"{d}.json").is_file()]
    rows = []
    for name in TIMED:
        cells = [f"{one[name]['seconds']:.2f}" if name in one else "–" for one in kept]
        rows.append((name, *cells))
    sums = [f"{sum(one[n]['seconds'] for n in TIMED if n in one):.2f}" for one in kept]
    print(table(("system, s", *devices), [*rows, (f"all (goal ≤ {GOAL} on a GPU)", *sums)]) + "\n")
    figures = []
    for system, what, path, _ in HEADLINES:
        places = [one.get(system, {}).get("figures") for one in kept]
        values = [found(place, path.split(".")) for place in places]
        if system in TIMED and any(value is not None for value in values):
            figures.append(
                (system, what, *("–" if value is None else f"{value:.4f}" for value in values))
            )
    print(table(("system", "figure", *devices), figures))
    print(f"\nThe second of two measurements, representations read from files. {where(devices[0])}")


def found(tree: Any, path: list[str]) -> float | None:
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


if __name__ == "__main__":
    main()
