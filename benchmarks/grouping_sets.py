"""Labelled pictures of six kinds, and three representations of each, for `grouping.py`.

Debian's packages are fetched by ``apt-get download`` and unpacked beside the decoded images; a set
or a representation that cannot be made here is left out with a line that says what is missing.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from platformdirs import user_cache_path
from sklearn.datasets import load_digits, load_sample_images
from torch import nn

from data import source
from folder_sets import MissingError, debian
from measuring import say
from vicinal import ImageSet, PatchFeatures, VICReg, load
from vicinal.encoder.pretrained import PRETRAINED, open_start
from vicinal.errors import InputError
from vicinal.files import replacing
from vicinal.images import load_parts
from vicinal.images.decoding import Decoding

MOST = 5_000
SIZE = 32
FEW = 1_000  # pictures of the larger sets that the pretrained network sees: minutes on one core
LARGE = 128  # what the pretrained network is given: the same pictures, enlarged
EPOCHS = 3
CROPS = 100  # of each photograph
Labels = NDArray[np.int64]
CACHE = Path(os.environ.get("VICINAL_BENCH", user_cache_path("vicinal") / "bench"))
PHOTOGRAPHS = (  # scikit-image's that are photographs and lie in the package itself
    *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png"),
    *("grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "retina.jpg"),
    *("rocket.jpg", "motorcycle_left.png", "page.png", "text.png"),
)


def digits() -> tuple[NDArray[np.uint8], Labels]:
    """scikit-learn's 1,797 handwritten digits, 8×8 grey."""
    bunch = load_digits()
    return np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None], bunch.target


def cifar10() -> tuple[NDArray[np.uint8], Labels]:
    """The first 5,000 training images of CIFAR-10 (JPEG copy)."""
    return _first(load(source("cifar10"), size=SIZE).train)


def mnist() -> tuple[NDArray[np.uint8], Labels]:
    """The first 5,000 training images of MNIST."""
    return _first(load(source("mnist"), size=SIZE).train)


def photographs() -> tuple[NDArray[np.uint8], Labels]:
    """Crops of 64×64 to 128×128 pixels, 100 of each photograph; its label is the photograph."""
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise MissingError("photographs need scikit-image: pip install scikit-image")
    folder = Path(found.submodule_search_locations[0]) / "data"
    whole = [Image.open(folder / name).convert("RGB") for name in PHOTOGRAPHS]
    whole += [Image.fromarray(array) for array in load_sample_images().images]
    rng = np.random.default_rng(0)
    crops = []
    for picture in whole:
        for _ in range(CROPS):
            side = int(rng.integers(64, 129))
            left = int(rng.integers(picture.width - side + 1))
            top = int(rng.integers(picture.height - side + 1))
            crop = picture.crop((left, top, left + side, top + side))
            crops.append(np.asarray(crop.resize((SIZE, SIZE), Image.Resampling.BOX)))
    return np.stack(crops), np.repeat(np.arange(len(whole)), CROPS)


def icons() -> tuple[NDArray[np.uint8], Labels]:
    """Debian's oxygen-icon-theme, 128×128, by category."""
    root = debian("oxygen-icon-theme", CACHE) / "usr/share/icons/oxygen/base/128x128"
    return _first(load_parts(f"folder:{root}", Decoding(SIZE, 3))[0].images)


def clipart() -> tuple[NDArray[np.uint8], Labels]:
    """A draw of 5,000 pictures of Debian's openclipart-png, by category, without ``unsorted``."""
    root = debian("openclipart-png", CACHE) / "usr/share/openclipart/png"
    images = load(f"folder:{root}", size=SIZE).train
    assert images.labels is not None
    sorted_ = np.flatnonzero(images.labels != images.class_names.index("unsorted"))
    return _first(images.take(np.random.default_rng(0).permutation(sorted_)))


def _first(images: ImageSet) -> tuple[NDArray[np.uint8], Labels]:
    assert images.labels is not None
    return np.array(images.pixels[:MOST]), images.labels[:MOST]


def pixels_of(name: str, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The pictures as they are, from 0 to 1."""
    return pixels.reshape(len(pixels), -1).astype(np.float32) / 255


def trained(name: str, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """An encoder of a few epochs on these pictures, as `explore` trains one."""
    recipe, epochs = ("digits", 10) if name == "digits" else ("laptop", EPOCHS)
    found: NDArray[np.float32] = VICReg(recipe, epochs=epochs).fit_transform(pixels)
    return found


def pretrained(name: str, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """EfficientNet-Lite0 with ImageNet's weights, frozen: 1,280 pooled numbers."""
    network = _efficientnet()
    found = []
    with torch.inference_mode():
        for start in range(0, len(pixels), 64):
            batch = torch.from_numpy(pixels[start : start + 64]).permute(0, 3, 1, 2) / 255
            batch = batch.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
            large = nn.functional.interpolate(batch, size=LARGE, mode="bilinear")
            found.append(network((large - 0.5) / 0.5).numpy())
    return np.concatenate(found)


def _efficientnet() -> nn.Module:
    try:
        network = open_start(PRETRAINED).network()
    except InputError as error:
        raise MissingError(str(error)) from None
    return network.to(memory_format=torch.channels_last)


SETS: dict[str, Callable[[], tuple[NDArray[np.uint8], Labels]]] = {
    "digits": digits,
    "photographs": photographs,
    "icons": icons,
    "MNIST": mnist,
    "CIFAR-10 (JPEG copy)": cifar10,
    "clip art": clipart,
}
REPRESENTATIONS: dict[str, Callable[[str, NDArray[np.uint8]], NDArray[np.float32]]] = {
    "pixels": pixels_of,
    "encoder": trained,
    "pretrained": pretrained,
    "patches": lambda name, pixels: PatchFeatures().fit_transform(pixels),
}
Represented = tuple[NDArray[np.float32], Labels]


def kept(name: str, representation: str, most: int = MOST) -> Represented | None:
    """A representation (N, F) of the first ``most`` of a set with its labels (N,), or None.

    Made once, then kept; where it cannot be made, a line says what is missing.
    """
    few = f"-{most}" if most != (FEW if representation == "pretrained" else MOST) else ""
    file = CACHE / f"{name.split()[0]}-{representation}{few}.npz"
    try:
        if not file.is_file():
            pixels, labels = SETS[name]()
            pixels, labels = pixels[:most], labels[:most]
            say(f"{name}: {representation} of {len(pixels):,} pictures")
            array = REPRESENTATIONS[representation](name, pixels)
            CACHE.mkdir(parents=True, exist_ok=True)
            with replacing(file) as partial, partial.open("wb") as stream:
                np.savez(stream, array=array, labels=labels)
    except MissingError as error:
        say(f"left out, {name}, {representation}: {error}")
        return None
    held = np.load(file)
    return held["array"], held["labels"]


def represented() -> dict[tuple[str, str], Represented]:
    """Each set's pixels, trained encoder and, of its first 1,000, the pretrained network."""
    found = {}
    for representation in ("pixels", "encoder", "pretrained"):
        for name in SETS:
            one = kept(name, representation, FEW if representation == "pretrained" else MOST)
            if one is not None:
                found[name, representation] = one
    return found
