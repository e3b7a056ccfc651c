"""The health card: can the representation be relied on; is it better than without training?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vicinal.encoder.pretrained import PRETRAINED, has_pretrained, open_start
from vicinal.encoder.saved import Preparation, load_encoder, read_metadata
from vicinal.estimators.patches import PatchFeatures
from vicinal.evaluations.collapse import CollapseResult, collapse
from vicinal.evaluations.own_view import own_view, views_of
from vicinal.images.image_set import ImageSet
from vicinal.images.in_memory import squares
from vicinal.representations.embed import embed
from vicinal.representations.neighbours import nearest, unit_length
from vicinal.runs.pictures import Pixels

_VERDICTS = ("good", "look", "bad")


def health(
    array: NDArray[np.float32],
    neighbours: NDArray[np.int32],
    copies: NDArray[np.int32],
    trust: NDArray[np.float32],
    rivals: Mapping[str, Any] | None,
    worth: dict[str, Any] | None = None,
    advice: str | None = None,
) -> dict[str, Any]:
    """Six figures with a verdict each, ``good``, ``look`` (at it) or ``bad``, and what they mean.

    The first says whether the encoder is worth having, and so does the first sentence.

    Args:
        array: Representations (N, F) float32, N ≥ 2.
        neighbours: Array (N, k) int32, the nearest other pictures of each.
        copies: Array (N,) int32, the duplicate group of each picture, −1 for none.
        trust: Array (N,) float32, see `vicinal.explore.map_pictures.map_trust`.
        rivals: What `vicinal.explore.health.hold_against_rivals` found; None where there is no
            encoder to ask.
        worth: The first figure of an earlier card of the same encoder, to be kept.
        advice: How to get a better encoder here, for a user whose encoder is no better.
    """
    spread = collapse(array)
    worth = worth or _worth(rivals, advice)
    figures = [
        worth,
        _rank(spread, array.shape),
        _collapsed(spread),
        _hubs(neighbours),
        _duplicates(copies),
        _map(trust),
    ]
    worst = max(_VERDICTS.index(figure["verdict"]) for figure in figures)
    return {"verdict": _VERDICTS[worst], "summary": _summary(worth, figures), "figures": figures}


def _summary(worth: dict[str, Any], figures: list[dict[str, Any]]) -> str:
    """What the encoder is worth, and what else there is to look at."""
    others = [f for f in figures if f is not worth and f["verdict"] != "good"]
    bad = [f["name"] for f in others if f["verdict"] == "bad"]
    if bad:
        return f"{worth['words']} Do not rely on this representation: {', '.join(bad)}."
    if others:
        return f"{worth['words']} To look at: {', '.join(f['name'] for f in others)}."
    return str(worth["words"])


def _worth(rivals: Mapping[str, Any] | None, advice: str | None) -> dict[str, Any]:
    """Whether the encoder is better than what needs no training: by labels, or by own views."""
    name = "beside no training"
    if rivals is None:
        words = "Not known whether this is better than raw pixels: its encoder is not here."
        return _figure(name, None, "not measured", "look", words)
    own = rivals["encoder"]
    by_labels = "agreement" in own
    shares = {key: float(one["agreement" if by_labels else "value"]) for key, one in rivals.items()}
    ahead = [rival for rival in rivals if rival != "encoder" and not _beats(own, rivals[rival])]
    shown = f"own view found among {own['n']:,} pictures: {_said(rivals, 'value')}"
    if by_labels:
        shown += (
            f"; {AGREEING} nearest of the same label among {own['labelled']:,}: "
            f"{_said(rivals, 'agreement')}"
        )
    told_by = "By labels, " if by_labels else ""
    if not ahead:
        *others, last_one = (rival for rival in rivals if rival != "encoder")
        words = f"{told_by}better than {', '.join(others)} and {last_one}."
        verdict = "good"
    else:
        strongest = max(ahead, key=lambda rival: shares[rival])
        last = shares["encoder"] <= shares["raw pixels"]
        verdict, beside = ("bad", "raw pixels") if last else ("look", strongest)
        how = "no" if shares["encoder"] <= shares[beside] else "not clearly"
        words = f"{told_by}{how} better than {beside}{f': {advice}' if advice else ''}."
    return _figure(name, own["value"], shown, verdict, words[0].upper() + words[1:])


def _said(rivals: Mapping[str, Any], share: str) -> str:
    return ", ".join(
        f"{'this encoder' if key == 'encoder' else key} {one[share]:.0%}"
        for key, one in rivals.items()
    )


def _beats(own: Mapping[str, Any], rival: Mapping[str, Any]) -> bool:
    if "lead" in rival:
        return bool(rival["lead"][0] > 0)
    return bool(own["interval"][0] > rival["interval"][1])


def _figure(name: str, value: float | None, shown: str, verdict: str, words: str) -> dict[str, Any]:
    return {"name": name, "value": value, "shown": shown, "verdict": verdict, "words": words}


def _rank(spread: CollapseResult, shape: tuple[int, ...]) -> dict[str, Any]:
    rank, most = spread.rankme_centred.value, min(shape)
    bad, look = min(2.0, most / 4), min(8.0, most / 2)
    verdict = "bad" if rank < bad else "look" if rank < look else "good"
    words = {
        "good": "Pictures differ in many independent ways, and the representation keeps them.",
        "look": "Pictures are told apart in few ways only; train longer or on more pictures.",
        "bad": "Nearly all pictures look the same to the encoder; train longer, or look at the "
        "pictures: they may be all alike.",
    }[verdict]
    return _figure(
        "effective rank", rank, f"{rank:.0f} of {most} dimensions", verdict, f"{words} (RankMe)"
    )


def _collapsed(spread: CollapseResult) -> dict[str, Any]:
    share = spread.top2_share.value
    verdict = "bad" if share > 0.95 else "look" if share > 0.8 else "good"
    words = {
        "good": "The spread is shared by many directions: no collapse.",
        "look": "Two directions hold most of the spread: a partial collapse.",
        "bad": "Two directions hold nearly all of the spread: the training collapsed.",
    }[verdict]
    return _figure("collapse", share, f"{share:.0%} in two directions", verdict, words)


def _hubs(neighbours: NDArray[np.int32]) -> dict[str, Any]:
    """The share of pictures that are nobody's neighbour: hubs take their places."""
    count, k = neighbours.shape
    named = np.bincount(neighbours.ravel(), minlength=count)
    never, most = float((named == 0).mean()), int(named.max())
    verdict = "bad" if never > 0.6 else "look" if never > 0.3 else "good"
    words = {
        "good": "Neighbours are spread evenly; no picture is everybody's neighbour.",
        "look": "Some pictures, hubs, are neighbours of very many others; beware of them.",
        "bad": "A few hubs are neighbours of nearly everything: nearest pictures say little.",
    }[verdict]
    shown = f"{never:.0%} are never among a picture's {k} nearest; one is in {most} lists"
    return _figure("hubs", never, shown, verdict, words)


