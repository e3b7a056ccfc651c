"""Retrieval: which images are nearest to one and which farthest; are they of its class?"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps
from scipy.stats import skew

from vicinal import cores
from vicinal.encoder.pretrained import encoder_file
from vicinal.encoder.saved import fingerprint, load_encoder
from vicinal.errors import InputError, option
from vicinal.evaluations.score import Answer, Score
from vicinal.file_names import as_path, as_text
from vicinal.files import replacing
from vicinal.images import ImageSet, decoding, load_parts
from vicinal.representations.embed import embed, made_with
from vicinal.representations.index import Index
from vicinal.representations.neighbours import Neighbours, nearest_and_farthest
from vicinal.representations.representations import Representations

_CELL = 128  # pixels a side
_CAPTION = 16
_GAP = 4
_ACROSS = 6


@dataclass(frozen=True, eq=False)
class Retrieved:
    """One end of the ranking: the k nearest, or the k farthest, of the gallery.

    Attributes:
        indices: Array (S, k) int64 of rows of the gallery, for each shown query, the most
            extreme first.
        distances: Array (S, k) float32, L2.
        ids: Array (S, k) of strings, the ids of those rows.
        precision: Share of all queries' k images that have the query's class; None without
            labels.
        precision_per_class: Array (C,) float64, the same by the query's class, NaN for a class
            without queries; None without labels.
        hubness: Skewness of how often a gallery image is among some query's k.
    """

    indices: NDArray[np.int64]
    distances: NDArray[np.float32]
    ids: NDArray[np.str_]
    precision: Score | None
    precision_per_class: NDArray[np.float64] | None
    hubness: Score


@dataclass(frozen=True, eq=False)
class RetrievalResult:
    """What `retrieve` found.

    Attributes:
        shown: Array (S,) int64, positions of the shown queries.
        query_ids: Array (S,) of strings, their ids.
        nearest: The nearest images.
        farthest: The farthest images.
    """

    shown: NDArray[np.int64]
    query_ids: NDArray[np.str_]
    nearest: Retrieved
    farthest: Retrieved


def retrieve(
    queries: Representations,
    gallery: Representations,
    *,
    k: int = 5,
    shown: NDArray[np.int64],
    exclude_self: bool = False,
    device: str = "cpu",
) -> RetrievalResult:
    """Finds the k nearest and the k farthest gallery images of every query, by L2.

    Args:
        queries: The images searched for; all count in the scores.
        gallery: The images searched.
        k: Images at either end.
        shown: Array (S,) int64, positions in ``queries`` whose images are kept in the result.
        exclude_self: The queries are the gallery, and an image is not its own neighbour.
        device: Where distances are computed, ``cpu`` or ``cuda``.

    Raises:
        InputError: If the gallery has fewer than k images, or classes or features differ.
    """
    if len(queries) == 0:
        raise InputError("retrieval: there are no queries")
    labelled = _labelled(queries) and _labelled(gallery)
    if labelled and queries.class_names != gallery.class_names:
        raise InputError("retrieval: queries and gallery must have the same class names")
    near, far = nearest_and_farthest(
        queries.array, gallery.array, k, exclude_self=exclude_self, device=device
    )
    return RetrievalResult(
        shown=shown,
        query_ids=queries.ids[shown],
        nearest=_retrieved("nearest", near, queries, gallery, shown, exclude_self),
        farthest=_retrieved("farthest", far, queries, gallery, shown, exclude_self),
    )


def one_query_per_class(
    queries: Representations, *, seed: int = 0, n_without_labels: int = 10
) -> NDArray[np.int64]:
    """Draws positions of queries to show: one of each class, in the classes' order.

    Args:
        queries: The images to draw from; a class without any is left out.
        seed: Seed of the draw; the same images and seed give the same positions whatever the
            representations are.
        n_without_labels: How many to draw where there are no labels.
    """
    shuffled = np.random.default_rng(seed).permutation(len(queries))
    if queries.labels is None or not queries.labelled_count:
        return np.sort(shuffled[:n_without_labels])
    labels, first = np.unique(queries.labels[shuffled], return_index=True)
    return shuffled[first[labels >= 0]]


def _labelled(images: Representations) -> bool:
    """Whether every image has a label."""
    return images.labels is not None and images.labelled_count == len(images)


def colour_gap(
    query_pixels: NDArray[np.uint8], other_pixels: NDArray[np.uint8]
) -> tuple[Score, Score]:
    """How far in colour the retrieved images are from their queries.

    An image's saturation and brightness are the means over its pixels of HSV's S and V,
    from 0 to 1; a grey pixel has saturation 0. The gap is the mean absolute difference
    between a query and each of its images.

    Args:
        query_pixels: Array (Q, H, W, C) uint8, C = 1 or 3.
        other_pixels: Array (Q, k, H, W, C) uint8, the images retrieved for each query.

    Returns:
        The gap in saturation and the gap in brightness; n counts the pairs.
    """
    pairs = other_pixels.shape[:2]
    if other_pixels.ndim != 5 or len(query_pixels) != pairs[0] or 0 in pairs:
        raise InputError(
            f"colour gap: queries {query_pixels.shape} need others (Q, k, H, W, C), "
            f"found {other_pixels.shape}"
        )
    gaps = np.zeros((len(query_pixels), pairs[1], 2))
    for row in range(len(query_pixels)):  # one at a time bounds the memory
        query = _saturation_and_brightness(query_pixels[row : row + 1])
        gaps[row] = np.abs(_saturation_and_brightness(other_pixels[row]) - query)
    saturation, brightness = gaps.mean(axis=(0, 1)).tolist()
    count = pairs[0] * pairs[1]
    return (
        Score("saturation_gap", saturation, 0.0, 1.0, "neither", None, count),
        Score("brightness_gap", brightness, 0.0, 1.0, "neither", None, count),
    )


def _retrieved(
    end: str,
    found: Neighbours,
    queries: Representations,
    gallery: Representations,
    shown: NDArray[np.int64],
    exclude_self: bool,
) -> Retrieved:
    """One end of the ranking with its scores."""
    precision, per_class = None, None
    if _labelled(queries) and _labelled(gallery):
        assert queries.labels is not None
        assert gallery.labels is not None
        same = (gallery.labels[found.indices] == queries.labels[:, None]).mean(axis=1)
        classes = len(queries.class_names)
        sizes = np.bincount(queries.labels, minlength=classes)
        sums = np.bincount(queries.labels, same, minlength=classes)
        per_class = np.divide(sums, sizes, out=np.full(classes, np.nan), where=sizes > 0)
        available = np.bincount(gallery.labels, minlength=classes)[queries.labels] - exclude_self
        precision = Score(
            name=f"{end}_precision_at_{found.indices.shape[1]}",
            value=float(same.mean()),
            low=0.0,
            high=1.0,
            better="higher" if end == "nearest" else "neither",
            chance=float(available.mean() / (len(gallery) - exclude_self)),
            n=len(queries),
        )
    return Retrieved(
        indices=found.indices[shown],
        distances=found.distances[shown],
        ids=gallery.ids[found.indices[shown]],
        precision=precision,
        precision_per_class=per_class,
        hubness=_hubness(end, found.indices, len(gallery), exclude_self),
    )


def _hubness(end: str, indices: NDArray[np.int64], gallery_size: int, exclude_self: bool) -> Score:
    """Skewness of the k-occurrence N_k (Radovanović et al., JMLR 2010, equation 1).

    A few images that are among everybody's k give a large positive skewness. Chance is that
    of k images drawn at random for each query, where N_k is binomial.
    """
    queries, k = indices.shape
    occurrence = np.bincount(indices.ravel(), minlength=gallery_size)
    share = k / (gallery_size - exclude_self)
    trials = queries - exclude_self
    chance_spread = np.sqrt(trials * share * (1 - share))
    value = float(skew(occurrence)) if np.ptp(occurrence) > 0 else 0.0
    chance = float((1 - 2 * share) / chance_spread) if chance_spread > 0 else 0.0
    return Score(f"{end}_hubness", value, None, None, "lower", chance, gallery_size)


def _saturation_and_brightness(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean S and V of HSV, (B, 2), of images (B, H, W, C)."""
    greatest = pixels.max(axis=-1).astype(np.float64)
    least = pixels.min(axis=-1)
    saturation = (greatest - least) / np.maximum(greatest, 1)  # black has none
    return np.stack([saturation.mean(axis=(1, 2)), greatest.mean(axis=(1, 2)) / 255], axis=1)


