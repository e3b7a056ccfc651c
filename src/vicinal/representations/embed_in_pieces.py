"""A source of any size into a folder of parquet files, here or on the workers of a Ray cluster.

The source is cut into pieces before anything is decoded. A piece becomes one file, which is named
by its number and is there whole or not at all. So a piece that is done twice, because a worker
died, is still there once, and an interrupted run goes on with the pieces that are missing. A file
says by a stamp which pictures it was made of: where these were mended since, it is made anew.

Ray by itself tries for a quarter of an hour to reach a head that is not there, and prints a line
of its own every few seconds. So the address is tried before Ray hears of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vicinal import cores, images
from vicinal.encoder.pretrained import encoder_file
from vicinal.encoder.saved import Preparation, load_encoder
from vicinal.errors import InputError, number_of, option
from vicinal.files import replacing, write_csv
from vicinal.images import Skipped, source_parts
from vicinal.images.decoding import Decoding, gathered
from vicinal.images.picture_list import PictureList
from vicinal.images.skipped import refuse_too_many
from vicinal.images.sources import anywhere
from vicinal.progress import tell
from vicinal.representations.embed import embed, from_parts, made_with
from vicinal.representations.representations import PLAN, part_name
from vicinal.training.device import resolve_device


@dataclass(frozen=True, eq=False)
class Piece:
    """A few thousand pictures of a source, in its order."""

    number: int  # which piece it is, from 0
    split: str | None  # ``train`` or ``test``; None where the source has no parts of its own
    pictures: PictureList

    def __len__(self) -> int:
        return len(self.pictures)

    def listing(self) -> bytes:
        """What its rows say beside the representations."""
        labels = self.pictures.labels
        codes = None if labels is None else labels.tolist()
        said = (self.split, self.pictures.ids.tolist(), codes, self.pictures.class_names)
        return json.dumps(said).encode()

    @cached_property
    def stamp(self) -> str:
        """64 hexadecimal digits that change when a picture does, or what is listed of it.

        Taken once, before they are decoded: one that changes meanwhile has another afterwards.
        """
        digest = hashlib.sha256(self.listing())
        for line in self.pictures.stamp():
            digest.update(f"{line}\n".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


_PIECE_BYTES = 128 << 20  # of decoded pixels
_DEEP = (
    "has more than 8 bits, and the encoder was trained on none such: embed into a .parquet file, "
    "which scales by the range of the set"
)


def pieces(
    source: str,
    size: int,
    count: int | None = None,
    *,
    data_dir: Path | None = None,
    exclude: tuple[str, ...] = (),
) -> tuple[list[Piece], tuple[Skipped, ...]]:
    """Lists a source in pieces; decodes nothing."""
    count = count or max(64, _PIECE_BYTES // (3 * size * size))
    parts = source_parts(anywhere(source), data_dir, exclude)
    tell(note for _, pictures in parts for note in pictures.notes)
    cut = [
        (split, pictures.take(slice(start, start + count)))
        for split, pictures in parts
        for start in range(0, len(pictures), count)
    ]
    skipped = tuple(one for _, pictures in parts for one in pictures.skipped)
    return [Piece(number, *rest) for number, rest in enumerate(cut)], skipped


def decode(piece: Piece, how: Decoding) -> images.Part:
    """Reads and decodes the pictures of a piece, as `vicinal.images.load_parts` does."""
    pictures = piece.pictures
    found = gathered(pictures.pictures(), how)
    good = pictures.take(found.good)
    squares = images.ImageSet(
        pictures.name,
        found.pixels,
        good.ids_in(piece.split),
        good.labels,
        good.class_names,
        skipped=found.skipped,
        sizes=found.sizes,
    )
    return images.Part(piece.split, squares, good.paths())


Arguments = tuple[bytes, dict[str, Any], str, str]
"""What a PieceEmbedder is made with, but for its threads: weights, origin, folder, device."""


@dataclass(frozen=True)
class EmbeddedFolder:
    """The folder that was written."""

    out: str
    images: int  # rows in all parts, one for each image that could be decoded
    dimensions: int  # numbers of a representation
    parts: int  # how many files
    skipped: tuple[Skipped, ...]  # images that could not be decoded, and why

    def summary(self) -> str:
        """All of it in a line."""
        left = f"; {len(self.skipped):,} left out, see skipped.csv" if self.skipped else ""
        numbers = f"{self.dimensions} numbers each, {self.parts} files"
        return f"{number_of(self.images, 'image')}, {numbers}: {self.out}{left}"


@dataclass(frozen=True)
class EmbeddedPiece:
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
        """As Ray Data calls it: pieces in, what was written out; an error is returned as text."""
        done: list[EmbeddedPiece | str] = []
        for piece in batch["piece"]:
            try:
                part = self.written(piece) or self.write(piece, self.decoded(piece))
                done.append(part)
            except InputError as error:
                done.append(error.args[0])
        return {"part": np.array(done, dtype=object)}

    def decoded(self, piece: Piece) -> images.Part:
        """The pictures of a piece, on all of this worker's threads."""
        # No picture of more than 8 bits: only all pieces together would show their range.
        most = self.origin["max_pixels"]
        return decode(piece, self.preparation.decoding(max_pixels=most, no_deep=_DEEP))

    def written(self, piece: Piece) -> EmbeddedPiece | None:
        """The part of a piece, if it is there already, made of the same in the same way."""
        filesystem, folder = fsspec.core.url_to_fs(self.out)
        made_from = self._made_from(piece)
        path = f"{folder}/{_name(piece)}"
        if not filesystem.exists(path):
            return None
        try:
            with filesystem.open(path, "rb") as file:
                read = pq.ParquetFile(file)
                origin = json.loads(read.schema_arrow.metadata[b"vicinal"])
                width = read.schema_arrow.field("representation").type.list_size
                skipped = tuple(Skipped(**one) for one in origin.pop("skipped"))
        except (pa.ArrowException, LookupError, TypeError, ValueError, AttributeError):
            return None  # damaged, or another program's: made anew
        return (
            None if origin != made_from else EmbeddedPiece(read.metadata.num_rows, width, skipped)
        )

    def _made_from(self, piece: Piece) -> dict[str, Any]:
        """What a part is made from and with, as it says itself."""
        return self.origin | {"pictures": piece.stamp}

    def write(self, piece: Piece, decoded: images.Part) -> EmbeddedPiece:
        """Embeds the pictures of a piece and writes its part."""
        squares, size = decoded.images, self.preparation.size
        if not len(squares):  # then one black image says how wide a row is
            black = np.zeros((1, size, size, self.preparation.channels), np.uint8)
            squares = images.ImageSet("piece", black, np.array(["none"]))
        array = embed(self.encoder, squares, self.preparation, device=self.device).array
        count, skipped = len(decoded.images), decoded.images.skipped
        origin = self._made_from(piece) | {"skipped": [asdict(one) for one in skipped]}
        found = from_parts([decoded], array[:count], origin)
        with replacing_in(self.out, _name(piece)) as file:
            pq.write_table(found.table(), file)
        return EmbeddedPiece(count, array.shape[1], skipped)


