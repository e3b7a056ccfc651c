"""Copies of training pictures among test pictures: what is found, and what is taken for one.

python benchmarks/leaks.py [SET ...]; peers: pip install imagededup ImageHash. A set is pictures,
half of which are training; test is the rest and copies of some training pictures, made by the
seven `CHANGES`. A false pair is one of two pictures that are no planted copy and, of crops, do not
overlap. What a set of clip art holds twice by itself counts as false, for all alike.
"""

from __future__ import annotations

import importlib.util
import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from data import source
from folder_sets import MissingError, debian
from grouping_sets import CACHE, PHOTOGRAPHS
from measuring import say
from vicinal import load
from vicinal.errors import InputError
from vicinal.evaluations.leaks import leaks_between, read_pictures
from vicinal.images.decoding import opaque

COUNT = 700  # training pictures; half as many others in test, and a tenth for each change
# Constants were chosen on these.
SETS_CHOSEN = ("CIFAR-10 (JPEG copy)", "clip art", "photographs", "icons", "stamps")
Picture = Image.Image
Named = tuple[str, Picture]


def _resized(picture: Picture, rng: np.random.Generator) -> Picture:
    factor = 2 ** rng.uniform(-1, 1)
    sides = [max(16, round(side * factor)) for side in picture.size]
    return picture.resize(sides, Image.Resampling.BICUBIC)


def _recompressed(picture: Picture, rng: np.random.Generator) -> Picture:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=int(rng.integers(40, 91)))
    return Image.open(file)


def _cropped(picture: Picture, rng: np.random.Generator) -> Picture:
    width, height = (max(8, round(side * rng.uniform(0.85, 0.97))) for side in picture.size)
    left, top = (
        int(rng.integers(all_ - part + 1))
        for all_, part in zip(picture.size, (width, height), strict=True)
    )
    return picture.crop((left, top, left + width, top + height))


def _brightened(picture: Picture, rng: np.random.Generator) -> Picture:
    factor = rng.uniform(0.75, 0.9) if rng.random() < 0.5 else rng.uniform(1.1, 1.3)
    return ImageEnhance.Brightness(picture).enhance(factor)


CHANGES: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "exact": lambda picture, _: picture,
    "resized": _resized,
    "re-compressed": _recompressed,
    "cropped": _cropped,
    "mirrored": lambda picture, _: ImageOps.mirror(picture),
    "brightened": _brightened,
    "several": lambda p, rng: _recompressed(_brightened(_resized(_cropped(p, rng), rng), rng), rng),
}


def _cifar(count: int) -> list[Named]:
    images = load(source("cifar10"), size=32).train
    rows = np.random.default_rng(0).permutation(len(images))[:count]
    return [(str(row), Image.fromarray(images.pixels[row])) for row in rows]


def _files(files: list[Path], count: int) -> list[Named]:
    files = sorted(file for file in files if file.is_file() and not file.is_symlink())
    rows = np.random.default_rng(0).permutation(len(files))[:count]
    found = []
    for row in rows:
        picture = Image.open(files[row])
        picture.thumbnail((256, 256))
        found.append((str(row), opaque(picture).convert("RGB")))
    return found


def _clipart(count: int) -> list[Named]:
    root = debian("openclipart-png", CACHE) / "usr/share/openclipart/png"
    return _files(list(root.rglob("*.png")), count)


def _icons(count: int) -> list[Named]:
    root = debian("oxygen-icon-theme", CACHE) / "usr/share/icons/oxygen/base/128x128"
    return _files(list(root.rglob("*.png")), count)


def _stamps(count: int) -> list[Named]:
    root = debian("tuxpaint-stamps-default", CACHE) / "usr/share/tuxpaint/stamps"
    return _files([f for f in root.rglob("*.png") if "_mirror" not in f.stem], count)


def _photographs(count: int) -> list[Named]:
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise MissingError("needs scikit-image: pip install scikit-image")
    folder = Path(found.submodule_search_locations[0]) / "data"
    return _crops([folder / name for name in PHOTOGRAPHS if name != "page.png"], count)


def _backgrounds(count: int) -> list[Named]:
    root = debian("gnome-backgrounds", CACHE) / "usr/share/backgrounds/gnome"
    return _crops([f for f in sorted(root.iterdir()) if f.suffix in (".jpg", ".webp")], count)


def _crops(files: list[Path], count: int) -> list[Named]:
    """Crops, named by photograph and place."""
    rng = np.random.default_rng(0)
    whole = []
    for file in files:
        picture = Image.open(file).convert("RGB")
        picture.thumbnail((1024, 1024))
        whole.append((file.stem, picture))
    found = []
    for number in range(count):
        name, picture = whole[number % len(whole)]
        side = min(int(rng.integers(90, 300)), *picture.size)
        left, top = (int(rng.integers(end - side + 1)) for end in picture.size)
        crop = picture.crop((left, top, left + side, top + side))
        found.append((f"{name}@{left}@{top}@{side}@{number}", crop))
    return found


