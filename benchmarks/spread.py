"""The spread of a study's figures over its seeds, as a table: `vicinal study --seeds 5` first.

python benchmarks/spread.py runs/digits-digits-1
"""

from __future__ import annotations

import sys
from pathlib import Path

from vicinal.files import read_json


def table(run: Path) -> str:
    """Mean, standard deviation, least and greatest value of every headline figure."""
    results = read_json(run / "results.json")
    if not results["seeds"]:
        sys.exit(f"{run}: one seed has no spread; run the study with --seeds 5")
    lines = [
        "| Figure | mean | standard deviation | least | greatest |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, spread in results["seeds"].items():
        values = spread["values"]
        figures = (spread["mean"], spread["std"], min(values), max(values))
        lines.append(f"| {name} | " + " | ".join(f"{x:.4g}" for x in figures) + " |")
    count = max(len(spread["values"]) for spread in results["seeds"].values())
    machine = results["environment"]
    return "\n".join(lines) + (
        f"\n\n{results['data']['name']}, recipe {results['recipe']['name']}, {count} seeds; "
        f"{machine['processor']}, {machine['threads']} threads, {machine['precision']}, "
        f"torch {machine['torch']}.\n"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(table(Path(sys.argv[1])), end="")