@cores.shared()
def embed_pieces(
    source: str,
    encoder: Path,
    out: str,
    *,
    engine: str = "plain",
    device: str = "auto",
    piece_images: int | None = None,
    data_dir: Path | None = None,
    exclude: tuple[str, ...] = (),
    max_pixels: int = images.MOST_PIXELS,
) -> EmbeddedFolder:
    """Embeds a source into a folder of parquet files; goes on where it was interrupted.

    Decoding takes every core and the network every core or the GPU, one piece ahead of each
    other; with Ray, each CPU of the cluster, or each GPU with its share of CPUs, is a worker.
    An image that cannot be decoded is left out and listed in ``skipped.csv``. If there are too
    many, the run is refused, and goes on once they are mended or removed.
    """
    if engine not in ("plain", "ray"):
        raise InputError(f"{option('engine', engine)}: give plain or ray")
    ray = ray_module() if engine == "ray" else None
    file = encoder_file(encoder)
    _, preparation = load_encoder(file)
    if device != "auto" and ray is None:
        resolve_device(device)
    how: dict[str, Any] = {"data_dir": data_dir, "exclude": exclude}
    listed, unread = pieces(source, preparation.size, piece_images, **how)
    origin = _origin(source, file, preparation, max_pixels)
    where = out if "://" in out else os.path.abspath(os.path.expanduser(out))
    plan = _plan(listed, origin)
    arguments = (file.read_bytes(), origin, where, device)
    with nullcontext() if ray is None else connected(ray):  # before anything is written
        claim(where, plan, out)
        _remove_others(where, listed)
        done = list(_here(listed, arguments) if ray is None else _by_ray(ray, listed, arguments))
    bad = tuple(one for part in done for one in part.skipped)
    expected, count = sum(map(len, listed)), sum(part.images for part in done)
    names = part_names(where)
    if count + len(bad) != expected or names != sorted(map(_name, listed)):
        raise RuntimeError(f"{out}: {count} rows in {len(names)} parts of {expected} images")
    skipped = (*unread, *bad)
    _keep(where, skipped)
    refuse_too_many(source, bad, expected)
    write_plan(where, plan | {"finished": True, "images": count, "skipped": len(skipped)})
    return EmbeddedFolder(out, count, max(part.dimensions for part in done), len(done), skipped)