def _duplicates(copies: NDArray[np.int32]) -> dict[str, Any]:
    share = float((copies >= 0).mean())
    verdict = "look" if share > 0.05 else "good"
    words = (
        "Many pictures are nearly the same; thin them out before labelling or splitting the set."
        if verdict == "look"
        else "Few pictures are nearly the same."
        if share > 0
        else "No two pictures are nearly the same."
    )
    return _figure("duplicates", share, f"{share:.1%} of the pictures", verdict, words)


def _map(trust: NDArray[np.float32]) -> dict[str, Any]:
    misled = float((trust < 0.5).mean())
    verdict = "bad" if misled > 0.5 else "look" if misled > 0.2 else "good"
    words = {
        "good": "Points that lie together on the map are alike.",
        "look": "Some points lie among pictures that are not like them; they are marked.",
        "bad": "Most places on the map mislead; go by the lists of nearest pictures instead.",
    }[verdict]
    return _figure("map", misled, f"{misled:.1%} of the points mislead", verdict, words)


MOST = 500
"""Pictures of which views are made: more would tell finer differences than matter here."""
PRETRAINED_RIVAL = "the pretrained network"
"""A rival where the extra ``pretrained`` is installed, unless the encoder began as it."""
AGREEING = 5
"""Nearest pictures whose labels are asked for, where pictures have labels."""
_LABELLED = 100  # pictures with labels, below which these say too little
_SIDE = 32  # of raw pixels, as `PatchFeatures` has it
_PRETRAINED_SIDE = 128  # its own 224 would take three times as long for small views

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def hold_against_rivals(
    pixels: Pixels,
    encoder: Path,
    labels: NDArray[np.int64] | None = None,
    *,
    device: str = "cpu",
) -> dict[str, Any]:
    """`own_view` of the encoder and of its rivals, over at most 500 pictures, and what labels say.

    Args:
        pixels: The pictures (N, S, S, C) uint8, N ≥ 2, of the encoder's size.
        encoder: The encoder's file.
        labels: Array (N,) int64, −1 for a picture without one.
        device: Where the encoder runs.

    Returns:
        Under ``encoder`` and the rivals' names a `Score` as plain data each; the network of the
        extra ``pretrained`` is a rival where it is installed. Where two classes or more have 6
        of the pictures each, and together 100, also ``agreement``, the share of the 5 nearest (by
        cosine) of the same label among these, ``labelled``, how many they are, and, of rivals,
        ``lead``, the 95 % bootstrap interval of how far the encoder is ahead on the same pictures.
    """
    rows = np.sort(np.random.default_rng(0).permutation(len(pixels))[:MOST])
    pictures = np.stack([pixels[row] for row in rows.tolist()])
    views = views_of(pictures)
    embedders = {"encoder": embedder(*load_encoder(encoder), device)} | {
        name: make(pictures) for name, make in RIVALS.items()
    }
    if has_pretrained() and not read_metadata(encoder)[0].start:
        embedders[PRETRAINED_RIVAL] = _pretrained(pictures.shape[3], device)
    found = {
        name: own_view(*(embedded(view) for view in views)).to_json()
        for name, embedded in embedders.items()
    }
    classes = np.full(len(rows), -1) if labels is None else labels[rows]
    kept = np.flatnonzero(_of_large_classes(classes))
    if len(kept) >= _LABELLED and len(np.unique(classes[kept])) > 1:
        alike = {
            name: _agreements(embedded(pictures[kept]), classes[kept])
            for name, embedded in embedders.items()
        }
        for name, shares in alike.items():
            found[name] |= {"agreement": float(shares.mean()), "labelled": len(kept)}
            if name != "encoder":
                found[name]["lead"] = _lead(alike["encoder"] - shares)
    return found


