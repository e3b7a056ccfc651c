"""Representations of real folders of pictures beside each other: ours, and what anybody could use.

python benchmarks/folders.py [--limit 5000] [--folders clipart,icons] [--encoders pixels,ours:2]
    [--recipe photos] [--set objective.name=tcr] [--cache FOLDER]

Encoders: pixels, untrained, patches, pretrained (seen at 128 pixels; pretrained:224 at its own),
ours:E (E epochs), ours:Mmin (what `vicinal explore --minutes M` trains) and started:Mmin (the
same with `--start pretrained`), these two with the settings of `--set`; places are the oddest
places, which tell odd pictures alone. What is made is kept in the cache, so that a further encoder
or folder costs only itself.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import normalized_mutual_info_score

from folder_sets import ABOUT, LABELLED, SETS, MissingError, folder
from measuring import say, section, table
from vicinal import PatchFeatures, VICReg, channel_statistics, embed, load_encoder
from vicinal.encoder import build_encoder
from vicinal.encoder.pretrained import PRETRAINED, open_start
from vicinal.encoder.saved import Preparation
from vicinal.errors import InputError
from vicinal.evaluations.anomalies import anomaly_scores
from vicinal.evaluations.odd_places import fit_places
from vicinal.evaluations.same_picture import made_small
from vicinal.explore.request import Request
from vicinal.explore.run import explore
from vicinal.images import ImageSet, load_parts
from vicinal.images.decoding import Decoding
from vicinal.images.in_memory import squares
from vicinal.recipes import read_recipe
from vicinal.representations.neighbours import nearest, unit_length
from vicinal.runs.run_folder import recipe_for

SIDE, SMALL = 128, 32  # pixels that pictures are read at; each encoder scales them to its own
Pixels = NDArray[np.uint8]
Array = NDArray[np.float32]
Embed = Callable[[Pixels], Array]


@dataclass(frozen=True, eq=False)
class Pictures:
    """A folder's pictures (N, S, S, C), S = 128, or 32 where most are no larger.

    Attributes:
        name: One of `SETS`, with the limit.
        where: The folder that is learned from.
        train: What is learned from; labelled folders are measured on it too.
        labels: (N,), the classes of ``train``; all 0 in an oddness folder.
        test: Pictures to score in an oddness folder, else empty.
        odd: (M,) bool, which of them are odd.
    """

    name: str
    where: Path
    train: Pixels
    labels: NDArray[np.int64]
    test: Pixels
    odd: NDArray[np.bool_]


def pictures(name: str, limit: int, cache: Path) -> Pictures:
    """Reads a folder, written first if it is not there."""
    place = folder(name, limit, cache)
    parts = load_parts(f"folder:{place}", Decoding(SIDE), data_dir=cache / "decoded")
    sizes = parts[0].images.sizes
    assert sizes is not None
    if np.median(sizes.max(axis=1)) <= SMALL:  # enlarged and made small again they would be blurred
        parts = load_parts(f"folder:{place}", Decoding(SMALL), data_dir=cache / "decoded")
    train = parts[0].images
    assert train.labels is not None
    test, odd = train.pixels[:0], np.zeros(0, np.bool_)
    if len(parts) > 1:
        found = parts[1].images
        assert found.labels is not None
        test, odd = found.pixels, found.labels == found.class_names.index("odd")
    where = place / "train" if len(parts) > 1 else place
    return Pictures(f"{name}-{limit}", where, train.pixels, train.labels, test, odd)


def fitted(
    encoder: str, of: Pictures, recipe: str, cache: Path, settings: tuple[str, ...] = ()
) -> Embed:
    """What turns pictures into representations, learned from the folder if it learns at all."""
    kind, _, how_long = encoder.partition(":")
    if kind in ("ours", "started") and how_long.endswith("min"):
        return _explored(of, recipe, kind, float(how_long.removesuffix("min")), cache, settings)
    if kind == "ours":
        return _trained(of, recipe, int(how_long), cache)
    return {
        "pixels": lambda: lambda pixels: _flat(_square(pixels, 32)),
        "patches": lambda: PatchFeatures().fit(of.train).transform,
        "untrained": lambda: _untrained(of, recipe),
        "pretrained": lambda: _pretrained(int(how_long or SIDE)),
    }[kind]()


def _flat(pixels: Pixels) -> Array:
    return pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255)


def _square(pixels: Pixels, size: int, channels: int | None = None) -> Pixels:
    found = squares(pixels, size, channels)
    assert found is not None
    return found.pixels


def _by(network: torch.nn.Module, preparation: Preparation) -> Embed:
    def embedded(pixels: Pixels) -> Array:
        fitting = _square(pixels, preparation.size, preparation.channels)
        names = np.arange(len(fitting)).astype(np.str_)
        return embed(network, ImageSet("", fitting, names), preparation, batch_size=64).array

    return embedded


def _untrained(of: Pictures, recipe: str) -> Embed:
    torch.manual_seed(0)
    made = read_recipe(recipe)
    size, channels = made.views.size, of.train.shape[3]
    mean, std = channel_statistics(_square(of.train, size))
    network = build_encoder(made.encoder, channels=channels, size=size).eval()
    return _by(network, Preparation(size, channels, mean, std))


def _pretrained(size: int) -> Embed:
    """The network of the extra ``pretrained``; 224 pixels take three times as long as 128."""
    try:
        start = open_start(PRETRAINED)
    except InputError as error:
        raise MissingError(str(error)) from None
    network = start.network().to(memory_format=torch.channels_last)
    return _by(network, replace(start.preparation, size=size))


def _trained(of: Pictures, recipe: str, epochs: int, cache: Path) -> Embed:
    kept = cache / "encoders" / f"{of.name}-{recipe}-{epochs}.safetensors"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        VICReg(recipe, epochs=epochs, device="cpu").fit(of.train).save(kept)
    return _by(*load_encoder(kept))


def _explored(
    of: Pictures, recipe: str, kind: str, minutes: float, cache: Path, settings: tuple[str, ...]
) -> Embed:
    run = cache / "runs" / "-".join([of.name, recipe, kind, f"{minutes:g}", *settings])
    # Unnamed, the recipe is what a user gets, its views fitted to the pictures.
    start = (f"encoder.start={PRETRAINED}",) if kind == "started" else ()
    named = None if start or recipe == recipe_for(str(of.where)) else recipe
    settings = (*start, *settings)
    how = {"minutes": minutes, "run": run, "resume": run.is_dir()}
    explore(Request(str(of.where), recipe=named, settings=settings, **how))
    return _by(*load_encoder(run / "encoder.safetensors"))


def representations(
    encoder: str, of: Pictures, recipe: str, cache: Path, settings: tuple[str, ...] = ()
) -> tuple[Array, Array, float]:
    """Of train and test, and the processor's seconds that they took, from the cache or made."""
    by_recipe = encoder.startswith(("ours", "started", "untrained"))
    made_by = "-".join([encoder, recipe, *settings]) if by_recipe else encoder
    kept = cache / "representations" / f"{of.name}-{made_by}.npz"
    if not kept.is_file():
        began = time.process_time()
        embedded = fitted(encoder, of, recipe, cache, settings)
        train = embedded(of.train)
        test = embedded(of.test) if len(of.test) else train[:0]
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, train=train, test=test, seconds=time.process_time() - began)
    with np.load(kept) as held:
        return held["train"], held["test"], float(held["seconds"])