def _origin(
    source: str, encoder: Path, preparation: Preparation, max_pixels: int
) -> dict[str, Any]:
    """The source and the encoder of every part."""
    given = {"source": images.named(source), "max_pixels": max_pixels}
    return given | made_with(encoder, preparation)


def _here(listed: Sequence[Piece], arguments: Arguments) -> Iterator[EmbeddedPiece]:
    """Piece by piece in this process; the next is decoded while one is embedded."""
    embedder = PieceEmbedder(*arguments, threads=None)
    with ThreadPoolExecutor(1) as ahead:

        def begun(piece: Piece) -> Callable[[], EmbeddedPiece]:
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


def _by_ray(ray: Any, listed: Sequence[Piece], arguments: Arguments) -> Iterator[EmbeddedPiece]:
    """On actors of a cluster, a GPU or a CPU each; what a dead worker held is done by another."""
    there = ray.cluster_resources()
    gpus = 0 if arguments[-1] == "cpu" else int(there.get("GPU", 0))
    cpus = int(there.get("CPU", 0))
    if cpus < 1:
        raise InputError(
            f"{option('engine', 'ray')}: the cluster has no CPU to work on; add a machine by "
            "`ray start --address=HEAD:6379`"
        )
    workers = gpus or cpus
    each = max(1, cpus // workers)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # its plan, in several lines
    blocks = min(len(listed), _MOST_BLOCKS)
    items = [{"piece": piece} for piece in listed]
    rows = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
        PieceEmbedder,
        fn_constructor_args=(*arguments, each),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, blocks)),
        num_cpus=each,
        **({"num_gpus": 1} if gpus else {}),
    )
    for row in rows.iter_rows():
        if not isinstance(row["part"], EmbeddedPiece):
            raise InputError(str(row["part"]))
        yield row["part"]


def _keep(where: str, skipped: Sequence[Skipped]) -> None:
    """Writes ``skipped.csv``, as `vicinal.images.keep_skipped` does for a file."""
    filesystem, folder = fsspec.core.url_to_fs(where)
    if not skipped:
        if filesystem.exists(f"{folder}/skipped.csv"):  # of pictures that are mended now
            filesystem.rm_file(f"{folder}/skipped.csv")
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "skipped.csv"
        write_csv(path, ["path", "reason"], [(one.path, one.reason) for one in skipped])
        with replacing_in(where, path.name) as opened:
            opened.write(path.read_bytes())


def _remove_others(where: str, listed: Sequence[Piece]) -> None:
    """Removes the parts of an interrupted run that had more pictures."""
    filesystem, folder = fsspec.core.url_to_fs(where)
    for name in set(part_names(where)) - set(map(_name, listed)):
        filesystem.rm_file(f"{folder}/{name}")


def _name(piece: Piece) -> str:
    return part_name(piece.number)


def _plan(listed: Sequence[Piece], origin: dict[str, Any]) -> dict[str, Any]:
    """The content of ``embed.json`` before the work."""
    digest = hashlib.sha256()
    for piece in listed:
        digest.update(piece.listing())
    return origin | {"parts": len(listed), "plan": digest.hexdigest(), "finished": False}


_CONNECT = 10  # seconds to reach the head's port
_ANSWER = 50  # seconds for a Ray to answer there, of which importing Ray is a part
_MOST_BLOCKS = 10_000  # of Ray Data: a block is what a dead worker does again


def ray_module() -> Any:
    """The module ray, an optional one."""
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError(
            f"{option('engine', 'ray')} needs Ray: pip install 'vicinal[ray]'"
        ) from None
    return ray


