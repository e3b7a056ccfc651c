import os
from pathlib import Path

import pytest


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
