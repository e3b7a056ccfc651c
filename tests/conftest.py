import logging
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before torch is loaded, here and in every process that is started from here: tests run side by
# side, a thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from sklearn.datasets import load_sample_image

# Tests find `forked` by its name, and so do the processes it starts.
sys.path.insert(0, str(Path(__file__).parent))

import forked

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("untimed")

MOST_PROCESSES = 4  # each holds torch, and so does the one that it forks


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process a core and one more, as some wait for others; only this one for named files."""
    if all(".py" in argument for argument in config.args):
        config.option.dist = "no"
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(MOST_PROCESSES, (cores or 1) + 1)


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Frees logging's lock where a test left it held: Pillow's decoding threads need it too.

    Once in a whole run such a thread waited for ever; the warning names the test that it followed.
    """
    lock: Any = logging._lock
    while lock._is_owned():
        lock.release()
        warnings.warn(f"{nodeid} left logging's lock held", stacklevel=1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process ends long after the others."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real CIFAR-10 (JPEG copy) and MNIST parquet files."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("VICINAL_DATA", beside))
    if not (folder / "cifar10-test.parquet").is_file():
        pytest.skip(
            f"needs the CIFAR-10 and MNIST parquet files, set VICINAL_DATA (not in {folder.name})"
        )
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 121 pictures, crops of scikit-learn's two sample photographs, of mixed sizes.

    ``flower/`` and ``temple/`` hold 60 each: ``temple/copy.png`` is ``temple/00.jpg`` again, and
    ``odd.png``, in neither, is noise.
    """
    folder = tmp_path_factory.mktemp("pictures") / "photos"
    generator = np.random.default_rng(0)
    temple, flower = (
        Image.fromarray(load_sample_image(f"{photo}.jpg")) for photo in ("china", "flower")
    )
    for name, photo in (("temple", temple), ("flower", flower)):
        (folder / name).mkdir(parents=True)
        for number in range(60 if name == "flower" else 59):
            side = int(generator.integers(60, 160))
            left = int(generator.integers(photo.width - side))
            top = int(generator.integers(photo.height - side))
            crop = photo.crop((left, top, left + side, top + side - side // 4))
            crop.save(folder / name / f"{number:02}.jpg", quality=90)
    with Image.open(folder / "temple" / "00.jpg") as first:
        first.save(folder / "temple" / "copy.png")
    noise = generator.integers(256, size=(90, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "odd.png")
    return folder


@pytest.fixture(scope="session")
def once(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, Callable[[Path], None]], Path]:
    """Gives the folder of a name, which the first test process that asks for it has filled."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if hasattr(request.config, "workerinput") else base

    def filled(name: str, fill: Callable[[Path], None]) -> Path:
        place = base / name
        with FileLock(f"{place}.lock"):
            if not (place / "whole").is_file():
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir()
                fill(place)
                (place / "whole").touch()
        return place

    return filled


@pytest.fixture(scope="session")
def study(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The finished run of `forked.STUDY`; don't write to it."""

    def fill(place: Path) -> None:
        done = forked.run(*forked.STUDY, cwd=place, env={"XDG_CACHE_HOME": str(place / "cache")})
        assert done.returncode == 0, done.stderr

    return once("study", fill) / "run"


@pytest.fixture(scope="session")
def explored(once: Callable[[str, Callable[[Path], None]], Path], photos: Path) -> Path:
    """A folder where `forked.EXPLORE` has run; don't write to it.

    ``PHOTOS`` is a copy of `photos`, ``NEW`` of its temples, ``runs/photos`` the run, and
    ``said`` what the command printed.
    """

    def fill(place: Path) -> None:
        shutil.copytree(photos, place / "PHOTOS")
        shutil.copytree(photos / "temple", place / "NEW")
        environment = {"XDG_CACHE_HOME": str(place / "cache"), "COLUMNS": "200"}
        done = forked.run(*forked.EXPLORE, cwd=place, env=environment)
        assert done.returncode == 0, done.stderr
        (place / "said").write_text(done.stdout, "utf-8")

    return once("explored", fill)