@contextmanager
def connected(ray: Any) -> Iterator[Any]:
    """Connects to RAY_ADDRESS's cluster or a local one; a connection there is stays."""
    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get("RAY_ADDRESS", "")
    if address:
        _reach(address)
    try:
        # "local", or Ray looks for the cluster that it last heard of, which may be long gone.
        ray.init(address or "local", logging_level="error", log_to_driver=False)
    except Exception as error:  # of every kind, by what is wrong and by Ray's version
        raise _refused(address, str(error)) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Refuses an address where no Ray answers; Ray itself refuses what is not an address."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT).close()
        except (OSError, OverflowError, UnicodeError) as error:
            raise _refused(address, getattr(error, "strerror", None) or str(error)) from None
    elif address != "auto":
        return
    if address.startswith("ray://"):
        return  # Ray's client waits half a minute itself
    ask = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--skip-version-check"]
    try:
        subprocess.run(ask, check=True, timeout=_ANSWER, capture_output=True)  # noqa: S603
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        raise _refused(address, "no Ray answers there") from None


def _refused(address: str, reason: str) -> InputError:
    lines = reason.strip().splitlines() or ["no reason given"]
    said = lines[0][:200].rstrip(".")
    if not address:
        return InputError(f"{option('engine', 'ray')}: Ray did not start on this machine ({said})")
    return InputError(
        f"{option('engine', 'ray')}: no cluster at RAY_ADDRESS={address} ({said}); start one by "
        "`ray start --head` and name its HOST:6379, or unset it for one on this machine"
    )


def claim(where: str, plan: dict[str, Any], out: str) -> None:
    """Makes the folder ours, or finds it begun from the same source with the same encoder.

    Says so where the pictures are no longer those that were listed then.
    """
    filesystem, folder = fsspec.core.url_to_fs(where)
    path = f"{folder}/{PLAN}"
    if filesystem.exists(path):
        said = _read_plan(filesystem.cat_file(path), out)
        same = all(said.get(name) == plan.get(name) for name in ("source", "encoder_sha256"))
        if same and not (said.get("finished") and len(part_names(where)) == said.get("parts")):
            if said.get("plan") != plan["plan"]:
                tell([f"{out}: begun with other pictures; parts that hold others are made anew"])
                write_plan(where, plan)
            return
        state = "finished" if said.get("finished") else "begun from another source or encoder"
        raise InputError(
            f"{option('out', out)}: is there already, {state}; remove it or give another name"
        )
    if filesystem.exists(folder) and (filesystem.isfile(folder) or filesystem.ls(folder)):
        raise InputError(f"{option('out', out)}: is there already; remove it or give another name")
    try:
        filesystem.makedirs(folder, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{option('out', out)}: cannot be made ({reason}); name another") from None
    write_plan(where, plan)


def _read_plan(content: bytes, out: str) -> dict[str, Any]:
    try:
        said = json.loads(content)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise InputError(f"{option('out', out)}: its {PLAN} is damaged; remove the folder")
    return said


def write_plan(where: str, plan: dict[str, Any]) -> None:
    """Writes ``embed.json``."""
    with replacing_in(where, PLAN) as file:
        file.write((json.dumps(plan, indent=1) + "\n").encode("utf-8"))


@contextmanager
def replacing_in(where: str, name: str) -> Iterator[IO[bytes]]:
    """Yields an open file that is in the folder under its name once all of it is written."""
    filesystem, folder = fsspec.core.url_to_fs(where)
    if "file" in filesystem.protocol:
        with replacing(Path(folder) / name) as partial, partial.open("wb") as file:
            yield file
    else:  # an object is there when its upload ends
        with filesystem.open(f"{folder}/{name}", "wb") as file:
            yield file


_PART = re.compile(r"part-\d{6,}\.parquet")
_OURS = re.compile(rf"({_PART.pattern}|{re.escape(PLAN)}|skipped\.csv)\.")


def part_names(where: str) -> list[str]:
    """The names of the parts there are; what dead workers left half written is cleared away."""
    filesystem, folder = fsspec.core.url_to_fs(where)
    found = [str(path).rsplit("/", 1)[-1] for path in filesystem.ls(folder, detail=False)]
    for name in found:
        if _OURS.match(name) and name.endswith(".partial"):
            filesystem.rm_file(f"{folder}/{name}")
    return sorted(name for name in found if _PART.fullmatch(name))
