"""The guide's commands and programs, as they stand in it and in its order."""

import re
from pathlib import Path

import pytest

import forked

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "formats.md").read_text("utf-8")
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", GUIDE, re.DOTALL)
HUB = "push_to_hub"  # tests/test_hub.py runs those two calls, on a stand-in


def run(*arguments: str, cwd: Path, program: str | None = None) -> str:
    places = {"XDG_CACHE_HOME": str(cwd / "cache"), "HF_HOME": str(cwd / "hf")}
    done = forked.run(*arguments, program=program, cwd=cwd, env=places)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


@pytest.mark.slow
def test_the_commands_and_programs_run(tmp_path: Path) -> None:
    for package in ("datasets", "onnxruntime", "onnxscript", "pandas", "polars", "timm"):
        pytest.importorskip(package, reason=f"needs {package}, an extra")
    program = ""
    for kind, text in BLOCKS:
        if kind == "python":
            program += text if HUB not in text else ""
            continue
        for line in text.splitlines():
            command, *arguments = line.split()
            assert command == "vicinal"
            run(*arguments, cwd=tmp_path)
    said = run(program=program, cwd=tmp_path).split("\n")
    assert re.fullmatch(r"\((\d+), (\d+)\)", said[0])
    differences = [float(line) for line in said[1:4]]
    assert max(differences) < 1e-5
    assert said[4] == "(1797, 64) (1797, 64)"


def test_every_format_is_shown() -> None:
    from vicinal.encoder.export import FORMATS

    assert {name for name in FORMATS if f"--to {name} " in GUIDE} == set(FORMATS)
