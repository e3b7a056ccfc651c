import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image


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
