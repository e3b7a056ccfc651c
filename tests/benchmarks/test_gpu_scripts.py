"""The GPU scripts on a CPU with tiny networks: each runs, goes on, and ends in a table."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path.name for path in BENCHMARKS.glob("gpu_*.py"))
TINY = (
    *("--set", "encoder.backbone=small", "--set", "encoder.widths=[8]"),
    *("--set", "encoder.dimension=16", "--set", "projector.widths=[16, 16]"),
    *("--set", "training.batch_size=32", "--set", "views.size=8"),
    *("--set", "training.warmup_epochs=0", "--set", "training.precision=float32"),
)
CPU = ("--device", "cpu", *TINY)


def script(
    name: str, *arguments: str, cwd: Path, data: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    if data is not None:
        environment["VICINAL_DATA"] = str(data)
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / name), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )


def ran(name: str, *arguments: str, cwd: Path, data: Path | None = None) -> str:
    done = script(name, *arguments, cwd=cwd, data=data)
    assert done.returncode == 0, done.stderr
    assert "| --- |" in done.stdout
    return done.stdout


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
def test_without_a_gpu_one_line_and_status_2(name: str, tmp_path: Path) -> None:
    done = script(name, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "no CUDA device here: this measures a GPU; --device cpu tries the script out"
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_study_and_its_evaluation_again(tmp_path: Path) -> None:
    chosen = ("--data", "digits", "--recipe", "digits", "--images", "200", "--epochs", "1")
    shortened = (
        *("--set", "evaluation.map_images=60", "--set", "evaluation.bootstrap=20"),
        *("--set", "mined.epochs=1", "--set", "evaluation.short_epochs=1"),
    )
    study = (*CPU, *chosen, *shortened, "--seeds", "0", "--out", "study")
    printed = ran("gpu_study.py", *study, cwd=tmp_path)
    assert "linear probe, converged" in printed
    assert "0.7240" in printed  # the study's figure beside ours
    results = json.loads((tmp_path / "study/seed-0/results.json").read_text("utf-8"))
    assert set(results["systems"]) == {f"S{i}" for i in range(1, 10)}
    assert ran("gpu_study.py", *study, cwd=tmp_path) == printed  # all of it was there already

    again = ran("gpu_evaluation.py", "--device", "cpu", "--run", "study/seed-0", cwd=tmp_path)
    probe = results["systems"]["S3"]["probe_accuracy"]
    assert f"| S3 | linear probe, converged | {probe:.4f} |" in again


@pytest.mark.slow
def test_the_record_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    chosen = ("--data", "digits", "--images", "200", "--epochs", "2", "--set", "views.flip=0")
    stopped = script("gpu_record.py", *CPU, *chosen, "--minutes", "0.0001", cwd=tmp_path)
    assert stopped.returncode == 0, stopped.stderr
    assert "the same command again goes on from here" in stopped.stderr
    printed = ran("gpu_record.py", *CPU, *chosen, "--test", cwd=tmp_path)
    row = next(line for line in printed.splitlines() if "published-2-epochs" in line)
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[1] == "2"
    assert all("%" in cell for cell in cells[3:])  # held out and test


@pytest.mark.slow
def test_the_peers(tmp_path: Path, shared_data: Path) -> None:
    sizes = ("--trainers", "ours", "plain PyTorch", "--steps", "1", "--rows", "32")
    printed = ran(
        "gpu_peers.py", *CPU, *sizes, "--dimensions", "16", cwd=tmp_path, data=shared_data
    )
    for name in ("| ours |", "| plain PyTorch |", "| the paper's equations |"):
        assert name in printed


@pytest.mark.slow
def test_the_roofline(tmp_path: Path) -> None:
    chosen = ("--data", "digits", "--recipe", "digits", "--images", "200")
    printed = ran("gpu_roofline.py", *CPU, *chosen, cwd=tmp_path)
    assert "of the matrix rate" in printed
    assert "The loss takes" in printed
