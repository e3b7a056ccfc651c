import os
import sys
from pathlib import Path

# Before torch is loaded, here and in every process that is started from here: tests run side by
# side, a thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

# Tests find `forked` by its name, and so do the processes it starts.
sys.path.insert(0, str(Path(__file__).parent))

MOST_PROCESSES = 4  # each holds torch, and so does the one that it forks


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process a core; none but this one where only files or single tests are named."""
    if all(".py" in argument for argument in config.args):
        config.option.dist = "no"
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(MOST_PROCESSES, cores or 1)


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