@dataclass(frozen=True, eq=False)
class Similar(Answer):
    """The pictures found for one.

    Attributes:
        query: The query's id, or its path if it is none of the set.
        row: Its row in the set; None if it is none of it.
        rows: Array (k,) int64, the rows found, the most extreme first.
        distances: Array (k,) float32, L2 distances of representations.
    """

    query: str
    row: int | None
    rows: NDArray[np.int64]
    distances: NDArray[np.float32]

    def header(self, pictures: Representations) -> list[str]:
        """The names that `listed` gives."""
        return ["rank", *pictures.columns(), "distance"]

    def listed(self, pictures: Representations) -> list[dict[str, Any]]:
        """Each picture found, as plain data."""
        pairs = zip(self.rows.tolist(), self.distances.tolist(), strict=True)
        return [
            {"rank": rank, **pictures.describe(row), "distance": distance}
            for rank, (row, distance) in enumerate(pairs, 1)
        ]


@cores.shared()
def similar(
    embeddings: Representations,
    query: str,
    *,
    k: int = 10,
    farthest: bool = False,
    encoder: Path | None = None,
    index: Index | None = None,
) -> Similar:
    """Finds the k nearest pictures, or the k farthest; exactly, and without the query itself.

    Args:
        embeddings: The pictures to search.
        query: The id or the path of one of them, or the path of another picture.
        k: How many.
        farthest: Whether to look for the least similar.
        encoder: The run folder or file of the encoder that made the embeddings; needed for
            another picture.
        index: The index of the set, row for row; then the nearest are nearly the nearest, and
            the farthest, by a pass over its vectors, still exactly the farthest.

    Raises:
        InputError: If the query is nowhere, the encoder missing or another, or k too large.
    """
    row = _row_of(embeddings, query)
    others = np.arange(len(embeddings))
    if row is None:
        encoded = _encoded(embeddings, query, encoder)
    else:
        encoded = embeddings.take(np.array([row]))
        others = np.delete(others, row)
    wanted = encoded.as_compared().array
    if len(others) == 0:
        raise InputError(f"{query}: is the only picture of the set; there is no other to find")
    if not 1 <= k <= len(others):
        raise InputError(
            f"{option('k', k)}: the set has {len(others)} pictures to find; ask for 1 to "
            f"{len(others)}"
        )
    name = query if row is None else str(embeddings.ids[row])
    if index is not None:
        own = None if row is None else np.array([row])
        found = (index.farthest if farthest else index.nearest)(wanted, k, own=own)
        return Similar(name, row, found.indices[0], found.distances[0])
    found = nearest_and_farthest(wanted, embeddings.as_compared().array[others], k)[farthest]
    return Similar(name, row, others[found.indices[0]], found.distances[0])


