"""embed, in parts: a source of any size into a folder of parquet files, here or on a Ray cluster.

The source is cut into pieces beforehand. A piece becomes one file, whose name is its number and
which is there whole or not at all; so a piece that is done twice, because a worker died, is still
there once, and an interrupted run goes on with the pieces that are missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq

from vicinal import cores
from vicinal.encoder.saved import Preparation, fingerprint, load_encoder
from vicinal.errors import InputError, option
from vicinal.files import write_csv
from vicinal.images import MOST_PIXELS, ImageSet, named
from vicinal.images.piece_pixels import Decoded, Decoding, decode
from vicinal.images.pieces import Piece, pieces
from vicinal.images.skipped import Skipped, refuse_too_many
from vicinal.representations.embed import embed
from vicinal.representations.embeddings import Embeddings
from vicinal.representations.parts import claim, part_names, replacing_in, write_plan
from vicinal.encoder.cached import encoder_file
from vicinal.training.device import resolve_device
from vicinal.verbs.on_ray import connected, mapped, ray_module

Made = tuple[bytes, dict[str, Any], str, str]
"""What a PieceEmbedder is made with, but for its threads."""


@dataclass(frozen=True)
class Parts:
    """What was written.

    Attributes:
        out: The folder.
        images: Rows in all parts, one for each image that could be decoded.
        dimensions: Numbers of a representation.
        parts: How many files.
        skipped: Images that could not be decoded, and why.
    """

    out: str
    images: int
    dimensions: int
    parts: int
    skipped: tuple[Skipped, ...]

    def told(self) -> str:
        """All of it in a line."""
        left = f"; {len(self.skipped):,} left out, see skipped.csv" if self.skipped else ""
        numbers = f"{self.dimensions} numbers each, {self.parts} files"
        return f"{self.images:,} images, {numbers}: {self.out}{left}"


@dataclass(frozen=True)
class Part:
    """A written file: its rows, their width, and what was left out."""

    images: int
    dimensions: int
    skipped: tuple[Skipped, ...]


class PieceEmbedder:
    """Embeds pieces with an encoder that is loaded once; a Ray actor, or here."""

    def __init__(
        self, weights: bytes, origin: dict[str, Any], out: str, device: str, threads: int | None
    ) -> None:
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
            file.write(weights)
            file.flush()
            self.encoder, self.preparation = load_encoder(Path(file.name))
        self.origin, self.out = origin, out
        self.device = resolve_device(device)
        self.threads = threads or cores.cores()
        if threads is not None:
            cores.set_threads(threads)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """As Ray Data calls it: pieces as JSON in, parts as JSON out; an error is no exception."""
        done = []
        for text in batch["piece"]:
            try:
                piece = _piece(json.loads(str(text)))
                part = self.written(piece) or self.write(piece, self.decoded(piece))
                done.append(json.dumps(asdict(part)))
            except InputError as error:
                done.append(json.dumps({"error": error.args[0]}))
        return {"part": np.array(done)}

    def decoded(self, piece: Piece) -> Decoded:
        """The images of a piece, on all of this worker's threads."""
        made, most = self.preparation, self.origin["max_pixels"]
        decoding = Decoding(made.size, made.channels, made.span, most, made.interpolation)
        return decode(piece, decoding, self.threads)

    def written(self, piece: Piece) -> Part | None:
        """The part of a piece, if it is there already."""
        filesystem, folder = fsspec.core.url_to_fs(self.out)
        path = f"{folder}/{_name(piece)}"
        if not filesystem.exists(path):
            return None
        with filesystem.open(path, "rb") as file:
            read = pq.ParquetFile(file)
            origin = json.loads(read.schema_arrow.metadata[b"vicinal"])
            width = read.schema_arrow.field("representation").type.list_size
            return Part(read.metadata.num_rows, width, _skipped(origin["skipped"]))

    def write(self, piece: Piece, decoded: Decoded) -> Part:
        """Embeds the images of a piece and writes its part."""
        channels, size = self.preparation.channels, self.preparation.size
        empty = len(decoded.ids) == 0  # then one black image says how wide a row is
        pixels = np.zeros((1, size, size, channels), np.uint8) if empty else decoded.pixels
        ids = np.array(["none"]) if empty else decoded.ids
        images = ImageSet("piece", pixels, ids)
        array = embed(self.encoder, images, self.preparation, device=self.device).array
        count = len(decoded.ids)
        found = Embeddings(
            array[:count],
            decoded.ids,
            paths=decoded.paths,
            labels=decoded.labels,
            splits=None if piece.split is None else np.full(count, piece.split),
            sizes=decoded.sizes,
            origin=self.origin | {"skipped": [asdict(one) for one in decoded.skipped]},
        )
        with replacing_in(self.out, _name(piece)) as file:
            pq.write_table(found.table(), file)
        return Part(count, array.shape[1], decoded.skipped)


