"""The GPU scripts on a CPU with tiny networks: each runs, goes on, and ends in a table."""

import concurrent.futures
import json
import multiprocessing
import os
import runpy
import sys
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

import forked

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path.name for path in BENCHMARKS.glob("gpu_*.py"))
TINY = (
    *("--set", "encoder.backbone=small", "--set", "encoder.widths=[8]"),
    *("--set", "encoder.dimension=16", "--set", "projector.widths=[16, 16]"),
    *("--set", "training.batch_size=32", "--set", "views.size=8"),
    *("--set", "training.warmup_epochs=0", "--set", "training.precision=float32"),
)
CPU = ("--device", "cpu", *TINY)


class Scripts:
    """Runs scripts in this process, for each of its own would import everything anew.

    Attributes:
        printed: What the last one printed.
        said: What it wrote to standard error.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
    ) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def status(self, name: str, *arguments: str) -> int:
        """Runs one to its end and gives its exit status."""
        self.monkeypatch.setattr(sys, "argv", [name, *arguments])
        self.capsys.readouterr()
        code: object = 0
        try:
            runpy.run_path(str(BENCHMARKS / name), run_name="__main__")
        except SystemExit as end:
            code = end.code
        self.printed, self.said = self.capsys.readouterr()
        assert isinstance(code, int), code
        return code

    def table(self, name: str, *arguments: str) -> str:
        """Runs one that succeeds, and gives what it printed."""
        assert self.status(name, *arguments) == 0
        assert "| --- |" in self.printed
        return self.printed


@pytest.fixture
def scripts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Scripts:
    return Scripts(monkeypatch, capsys, tmp_path)


def test_every_item_has_its_script() -> None:
    assert SCRIPTS == [
        "gpu_evaluation.py",
        "gpu_peers.py",
        "gpu_record.py",
        "gpu_roofline.py",
        "gpu_study.py",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_without_a_gpu_one_line_and_status_2(name: str, scripts: Scripts, tmp_path: Path) -> None:
    assert scripts.status(name) == 2
    assert scripts.said.splitlines() == [
        "no CUDA device here: this measures a GPU; --device cpu tries the script out"
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_study_and_its_evaluation_again(scripts: Scripts, tmp_path: Path) -> None:
    chosen = ("--data", "digits", "--recipe", "digits", "--images", "200", "--epochs", "1")
    shortened = (
        *("--set", "evaluation.map_images=60", "--set", "evaluation.bootstrap=20"),
        *("--set", "evaluation.probe_holdout=0.5"),
        *("--set", "mined.epochs=1", "--set", "evaluation.short_epochs=1"),
    )
    study = (*CPU, *chosen, *shortened, "--seeds", "0", "--out", "study")
    printed = scripts.table("gpu_study.py", *study)
    assert "linear probe, converged" in printed
    assert "0.7240" in printed  # the study's figure beside ours
    results = json.loads((tmp_path / "study/seed-0/results.json").read_text("utf-8"))
    assert set(results["systems"]) == {f"S{i}" for i in range(1, 10)}
    assert scripts.table("gpu_study.py", *study) == printed  # all of it was there already

    again = scripts.table("gpu_evaluation.py", "--device", "cpu", "--run", "study/seed-0")
    probe = results["systems"]["S3"]["probe_accuracy"]
    assert f"| S3 | linear probe, converged | {probe:.4f} |" in again

    hanging = scripts.table("hang_on.py", "study/seed-0")  # ends with nothing, so with status 0
    auroc, settings = results["systems"]["S8"]["generated"]["auroc"], hanging.splitlines()
    assert any(f"| S8 | S1 | raw, L2, k = 2 | {auroc:.4f} (" in row for row in settings)
    assert sum(row.startswith("| S9 ") for row in settings) == 8
    assert sum("short probe" in row for row in settings) == 6


@pytest.mark.slow
def test_the_record_goes_on_where_it_was_stopped(scripts: Scripts) -> None:
    chosen = (*CPU, "--data", "digits", "--images", "200", "--epochs", "2")
    assert scripts.status("gpu_record.py", *chosen, "--minutes", "0.0001") == 0
    assert "the same command again goes on from here" in scripts.said
    printed = scripts.table("gpu_record.py", *chosen, "--test")
    row = next(line for line in printed.splitlines() if "published-2-epochs" in line)
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[1] == "2"
    assert all("%" in cell for cell in cells[3:])  # held out and test


@pytest.mark.slow
def test_the_peers(
    scripts: Scripts, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = tmp_path / "data"  # every process decodes all pictures: 50,000 would take a minute
    few.mkdir()
    for split in ("train", "test"):
        whole = pq.read_table(shared_data / f"cifar10-{split}.parquet")
        pq.write_table(whole.slice(0, 200), few / f"cifar10-{split}.parquet")
    monkeypatch.setenv("VICINAL_DATA", str(few))
    # Each trainer's own process is forked from one that has imported torch.
    context, pool = forked.server(), concurrent.futures.ProcessPoolExecutor
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)
    as_here = partial(pool, initializer=forked.set_environment, initargs=(dict(os.environ),))
    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", as_here)
    sizes = ("--steps", "1", "--rows", "32", "--dimensions", "16")
    printed = scripts.table("gpu_peers.py", *CPU, "--trainers", "ours", "plain PyTorch", *sizes)
    for name in ("| ours |", "| plain PyTorch |", "| the paper's equations |"):
        assert name in printed


@pytest.mark.slow
def test_the_roofline(scripts: Scripts) -> None:
    chosen = ("--data", "digits", "--recipe", "digits", "--images", "200")
    printed = scripts.table("gpu_roofline.py", *CPU, *chosen)
    assert "of the matrix rate" in printed
    assert "The loss takes" in printed
