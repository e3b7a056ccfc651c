"""Real labelled folders for benchmarks, written once into a cache; none is in the repository.

A labelled folder is ``NAME/CLASS/picture``; an oddness folder is ``NAME/train/normal/…`` and
``NAME/test/{normal,odd}/…``. What a folder is made from and is not there is said in one line.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from data import source
from measuring import say
from vicinal import load

CROPS = 60  # of each photograph
Named = tuple[str, str, Path | Image.Image]  # class, file name, picture


class MissingError(Exception):
    """One line: what is missing, and what gets it."""


def folder(name: str, limit: int, cache: Path) -> Path:
    """The folder ``name`` with at most ``limit`` pictures a part, made if it is not there.

    Raises:
        MissingError: If what it is made from cannot be had.
    """
    where = cache / f"{name}-{limit}"
    if not where.is_dir():
        say(f"writing {where}")
        partial = where.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        for kind, file, picture in SETS[name](limit, cache):
            place = partial / kind
            place.mkdir(parents=True, exist_ok=True)
            if isinstance(picture, Path):
                (place / file).symlink_to(picture.resolve())
            else:
                picture.save(place / file)
        partial.rename(where)
    return where


def debian(package: str, cache: Path) -> Path:
    """A Debian package's files, unpacked into the cache by its own tools; nothing is installed."""
    place = cache / package
    if not place.is_dir():
        apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg")
        if apt is None or dpkg is None:
            raise MissingError(f"needs Debian's {package}: unpack its files into {place}")
        say(f"apt-get download {package}")
        cache.mkdir(parents=True, exist_ok=True)
        got = subprocess.run([apt, "download", package], cwd=cache, capture_output=True)
        found = sorted(cache.glob(f"{package}_*.deb"))
        if got.returncode or not found:
            raise MissingError(f"needs Debian's {package}: apt-get download {package} did not work")
        subprocess.run([dpkg, "-x", found[-1], place], check=True)
    return place


def _drawn(files: list[tuple[str, Path]], limit: int) -> Iterator[Named]:
    """At most ``limit`` of (class, file), without classes of fewer than 6."""
    order = np.random.default_rng(0).permutation(len(files))[:limit]
    chosen = [files[i] for i in sorted(order.tolist())]
    kinds = [kind for kind, _ in chosen]
    for row, (kind, file) in enumerate(chosen):
        if kinds.count(kind) >= 6:
            yield kind, f"{row:05}{file.suffix}", file


def _openclipart(limit: int, cache: Path) -> Iterator[Named]:
    root = debian("openclipart-png", cache) / "usr/share/openclipart/png"
    files = [(file.relative_to(root).parts[0], file) for file in sorted(root.rglob("*/*.png"))]
    return _drawn([(kind, file) for kind, file in files if file.is_file()], limit)


def _oxygen(limit: int, cache: Path) -> Iterator[Named]:
    root = debian("oxygen-icon-theme", cache) / "usr/share/icons/oxygen/base/128x128"
    files = sorted(file for file in root.glob("*/*.png") if not file.is_symlink())
    return _drawn([(file.parent.name, file) for file in files], limit)


def _written(name: str) -> Callable[[int, Path], Iterator[Named]]:
    def pictures(limit: int, cache: Path) -> Iterator[Named]:
        images = load(source(name), size=28 if name == "mnist" else 32).train
        for row in np.random.default_rng(0).permutation(len(images))[:limit]:
            picture = Image.fromarray(images.pixels[row].squeeze())
            yield images.class_names[images.labels[row]], f"{row:05}.png", picture

    return pictures


