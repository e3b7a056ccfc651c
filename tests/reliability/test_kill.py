"""`kill -9` at fifty moments: a run always goes on, and ends as if nothing had happened."""

import csv
import json
import os
import random
import time
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors import safe_open

KILLS = 25  # of each command in CI, and a few of them wherever the tests run
PHASED = 0.4  # this share of them in the midst of writing a file, the others at any time
TINY = (
    "training.epochs=3",
    "training.batch_size=16",
    "training.warmup_epochs=0",
    "training.precision=float32",
    "mined.epochs=2",
    "encoder.widths=[8]",
    "encoder.dimension=8",
    "projector.widths=[16, 16]",
    "evaluation.bootstrap=20",
    "evaluation.short_epochs=1",
    "evaluation.perplexity=5",
    "evaluation.clusters=3",
    "evaluation.knn=[5]",
    "evaluation.probe_holdout=0.5",
)
SETTINGS = [part for setting in TINY for part in ("--set", setting)]
PAGES = ("report.html", "explore.html")
TIMES = {"seconds", "images_per_second", "started", "environment"}


@dataclass
class Tried:
    """The table of what was tried."""

    rows: list[list[str]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        heads = ["Command", "Killed", "Finished stages", "With --resume"]
        lines = ["| " + " | ".join(row) + " |" for row in [heads, ["---"] * 4, *self.rows]]
        path.write_text("\n".join(lines) + "\n", "utf-8")


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    return Tried()


def stages(run: Path) -> dict[str, float]:
    path = run / "stages.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def check_every_file_is_whole(folder: Path) -> None:
    """Reads every file that is not marked as partial; losses.csv grows row by row."""
    readers = {
        ".json": lambda path: json.loads(path.read_text("utf-8")),
        ".parquet": pq.read_table,
        ".pt": lambda path: torch.load(path, weights_only=True),
        ".npy": np.load,
        ".webp": lambda path: Image.open(path).load(),
    }
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in readers:
            readers[path.suffix](path)
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                assert file.keys()
        if path.name in PAGES:
            assert path.read_text("utf-8").rstrip().endswith("</html>")


def finished_files(run: Path) -> dict[str, int]:
    """When each file of a finished stage was written."""
    found = {}
    for stage in stages(run):
        kind, _, name = stage.partition(" ")
        paths = {
            "train": [run / "encoder.safetensors"],
            "leaks": [run / "leaks.json"],
            "learn": sorted((run / name).glob("*")),
            "measure": [run / f"{name}.json"],
            "pictures": sorted((run / "pictures").glob("*")),
            "explore": [path for path in (run / "explore").rglob("*") if path.is_file()],
        }[kind]
        found |= {str(path): path.stat().st_mtime_ns for path in paths}
    return found


def timeless(data: Any) -> Any:
    """Plain data without what a clock said."""
    if isinstance(data, dict):
        return {key: timeless(value) for key, value in data.items() if key not in TIMES}
    return [timeless(item) for item in data] if isinstance(data, list) else data


def outcome(run: Path) -> dict[str, Any]:
    """What a run came to: weights and representations byte by byte, figures, losses."""
    found: dict[str, Any] = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.suffix in (".safetensors", ".parquet", ".webp"):
            found[name] = path.read_bytes()
        elif path.suffix == ".json" and path.name not in ("stages.json", "environment.json"):
            found[name] = timeless(json.loads(path.read_text("utf-8")))
        elif path.name == "losses.csv":
            with path.open(newline="") as file:
                found[name] = [
                    {key: value for key, value in row.items() if key not in TIMES}
                    for row in csv.DictReader(file)
                ]
        elif path.name in PAGES:
            found[name] = "a page"
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "kills"),
    [
        ("train", 5),
        ("study", 5),
        pytest.param("train", KILLS, marks=pytest.mark.ci),
        pytest.param("study", KILLS, marks=pytest.mark.ci),
    ],
)
def test_a_killed_run_goes_on_and_ends_the_same(
    command: str,
    kills: int,
    context: ForkServerContext,
    pictures: Path,
    tmp_path: Path,
    tried: Tried,
) -> None:
    import killed

    data = f"folder:{pictures / 'digits'}"
    arguments = [command, data, "--recipe", "digits", *SETTINGS, "--threads", "1"]
    if command == "study":
        others = f"folder:{pictures / 'others'}"
        arguments[1:2] = ["--data", data, "--anomalies", others]
    whole = tmp_path / "whole"
    whole.mkdir()
    began = time.perf_counter()
    status, _, said = killed.run(context, [*arguments, "--run", "run"], whole)
    lasts = time.perf_counter() - began
    assert status == 0, said
    expected = outcome(whole / "run")

    rng, phased = random.Random(f"{command} 0"), round(PHASED * kills)
    # Mostly soon after the start, so that the short stages are met as often as the long ones.
    timed = [lasts * 10 ** rng.uniform(-1.5, -0.3) for _ in range(kills - phased)]
    moments = [killed.Moment(seconds=seconds) for seconds in timed]
    moments += [
        killed.Moment(file=rng.randint(1, 12), phase=killed.PHASES[i % 4]) for i in range(phased)
    ]
    rng.shuffle(moments)
    # What a finished study writes anew: environment.json, results.json and its two pages.
    last = [killed.Moment(file=n, phase="half written") for n in (2, 3, 4) if command == "study"]
    del moments[: len(last)]
    number, tried_before = 0, len(tried.rows)
    while moments:  # one run after another, each killed until it ends before its next moment
        number += 1
        folder = tmp_path / f"killed-{number}"
        folder.mkdir()
        run = folder / "run"
        while True:
            kept, before = stages(run), finished_files(run)
            moment = moments[0] if moments else None
            status, met, said = killed.run(
                context, [*arguments, "--run", "run", "--resume"], folder, moment
            )
            now, after = stages(run), finished_files(run)
            assert {name: now[name] for name in kept} == kept
            assert {name: after[name] for name in before} == before
            check_every_file_is_whole(folder)
            if status == 0 and not moments and last:
                moments.append(last.pop(0))  # every stage is done: only these files are left
                continue
            if status == 0 and moment is not None and moment.seconds is not None:
                moments[0] = killed.Moment(seconds=moment.seconds / 2)  # it came too late
            if status == 0:
                break
            assert status == -9, said
            assert moment is not None
            moments.pop(0)
            done = f"{len(now)}, the last: {list(now)[-1]}" if now else "none"
            when = met or f"after {moment.seconds:.2f} s"
            tried.rows.append([command, when, done, "went on"])
        assert outcome(run) == expected
        assert not list(run.rglob("*.partial")), said
        tried.rows.append([command, "not at all", f"all {len(stages(run))}", "ended the same"])
    assert sum(row[1] != "not at all" for row in tried.rows[tried_before:]) == kills
    table = os.environ.get("VICINAL_KILLS")
    tried.write(Path(table) if table else tmp_path / "kills.md")
