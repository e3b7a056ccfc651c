"""The guide's programs, as they stand in it."""

import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "own-loop.md").read_text("utf-8")
PLAIN, LIGHTNING = (part.split("```")[0] for part in GUIDE.split("```python\n")[1:])


def test_the_loop_is_twenty_odd_lines() -> None:
    assert len([line for line in PLAIN.splitlines() if line]) <= 21


@pytest.mark.parametrize("program", [PLAIN, PLAIN + LIGHTNING], ids=["plain", "lightning"])
def test_runs_as_it_stands(program: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    losses = [
        float(line.split()[1])
        for line in done.stdout.splitlines()
        if line[:2].strip() in ("1", "2", "3")
    ]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