def _of_large_classes(classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the pictures (N,) have a label that enough others have to fill the nearest."""
    counts = np.bincount(classes[classes >= 0], minlength=1)
    large: NDArray[np.bool_] = (classes >= 0) & (counts[classes] > AGREEING)
    return large


def _agreements(array: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each picture (N,) the share of its nearest others, by cosine, that have its label."""
    unit = unit_length(array)
    near = nearest(unit, unit, AGREEING, exclude_self=True).indices
    shares: NDArray[np.float64] = (classes[near] == classes[:, None]).mean(axis=1)
    return shares


def _lead(differences: NDArray[np.float64], resamples: int = 1000) -> list[float]:
    """The 95 % bootstrap interval of the mean over pictures."""
    count, rng = len(differences), np.random.default_rng(0)
    means = [differences[rng.integers(count, size=count)].mean() for _ in range(resamples)]
    low, high = np.percentile(means, [2.5, 97.5])
    return [float(low), float(high)]


def embedder(network: nn.Module, preparation: Preparation, device: str) -> Embed:
    """What makes representations of pictures (N, S, S, C) uint8 of any side."""

    def embedded(views: NDArray[np.uint8]) -> NDArray[np.float32]:
        made = preparation
        found = squares(views, made.size, made.channels, interpolation=made.interpolation)
        assert found is not None  # an array of pictures is one
        images = ImageSet("views", found.pixels, np.arange(len(views)).astype(np.str_))
        return embed(network, images, made, device=device, batch_size=64).array

    return embedded


def _patches(pictures: NDArray[np.uint8]) -> Embed:
    features = PatchFeatures().fit(pictures)
    return lambda views: features.transform(views)


def _pixels(_: NDArray[np.uint8]) -> Embed:
    def embedded(views: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = squares(views, min(_SIDE, views.shape[1]), None)
        assert found is not None  # an array of pictures is one
        small = found.pixels
        return small.reshape(len(small), -1).astype(np.float32) / np.float32(255)

    return embedded


def _pretrained(channels: int, device: str) -> Embed:
    start = open_start(PRETRAINED, channels)
    return embedder(start.network(), replace(start.preparation, size=_PRETRAINED_SIDE), device)


RIVALS: dict[str, Callable[[NDArray[np.uint8]], Embed]] = {
    "raw pixels": _pixels,
    "patch features": _patches,
}
"""What needs no training here: pictures to what embeds pictures like them."""
