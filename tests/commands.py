"""Runs commands in this process, for tests of what they print and write."""

import contextlib
import csv
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from vicinal.cli import main

QUICK = (
    "training.epochs=2",
    "training.warmup_epochs=0",
    "encoder.widths=[8]",
    "encoder.dimension=8",
    "projector.widths=[16, 16]",
)
SETTINGS = [part for setting in QUICK for part in ("--set", setting)]


@dataclass
class Done:
    """What a command left: as subprocess.run says it, without a process's seconds of imports."""

    returncode: int
    stdout: str
    stderr: str


def vicinal(*arguments: str | Path, cwd: Path) -> Done:
    out, err, code = io.StringIO(), io.StringIO(), 0
    settings = {"XDG_CACHE_HOME": str(cwd / "cache"), "COLUMNS": "200"}
    with (
        mock.patch.dict(os.environ, settings),
        mock.patch.object(sys, "argv", ["vicinal", *map(str, arguments)]),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    return Done(code, out.getvalue(), err.getvalue())


def answer(*arguments: str | Path, cwd: Path) -> Any:
    done = vicinal(*arguments, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(*arguments: str | Path, cwd: Path) -> str:
    done = vicinal(*arguments, cwd=cwd)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("vicinal: ") == 1
    return done.stderr


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
