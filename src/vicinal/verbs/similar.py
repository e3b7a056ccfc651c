"""similar: the pictures nearest to one, or the farthest from it."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.encoder.saved import fingerprint, load_encoder
from vicinal.errors import InputError, option
from vicinal.images import ImageSet, fit
from vicinal.images.names import as_text
from vicinal.representations.embed import embed
from vicinal.representations.embeddings import Embeddings
from vicinal.representations.index import Index
from vicinal.representations.neighbours import nearest_and_farthest
from vicinal.encoder.cached import encoder_file


@dataclass(frozen=True, eq=False)
class Similar:
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

    def listed(self, embeddings: Embeddings) -> list[dict[str, Any]]:
        """Each picture found, as plain data."""
        pairs = zip(self.rows.tolist(), self.distances.tolist(), strict=True)
        return [
            {"rank": rank, **embeddings.describe(row), "distance": distance}
            for rank, (row, distance) in enumerate(pairs, 1)
        ]


@cores.shared()
def similar(
    embeddings: Embeddings,
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
        asked = _encoded(embeddings, query, encoder)
    else:
        asked = np.asarray(embeddings.array[row : row + 1])
        others = np.delete(others, row)
    if not 1 <= k <= len(others):
        raise InputError(
            f"{option('k', k)}: the set has {len(others)} pictures to find; ask for 1 to that"
        )
    name = query if row is None else str(embeddings.ids[row])
    if index is not None:
        own = None if row is None else np.array([row])
        found = (index.farthest if farthest else index.nearest)(asked, k, own=own)
        return Similar(name, row, found.indices[0], found.distances[0])
    found = nearest_and_farthest(asked, embeddings.array[others], k)[farthest]
    return Similar(name, row, others[found.indices[0]], found.distances[0])


def _row_of(embeddings: Embeddings, query: str) -> int | None:
    """The row whose id, or else whose path, the query is."""
    path = as_text(os.path.abspath(query))
    for column, text in ((embeddings.ids, query), (embeddings.paths, path)):
        if column is not None and len(rows := np.flatnonzero(column == text)):
            return int(rows[0])
    return None


def _encoded(embeddings: Embeddings, query: str, encoder: Path | None) -> NDArray[np.float32]:
    """The representation (1, F) of a picture that is not in the set."""
    path = Path(query)
    if not path.is_file():
        close = difflib.get_close_matches(query, embeddings.ids[:10_000].tolist(), n=1)
        hint = f"; did you mean {close[0]}?" if close else f"; ids look like {embeddings.ids[0]}"
        raise InputError(f"{query}: neither an id in the file nor a picture{hint}")
    if encoder is None:
        raise InputError(
            f"{query}: not in the file, so it must be encoded; name the encoder's run by "
            f"{option('encoder')}"
        )
    file = encoder_file(encoder)
    network, preparation = load_encoder(file)
    made_by = embeddings.origin.get("encoder_sha256", fingerprint(file))
    pixels = fit.decode(
        path,
        query,
        size=preparation.size,
        channels=preparation.channels,
        pad=False,
        interpolation=preparation.interpolation,
        span=preparation.span or embeddings.origin.get("span"),
    )
    images = ImageSet("query", pixels[None], np.array(["query"]))
    array = embed(network, images, preparation).array
    if made_by != fingerprint(file) or array.shape[1] != embeddings.array.shape[1]:
        raise InputError(
            f"{option('encoder', encoder)}: another encoder made these embeddings "
            f"({embeddings.origin.get('encoder', 'unknown')}); name that one"
        )
    return array