def compared_by(how: str, train: Array, test: Array) -> tuple[Array, Array]:
    """Representations as they are compared: ``L2``, ``cosine`` or ``whitened``."""
    if how == "L2":
        return train, test
    if how == "whitened":
        mean, deviation = train.mean(axis=0), train.std(axis=0)
        scale = np.where(deviation > 1e-6, deviation, np.inf)
        train, test = ((one - mean) / scale for one in (train, test))
        most = min(256, len(train) - 1, train.shape[1])
        pca = PCA(most, whiten=True, random_state=0).fit(train)
        train, test = (
            pca.transform(one).astype(np.float32) if len(one) else one[:, :most]
            for one in (train, test)
        )
    return unit_length(train), unit_length(test)


def agreement(array: Array, labels: NDArray[np.int64], k: int = 5) -> float:
    """The share of the 5 nearest others that have the same label."""
    found = nearest(array, array, k, exclude_self=True).indices
    return float((labels[found] == labels[:, None]).mean())


def auroc(train: Array, test: Array, odd: NDArray[np.bool_]) -> float:
    """Of the mean distance to the 2 nearest normal pictures."""
    return told_apart(anomaly_scores(train, test), odd)


def told_apart(scores: NDArray[np.floating], odd: NDArray[np.bool_]) -> float:
    """The chance that an odd picture's score is above a normal one's."""
    beyond = scores[odd][:, None] - scores[~odd][None]
    return float((beyond > 0).mean() + (beyond == 0).mean() / 2)