@cores.shared()
def embed_pieces(
    source: str,
    encoder: Path,
    out: str,
    *,
    engine: str = "plain",
    device: str = "auto",
    piece_images: int | None = None,
    exclude: tuple[str, ...] = (),
    max_pixels: int = MOST_PIXELS,
) -> Parts:
    """Embeds a source into a folder of parquet files; goes on where it was interrupted.

    Decoding takes every core and the network every core or the GPU, one piece ahead of each
    other; with Ray, each CPU of the cluster, or each GPU with its share of CPUs, is a worker.
    An image that cannot be decoded is left out and listed in ``skipped.csv``.

    Args:
        source: As for `vicinal.images.pieces.pieces`.
        encoder: A run folder or an encoder's file.
        out: A folder or an address that fsspec knows, which every worker can reach.
        engine: ``plain``: this process; ``ray``: the cluster of RAY_ADDRESS, or one made here.
        device: ``auto``, ``cpu`` or ``cuda``, on each worker.
        piece_images: Images of a part at most; None for as many as decode to 128 MiB.
        exclude: Patterns of files that are left out, see `vicinal.images.load`.
        max_pixels: Pixels of a picture that may be decoded.

    Raises:
        InputError: If source, encoder or folder cannot be used, or more than a fifth of the
            images cannot be decoded; nothing is overwritten.
    """
    if engine not in ("plain", "ray"):
        raise InputError(f"{option('engine', engine)}: give plain or ray")
    ray = ray_module() if engine == "ray" else None
    file = encoder_file(encoder)
    _, preparation = load_encoder(file)
    if device != "auto" and ray is None:
        resolve_device(device)
    listed, unread = pieces(source, preparation.size, piece_images, exclude)
    origin = _origin(source, file, preparation, max_pixels)
    where = out if "://" in out else os.path.abspath(os.path.expanduser(out))
    plan = _plan(listed, origin)
    made = (file.read_bytes(), origin, where, device)
    with nullcontext() if ray is None else connected(ray):  # before anything is written
        claim(where, plan, out)
        done = list(_here(listed, made) if ray is None else _by_ray(ray, listed, made))
    bad = tuple(one for part in done for one in part.skipped)
    expected, images = sum(map(len, listed)), sum(part.images for part in done)
    names = part_names(where)
    if images + len(bad) != expected or names != sorted(map(_name, listed)):
        raise RuntimeError(f"{out}: {images} rows in {len(names)} parts of {expected} images")
    refuse_too_many(source, bad, expected)
    skipped = (*unread, *bad)
    if skipped:
        _keep(where, skipped)
    write_plan(where, plan | {"finished": True, "images": images, "skipped": len(skipped)})
    return Parts(out, images, max(part.dimensions for part in done), len(done), skipped)


def _origin(
    source: str, encoder: Path, preparation: Preparation, max_pixels: int
) -> dict[str, Any]:
    """What every part is made from and with."""
    return {
        "source": named(source),
        "max_pixels": max_pixels,
        "size": preparation.size,
        "channels": preparation.channels,
        "encoder": str(encoder),
        "encoder_sha256": fingerprint(encoder),
    }


def _here(listed: Sequence[Piece], made: Made) -> Iterator[Part]:
    """Piece by piece in this process; the next is decoded while one is embedded."""
    embedder = PieceEmbedder(*made, threads=None)
    with ThreadPoolExecutor(1) as ahead:

        def begun(piece: Piece) -> Callable[[], Part]:
            part = embedder.written(piece)
            if part is not None:
                return lambda: part
            decoded = ahead.submit(embedder.decoded, piece)
            return lambda: embedder.write(piece, decoded.result())

        following = begun(listed[0])
        for piece in listed[1:]:
            current, following = following, begun(piece)
            yield current()
        yield following()


def _by_ray(ray: Any, listed: Sequence[Piece], made: Made) -> Iterator[Part]:
    """On the workers of a cluster."""
    items = [{"piece": json.dumps(asdict(piece))} for piece in listed]
    for row in mapped(ray, PieceEmbedder, made, items, gpus=made[-1] != "cpu"):
        said = json.loads(str(row["part"]))
        if "error" in said:
            raise InputError(said["error"])
        yield Part(said["images"], said["dimensions"], _skipped(said["skipped"]))


def _skipped(said: list[dict[str, str]]) -> tuple[Skipped, ...]:
    return tuple(Skipped(**one) for one in said)


def _keep(where: str, skipped: Sequence[Skipped]) -> None:
    """Writes ``skipped.csv``, as `vicinal.images.keep_skipped` does for a file."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "skipped.csv"
        write_csv(path, ["path", "reason"], [(one.path, one.reason) for one in skipped])
        with replacing_in(where, path.name) as opened:
            opened.write(path.read_bytes())


def _piece(said: dict[str, Any]) -> Piece:
    """A piece from its JSON, whose lists were tuples."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in said.items()
    }
    return Piece(**fields)


def _name(piece: Piece) -> str:
    return f"part-{piece.number:06d}.parquet"


def _plan(listed: Sequence[Piece], origin: dict[str, Any]) -> dict[str, Any]:
    """What is to be done, as ``embed.json`` says it."""
    digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode())
    for piece in listed:
        digest.update(json.dumps(asdict(piece)).encode())
    return origin | {"parts": len(listed), "plan": digest.hexdigest(), "finished": False}
