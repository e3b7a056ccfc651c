"""The guide's programs, as they stand in it."""

from pathlib import Path

import pytest

import forked

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "own-loop.md").read_text("utf-8")
PLAIN, LIGHTNING = (part.split("```")[0] for part in GUIDE.split("```python\n")[1:])


def test_the_loop_is_twenty_odd_lines() -> None:
    assert len([line for line in PLAIN.splitlines() if line]) <= 21


@pytest.mark.parametrize("program", [PLAIN, PLAIN + LIGHTNING], ids=["plain", "lightning"])
def test_runs_as_it_stands(program: str, tmp_path: Path) -> None:
    done = forked.run(program=program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    losses = [
        float(line.split()[1])
        for line in done.stdout.splitlines()
        if line[:2].strip() in ("1", "2", "3")
    ]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