def _row_of(embeddings: Representations, query: str) -> int | None:
    """The row whose id, or else whose path, the query is."""
    path = as_text(os.path.abspath(query))
    # An id is as it was written, or a file's name as a shell hands it on.
    for column, text in (
        (embeddings.ids, query),
        (embeddings.ids, as_text(query)),
        (embeddings.paths, path),
    ):
        if column is not None and len(rows := np.flatnonzero(column == text)):
            return int(rows[0])
    return None


def _encoded(embeddings: Representations, query: str, encoder: Path | None) -> Representations:
    """The representation of a picture that is not in the set."""
    path = Path(query)
    if not path.is_file():
        close = difflib.get_close_matches(query, embeddings.ids[:10_000].tolist(), n=1)
        hint = f"; did you mean {close[0]}?" if close else f"; ids look like {embeddings.ids[0]}"
        raise InputError(f"{query}: neither an id in the file nor a picture{hint}")
    if encoder is None:
        raise InputError(
            f"{query}: not among the embeddings, so it must be encoded; name the encoder's run by "
            f"{option('encoder')}"
        )
    file = encoder_file(encoder)
    network, preparation = load_encoder(file)
    made_by = embeddings.origin.get("encoder_sha256", fingerprint(file))
    pixels = decoding.decode(
        path,
        query,
        size=preparation.size,
        channels=preparation.channels,
        whole=preparation.whole,
        interpolation=preparation.interpolation,
        span=preparation.span or embeddings.origin.get("span"),
    )
    images = ImageSet("query", pixels[None], np.array(["query"]))
    encoded = embed(network, images, preparation)
    if made_by != fingerprint(file) or encoded.array.shape[1] != embeddings.array.shape[1]:
        raise InputError(
            f"{option('encoder', encoder)}: another encoder made these embeddings "
            f"({embeddings.origin.get('encoder', 'unknown')}); name that one"
        )
    return replace(encoded, origin=made_with(file, preparation))


