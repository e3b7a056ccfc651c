"""Data sets that a name alone stands for: scikit-learn's digits and photographs, CIFAR, MNIST."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vicinal.errors import InputError, said_by
from vicinal.images.image_set import ImageSet, Splits, hold_out
from vicinal.images.picture_list import number_ids

_TEST_IMAGES = 500
_SPLIT_SEED = 0  # the split belongs to the data set, whatever the seed of a run


def load_digits() -> Splits:
    """scikit-learn's 1,797 grey 8×8 digits, 0..16 as 0..255: 1,297 to train on, 500 to test."""
    # Slow to import, and only these two need it.
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    digits = ImageSet(
        name="digits",
        pixels=np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None],
        ids=number_ids(len(bunch.images)),
        labels=bunch.target.astype(np.int64),
        class_names=tuple("0123456789"),
    )
    return hold_out(digits, _TEST_IMAGES / len(digits), _SPLIT_SEED)


def load_patches(*, size: int, seed: int) -> ImageSet:
    """Grey patches of scikit-learn's photographs of a temple and a flower: 500, half of each.

    A patch's side in the photograph is drawn from ``size`` to 8 × ``size`` pixels (as far as the
    photograph reaches), evenly on the logarithm, and scaled to ``size``: texture, edges, sky.
    """
    from sklearn.datasets import load_sample_image

    # By name: `load_sample_images` has them in the order of the folder, each machine its own.
    photos = ("china", "flower")
    rng = np.random.default_rng(seed)
    patches = []
    for photo in photos:
        grey = Image.fromarray(load_sample_image(f"{photo}.jpg")).convert("L")
        for _ in range(_TEST_IMAGES // 2):
            widest = min(8 * size, *grey.size)
            side = round(np.exp(rng.uniform(np.log(min(size, widest)), np.log(widest))))
            left = int(rng.integers(grey.width - side + 1))
            top = int(rng.integers(grey.height - side + 1))
            box = (left, top, left + side, top + side)
            patches.append(np.asarray(grey.resize((size, size), Image.Resampling.BILINEAR, box)))
    return ImageSet(
        name="patches",
        pixels=np.stack(patches)[..., None],
        ids=number_ids(len(patches)),
        labels=np.repeat(np.arange(2, dtype=np.int64), _TEST_IMAGES // 2),
        class_names=photos,
    )


_CLASSES = {
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
}
_TIMEOUT = 30.0  # seconds without an answer; torchvision itself would wait for ever


def load_torchvision(name: str, folder: Path) -> Splits:
    """A data set from ``folder``, fetched into it first if it is not there whole."""
    import torchvision.datasets  # takes seconds, and most sources do without

    dataset = getattr(torchvision.datasets, _CLASSES[name])
    try:
        return _read(dataset, name, folder)
    except Exception:  # not there, or damaged: an unpickled half can raise anything
        _fetch(dataset, name, folder)
    return _read(dataset, name, folder)


def _read(dataset: Any, name: str, folder: Path) -> Splits:
    """Both parts as torchvision reads them (CIFAR's files by their checksums)."""
    train, test = (dataset(folder, train=train, download=False) for train in (True, False))
    return Splits(train=_image_set(train, name), test=_image_set(test, name))


def _image_set(dataset: Any, name: str) -> ImageSet:
    pixels = np.ascontiguousarray(dataset.data)
    names = (str(c) for c in range(10)) if name == "mnist" else dataset.classes
    return ImageSet(
        name=name,
        pixels=pixels if pixels.ndim == 4 else pixels[..., None],
        ids=number_ids(len(pixels)),
        labels=np.asarray(dataset.targets, dtype=np.int64),
        class_names=tuple(names),
    )


def _fetch(dataset: Any, name: str, folder: Path) -> None:
    """Downloads into a folder of its own and moves the result, so that no half is ever met."""
    own, places = _archives(dataset, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{name}-", suffix=".partial", dir=folder) as new:
            for archive in own:
                (Path(new) / archive.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(archive, Path(new) / archive.relative_to(folder))
            with _quiet():
                dataset(new, train=True, download=True)
            for made in (path for path in Path(new).iterdir() if path.is_dir()):
                if (folder / made.name).exists():
                    shutil.rmtree(folder / made.name)
                os.replace(made, folder / made.name)
    except Exception as error:  # network, checksum, disk: torchvision wraps them in many ways
        raise InputError(
            f"{name} is not in {folder} and could not be fetched ({said_by(error)}); put {places} "
            "there, or name a copy of yours: parquet:PATTERN or folder:PATH"
        ) from None


def _archives(dataset: Any, folder: Path) -> tuple[list[Path], str]:
    """The archives that the user already has there, and in words which ones are needed."""
    if hasattr(dataset, "tgz_md5"):
        return [path for path in [folder / dataset.filename] if path.is_file()], dataset.filename
    raw = Path(dataset.__name__, "raw")
    files = [folder / raw / file for file, _ in dataset.resources]
    return [path for path in files if path.is_file()], f"{raw}/*-ubyte.gz (four files)"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No chatter on the terminal, and no waiting for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        with (
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            yield
    finally:
        socket.setdefaulttimeout(before)