def _one_class(name: str, normal: int) -> Callable[[int, Path], Iterator[Named]]:
    """One class as the normal one; in the test part as many of the other classes are odd."""

    def pictures(limit: int, cache: Path) -> Iterator[Named]:
        parts = load(source(name), size=28 if name == "mnist" else 32)
        rng = np.random.default_rng(0)
        learned, asked = parts.train, parts.test
        mine = rng.permutation(np.flatnonzero(learned.labels == normal))[:limit]
        same = rng.permutation(np.flatnonzero(asked.labels == normal))[: limit // 2]
        others = rng.permutation(np.flatnonzero(asked.labels != normal))[: len(same)]
        chosen = (
            ("train/normal", learned, mine),
            ("test/normal", asked, same),
            ("test/odd", asked, others),
        )
        for part, images, rows in chosen:
            for row in rows:
                yield part, f"{row:05}.png", Image.fromarray(images.pixels[row].squeeze())

    return pictures


def _photographs(cache: Path) -> list[tuple[str, Image.Image]]:
    """Photographs (RGB) inside scikit-image, scikit-learn and Debian's gnome-backgrounds."""
    places = []
    for module, within in (("skimage", "data"), ("sklearn", "datasets/images")):
        found = importlib.util.find_spec(module)
        if found is None or found.origin is None:
            raise MissingError(f"needs the photographs inside {module}: pip install scikit-image")
        places.append(Path(found.origin).parent / within)
    places.append(debian("gnome-backgrounds", cache) / "usr/share/backgrounds/gnome")
    named = []
    for place in places:
        for file in sorted(place.iterdir()):
            if file.suffix in (".png", ".jpg", ".webp"):
                picture = Image.open(file)
                if min(picture.size) >= 200:
                    picture.thumbnail((1024, 1024))
                    named.append((file.stem, picture.convert("RGB")))
    return named


def _crop(picture: Image.Image, rng: np.random.Generator, least: int, most: int) -> Image.Image:
    side = min(int(rng.integers(least, most)), *picture.size)
    left, top = (int(rng.integers(end - side + 1)) for end in picture.size)
    return picture.crop((left, top, left + side, top + side))


def _crops(limit: int, cache: Path) -> Iterator[Named]:
    rng, photographs = np.random.default_rng(0), _photographs(cache)
    each = max(6, min(CROPS, limit // len(photographs)))
    for name, picture in photographs:
        for number in range(each):
            yield name, f"{number:03}.png", _crop(picture, rng, 90, 300)


def _defects(limit: int, cache: Path) -> Iterator[Named]:
    """Grey crops of textures; odd ones have a scratch, a blot or a bright speck, 3 to 6 % wide."""
    textures = [(n, p.convert("L")) for n, p in _photographs(cache) if n in TEXTURES]
    rng = np.random.default_rng(0)
    counts = {"train/normal": limit, "test/normal": limit // 2, "test/odd": limit // 2}
    for part, count in counts.items():
        for number in range(count):
            name, picture = textures[number % len(textures)]
            crop = _crop(picture, rng, 128, 129)
            if part == "test/odd":
                _spoil(crop, rng)
            yield part, f"{name}-{number:04}.png", crop


def _spoil(crop: Image.Image, rng: np.random.Generator) -> None:
    draw, side = ImageDraw.Draw(crop), crop.width
    x, y = rng.integers(side // 5, side * 4 // 5, 2).tolist()
    size = int(rng.integers(side * 3 // 100 + 1, side * 6 // 100 + 2))
    kind = int(rng.integers(3))
    if kind == 0:
        end = (x + int(rng.integers(-25, 26)), y + int(rng.integers(-25, 26)))
        draw.line([(x, y), end], fill=20, width=2)
    else:
        draw.ellipse([x - size, y - size, x + size, y + size], fill=40 if kind == 1 else 235)


TEXTURES = ("brick", "grass", "gravel")
LABELLED = ("clipart", "icons", "cifar", "mnist", "crops")
ODDNESS = ("odd-cifar", "odd-mnist", "defects")
SETS: dict[str, Callable[[int, Path], Iterator[Named]]] = {
    "clipart": _openclipart,
    "icons": _oxygen,
    "cifar": _written("cifar10"),
    "mnist": _written("mnist"),
    "crops": _crops,
    "odd-cifar": _one_class("cifar10", 7),
    "odd-mnist": _one_class("mnist", 3),
    "defects": _defects,
}
"""Each folder's pictures: (limit, cache) → class, file name, picture."""
ABOUT = {
    "clipart": "Debian's openclipart-png, by outermost category",
    "icons": "Debian's oxygen-icon-theme, 128×128, by category",
    "cifar": "CIFAR-10 (JPEG copy) written out as files",
    "mnist": "MNIST written out as files",
    "crops": "crops of the photographs inside scikit-image, scikit-learn and Debian's "
    "gnome-backgrounds; the label is the photograph",
    "odd-cifar": "CIFAR-10 (JPEG copy), horses as normal, other classes odd",
    "odd-mnist": "MNIST, threes as normal, other digits odd",
    "defects": "grey crops of brick, grass and gravel; odd ones have a small drawn defect",
}
