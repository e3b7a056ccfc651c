"""Small real pictures, and processes that have imported everything before they begin."""

import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

import forked

# A forked process finds `killed` by its name, and is told this path.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def context() -> ForkServerContext:
    return forked.server()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``digits`` (90 scans of 0, 1 and 2, a folder each) and ``others`` (20 of 7)."""
    folder = tmp_path_factory.mktemp("pictures")
    bunch = load_digits()
    for digit, count, where in (
        (0, 30, "digits"),
        (1, 30, "digits"),
        (2, 30, "digits"),
        (7, 20, "others"),
    ):
        (folder / where / str(digit)).mkdir(parents=True)
        for number, scan in enumerate(bunch.images[bunch.target == digit][:count]):
            image = Image.fromarray((scan * 15).astype("uint8"))
            image.save(folder / where / str(digit) / f"{number:02d}.png")
    return folder
