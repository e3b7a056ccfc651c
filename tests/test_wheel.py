"""The package as others install it: a wheel, outside any checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
QUICK = (
    *("training.epochs=1", "training.warmup_epochs=0", "encoder.backbone=small"),
    *("encoder.widths=[8]", "encoder.dimension=8", "projector.widths=[16, 16]"),
)
STUDY = (
    *("mined.epochs=1", "evaluation.bootstrap=20", "evaluation.short_epochs=1"),
    *("evaluation.map_images=100", "evaluation.probe_holdout=0.5"),
)


def run(*command: str | Path, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = clean | {"XDG_CACHE_HOME": str(cwd / "cache"), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def settings(*values: str) -> list[str]:
    return [word for value in values for word in ("--set", value)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel; what it needs is this environment's."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools.build_meta import build_wheel; print(build_wheel({str(place)!r}))"
    wheel = run(sys.executable, "-c", build, cwd=source).split()[-1]
    venv.create(place / "env", with_pip=False)
    programs = place / "env" / ("Scripts" if os.name == "nt" else "bin")
    pip = (sys.executable, "-m", "pip", "--python", programs / "python", "install", "-q")
    run(*pip, "--no-deps", "--no-index", place / wheel, cwd=place)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(programs / "python", "-c", ask, cwd=place).strip())
    # Not `system-site-packages`: files that lead on from there, to a checkout, are not followed.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    return programs


@pytest.mark.ci
def test_the_wheel_has_all_that_a_study_and_a_page_need(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import vicinal; print(vicinal.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    study = ("study", "--limit", "200", "--run", "study", "--json", *settings(*QUICK, *STUDY))
    found = json.loads(run(installed / "vicinal", *study, cwd=tmp_path))
    assert (tmp_path / found["report"]).stat().st_size > 100_000
    assert (tmp_path / found["explore"]).stat().st_size > 100_000

    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{i}.png")
    small = settings(*QUICK, "views.size=16", "encoder.patches=0")
    explore = ("explore", "photos", "--run", "page", "--no-open", "--json", *small)
    page = json.loads(run(installed / "vicinal", *explore, cwd=tmp_path))["page"]
    assert (tmp_path / page).stat().st_size > 50_000