def nmi(array: Array, labels: NDArray[np.int64]) -> float:
    """Of k-means with as many clusters as classes, by cosine."""
    found = KMeans(len(np.unique(labels)), n_init=3, random_state=0).fit(array).labels_
    return float(normalized_mutual_info_score(labels, found))


ENCODERS = "pixels,untrained,patches,pretrained,ours:2,ours:8min"
HOW = ("L2", "cosine", "whitened")


def row(
    encoder: str, of: Pictures, recipe: str, cache: Path, settings: tuple[str, ...]
) -> list[str]:
    """An encoder's figures in one folder, or those of the oddest places."""
    if encoder == "places":
        return [of.name, encoder, *_by_places(of)]
    train, test, seconds = representations(encoder, of, recipe, cache, settings)
    cells = []
    for how in HOW:
        mine, theirs = compared_by(how, train, test)
        if len(of.test):
            cells.append(f"{auroc(mine, theirs, of.odd):.3f}")
        else:
            cells.append(f"{agreement(mine, of.labels):.3f}")
    groups = "" if len(of.test) else f"{nmi(compared_by('cosine', train, test)[0], of.labels):.3f}"
    return [of.name, encoder, *cells, groups, f"{seconds:.0f}"]


def _by_places(of: Pictures) -> list[str]:
    """The AUROC of each test picture's oddest place, held against those of normal pictures."""
    if not len(of.test):
        return ["", "", "", "", ""]
    began = time.process_time()
    small = made_small(of.train)
    (places,) = fit_places(small[:2_000], [small], len(of.test))
    scores = places.oddest(made_small(of.test)).scores
    spent = time.process_time() - began
    return [f"{told_apart(scores, of.odd):.3f}", "", "", "", f"{spent:.0f}"]


def options(description: str | None, names: Iterable[str]) -> argparse.ArgumentParser:
    """What the scripts that read these folders are asked."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--limit", type=int, default=5000)
    parser.add_argument("--folders", default=",".join(names))
    parser.add_argument("--encoders", default=ENCODERS)
    parser.add_argument("--recipe", default="photos")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/vicinal-folders")
    return parser


def main() -> None:
    """Prints the section."""
    parser = options(__doc__, SETS)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    asked = parser.parse_args()
    made: dict[str, list[list[str]]] = {"labelled": [], "odd": []}
    missing = []
    names = asked.folders.split(",")
    for name in names:
        for encoder in asked.encoders.split(","):
            say(f"{name}, {encoder}")
            try:
                found = pictures(name, asked.limit, asked.cache)
                line = row(encoder, found, asked.recipe, asked.cache, tuple(asked.set))
            except MissingError as error:
                missing.append(f"Not measured: {name}, {encoder}: {error}.")
                continue
            made["labelled" if name in LABELLED else "odd"].append([name, *line[1:]])
    heads = {
        "labelled": ("5 nearest of the same label", "k-means NMI"),
        "odd": ("AUROC, k = 2", ""),
    }
    tables = []
    for kind, rows in made.items():
        if not rows:
            continue
        what, groups = heads[kind]
        header = ["folder", "encoder", f"{what}: L2", "cosine", "whitened, cosine", groups, "s"]
        kept = [i for i, title in enumerate(header) if title]
        tables.append(table([header[i] for i in kept], [[one[i] for i in kept] for one in rows]))
    section(
        "Folders of pictures",
        "How well does each representation put alike pictures together, and odd ones apart, in "
        "folders that nobody prepared, beside what anybody could use instead?",
        tables,
        [
            f"At most {asked.limit:,} pictures a folder; recipe `{asked.recipe}`; `ours:E`: "
            "E epochs; `ours:Mmin`: what `vicinal explore --minutes M` trains. `whitened`: "
            "standardised, PCA-whitened to 256. NMI by cosine. s: seconds of the processor for "
            "learning and embedding, on a machine with other jobs.",
            *(f"{name}: {ABOUT[name]}." for name in names),
            *dict.fromkeys(missing),
        ],
    )


if __name__ == "__main__":
    main()