def write_grid(
    path: Path,
    embeddings: Representations,
    query: int | Path,
    rows: Sequence[int],
    captions: list[str],
) -> None:
    """Writes the query and the pictures at ``rows``, row by row, each over its caption.

    Pictures come from their files, or for embeddings without paths from the source that they
    were made from; each is shown whole, on white.

    Args:
        path: Where the PNG goes.
        embeddings: What the rows count in.
        query: The first picture, by row or by file.
        rows: The others.
        captions: One for each picture, the query's first.

    Raises:
        InputError: If the pictures are not to be had.
    """
    shown = [query, *rows] if isinstance(query, int) else list(rows)
    tiles = list(pictures_of(embeddings, shown, "grid"))
    if isinstance(query, Path):
        tiles.insert(0, _tile(query, str(query)))
    across = min(_ACROSS, len(tiles))
    step = _CELL + _GAP, _CELL + _CAPTION + _GAP
    size = across * step[0] + _GAP, math.ceil(len(tiles) / across) * step[1] + _GAP
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for place, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        x, y = place % across * step[0] + _GAP, place // across * step[1] + _GAP
        sheet.paste(tile, (x, y))
        draw.text((x, y + _CELL + 2), _latin(caption), fill="black")
        if place == 0:
            draw.rectangle((x - 2, y - 2, x + _CELL + 1, y + _CELL + 1), outline="red", width=2)
    with replacing(path) as partial:
        sheet.save(partial, "PNG")


def pictures_of(
    embeddings: Representations,
    rows: Sequence[int],
    parameter: str,
    side: int = _CELL,
    *,
    squeezed: bool = False,
) -> Iterator[Image.Image]:
    """The pictures at ``rows``, from their files or else from their source, in colour.

    Each is whole: in the middle of a white square or, ``squeezed``, filling the square.

    Args:
        embeddings: What the rows count in.
        rows: Which.
        parameter: The parameter that asked for them, for the message.
        side: Pixels.
        squeezed: As encoders see them.

    Raises:
        InputError: If they are not to be had.
    """
    if embeddings.paths is not None:
        for row in rows:
            where = str(embeddings.paths[row])
            if squeezed:
                found = decoding.decode(as_path(where), where, size=side, channels=3)
                yield Image.fromarray(found)
            else:
                yield _tile(as_path(where), where, side)
        return
    pixels = _source_pixels(embeddings, parameter)
    for row in rows:
        name = str(embeddings.ids[row])
        if name not in pixels:
            raise InputError(
                f"{option(parameter)}: {embeddings.origin['source']} has no picture {name} now"
            )
        image, (width, height) = pixels[name]
        square = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        if squeezed:
            width = height = 1
        longer = max(width, height)
        shape = max(1, round(side * width / longer)), max(1, round(side * height / longer))
        yield _on_white(square.resize(shape, Image.Resampling.NEAREST), side)


_Sized = tuple[NDArray[np.uint8], tuple[int, int]]


def _source_pixels(embeddings: Representations, parameter: str) -> dict[str, _Sized]:
    """Pictures by id, with their width and height, from the source of the embeddings."""
    origin = embeddings.origin
    if not {"source", "size", "channels"} <= set(origin):
        raise InputError(
            f"{option(parameter)}: the embeddings say neither paths nor a source; use "
            "`vicinal embed`"
        )
    folder = origin.get("data_dir")
    parts = load_parts(
        origin["source"],
        decoding.Decoding(origin["size"], origin["channels"]),
        data_dir=None if folder is None else Path(folder),
    )
    found: dict[str, _Sized] = {}
    for images in (part.images for part in parts):
        sizes = [(1, 1)] * len(images) if images.sizes is None else images.sizes.tolist()
        found |= zip(images.ids.tolist(), zip(images.pixels, sizes, strict=True), strict=True)
    return found


def _tile(path: Path, where: str, side: int = _CELL) -> Image.Image:
    return _on_white(decoding.decode_whole(path, where, side), side)


def _on_white(picture: Image.Image, side: int) -> Image.Image:
    return ImageOps.pad(picture.convert("RGB"), (side, side), color="white")


def _latin(caption: str) -> str:
    """What Pillow's own font can draw, cut to a cell's width."""
    return caption.encode("latin-1", "replace").decode("latin-1")[-20:]