SETS: dict[str, Callable[[int], list[Named]]] = {
    "CIFAR-10 (JPEG copy)": _cifar,
    "clip art": _clipart,
    "photographs": _photographs,
    "icons": _icons,
    "stamps": _stamps,
    "backgrounds": _backgrounds,
}


def write(pictures: list[Named], place: Path) -> None:
    """Training and test part as folders; a copy is called by its original and its change."""
    rng = np.random.default_rng(1)
    count = min(COUNT, len(pictures) * 2 // 3)
    for part in ("train", "test"):
        (place / part).mkdir(parents=True)
    for number, (name, picture) in enumerate(pictures):
        picture.save(place / ("train" if number < count else "test") / f"{name}.png")
    for number, (name, picture) in enumerate(pictures[: count // 10 * len(CHANGES)]):
        kind = list(CHANGES)[number % len(CHANGES)]
        CHANGES[kind](picture, rng).save(place / "test" / f"{name}__{kind}.png")


def overlap(one: str, other: str) -> bool:
    """Whether two crops, by their names, show a part of one photograph in common."""
    if "@" not in one:
        return False
    (name, *a), (again, *b) = (text.split("@")[:4] for text in (one, other))
    ours, theirs = ([int(number) for number in place] for place in (a, b))
    across, down = (
        min(ours[axis] + ours[2], theirs[axis] + theirs[2]) - max(ours[axis], theirs[axis])
        for axis in (0, 1)
    )
    return name == again and across > 0 and down > 0


def judged(pairs: set[tuple[str, str]], place: Path) -> tuple[dict[str, float], int, int]:
    """The share found of each kind of copy, pairs, and false ones among them."""
    copies = [file.stem.rsplit("__", 1) for file in place.glob("test/*__*.png")]
    found = {kind: [(n, f"{n}__{k}") in pairs for n, k in copies if k == kind] for kind in CHANGES}
    false = [
        (a, b)
        for a, b in pairs
        if b.rsplit("__", 1)[0] != a and not overlap(a, b.rsplit("__", 1)[0])
    ]
    return {kind: float(np.mean(hits)) for kind, hits in found.items()}, len(pairs), len(false)


def ours(place: Path) -> set[tuple[str, str]]:
    """Pairs by this package, pictures alone."""
    sets = [read_pictures(str(place / part), data_dir=place) for part in ("train", "test")]
    found = leaks_between(*sets).listed()
    return {(Path(pair["id_a"]).stem, Path(pair["id_b"]).stem) for pair in found}


def _hashed(encode: Callable[[Path], int], place: Path, most: int) -> set[tuple[str, str]]:
    train, test = (
        {file.stem: encode(file) for file in sorted((place / part).glob("*.png"))}
        for part in ("train", "test")
    )
    return {
        (a, b) for a, one in train.items() for b, other in test.items()
        if (one ^ other).bit_count() <= most
    }  # fmt: skip


def imagehash(place: Path) -> set[tuple[str, str]]:
    """ImageHash's perceptual hash, 64 bits, up to 4 of which may differ."""
    from imagehash import phash

    return _hashed(lambda file: int(str(phash(Image.open(file))), 16), place, 4)


def imagededup(place: Path) -> set[tuple[str, str]]:
    """Imagededup's perceptual hash with its own default, up to 10 of 64 bits."""
    from imagededup.methods import PHash

    method = PHash(verbose=False)
    return _hashed(lambda file: int(method.encode_image(image_file=str(file)), 16), place, 10)


FINDERS = {
    "vicinal duplicates": ours,
    "ImageHash phash ≤ 4": imagehash,
    "imagededup PHash ≤ 10": imagededup,
}


def main(names: list[str]) -> None:
    print("## Leaks\n")
    print(
        f"`benchmarks/leaks.py`: {COUNT} training pictures (fewer where a set has fewer), half as "
        "many others in test, and copies: exact, resized (50–200 %), re-compressed (JPEG 40–90), "
        "cropped (85–97 % of each side), mirrored, brightened (×0.75–1.3), and all but the mirror "
        "at once. "
        f"Constants were chosen on {', '.join(SETS_CHOSEN)}; only backgrounds "
        "was not looked at for them. Share found in per cent; false are pairs that are no planted "
        "copy (of crops: and show nothing in common).\n"
    )
    print(f"| set | finder | {' | '.join(CHANGES)} | pairs | false | CPU s |")
    print("| --- | --- |" + " ---: |" * (len(CHANGES) + 3))
    for name in names or SETS:
        try:
            pictures = SETS[name](COUNT * 3 // 2)
        except (MissingError, InputError) as error:
            say(f"left out, {name}: {error}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            write(pictures, place)
            for finder, find in FINDERS.items():
                started = time.process_time()
                try:
                    shares, pairs, false = judged(find(place), place)
                except ImportError as error:
                    say(f"left out, {finder}: {error}")
                    continue
                seconds = time.process_time() - started
                cells = " | ".join(f"{share:.0%}".rstrip("%") for share in shares.values())
                print(f"| {name} | {finder} | {cells} | {pairs:,} | {false:,} | {seconds:.0f} |")
                sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
