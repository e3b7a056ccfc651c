"""Writes docs/benchmarks.md: python benchmarks/write.py [SCRIPT ...], all scripts by default.

Each script is a process of its own that prints one Markdown section; a script that is not
run again keeps the section it had.
"""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from measuring import machine, say, versions
from vicinal.files import replacing

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
SCRIPTS = (
    "objective",
    "objectives",
    "decoding",
    "views",
    "training",
    "step",
    "convolutions",
    "precision",
    "evaluation",
    "growth",
    "side_by_side",
    "grouping",
    "streaming",
    "busy",
    "two_views",
    "folders",
    "follow_up",
    "leaks",
)
HEADER = """# Benchmarks

Written by `make bench`, which runs `python benchmarks/write.py`; each section names its script and
is measured by it alone; a script without a section here has not been run for this page yet.
Peers come with `pip install -e '.[bench]'`. Everything compared runs in turn in one process; a
ratio is the median of the rounds' ratios. Absolute times are those of a shared virtual machine:
read the ratios.
"""


def main(names: list[str]) -> None:
    """Runs the named scripts and puts their sections into the page."""
    unknown = set(names) - set(SCRIPTS)
    if unknown:
        sys.exit(
            f"no benchmark called {', '.join(sorted(unknown))}; there are {', '.join(SCRIPTS)}"
        )
    sections = _held()
    for name in names or SCRIPTS:
        say(f"benchmarks/{name}.py")
        done = subprocess.run(
            [sys.executable, HERE / f"{name}.py"], stdout=subprocess.PIPE, text=True, check=True
        )
        stamp = f"{datetime.now(UTC):%Y-%m-%d}; {machine()}; {versions('torch', 'vicinal')}"
        sections[name] = f"{done.stdout.strip()}\n\n*Measured {stamp}.*\n"
        with replacing(PAGE) as partial:
            parts = [f"<!-- {n} -->\n{sections[n]}" for n in SCRIPTS if n in sections]
            partial.write_text("\n".join([HEADER, *parts]), encoding="utf-8")


def _held() -> dict[str, str]:
    """The page's sections by script."""
    if not PAGE.is_file():
        return {}
    parts = re.split(r"^<!-- (\w+) -->\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: text.rstrip() + "\n" for name, text in zip(parts[1::2], parts[2::2], strict=True)}


if __name__ == "__main__":
    main(sys.argv[1:])
