"""Builds a search index of a set of pictures on disk, adds to it, and measures its recall."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError, StorageError, number_of, option
from vicinal.files import make_folder, replacing, write_json, write_parquet
from vicinal.representations.index import (
    DESCRIPTION,
    EFFORTS,
    ENGINES,
    FORMAT,
    SEED,
    VECTORS,
    Index,
    Kind,
    add,
    exact,
    import_faiss,
    kind_for,
    read_engine,
)
from vicinal.representations.representations import batches, check_unique, origin_of

GOAL = 0.95
"""The recall that a search's effort is chosen for."""

_K = 5
_CHECKED = 200  # queries that choose the effort, and as many others that measure the recall


@dataclass(frozen=True)
class Indexed:
    """An index that was built or extended."""

    folder: Path
    kind: Kind  # ``flat``, ``hnsw`` or ``ivfpq``
    images: int  # how many it holds
    added: int  # how many of them came in now
    # share of the true 5 nearest others that a search finds, measured on ``checked`` images
    # against the exact search (0 to 1); None where none was checked, see ``unchecked``
    recall: float | None
    checked: int  # images asked for that
    bytes: int  # what the index takes on disk

    def summary(self) -> str:
        """What was made, and how well it finds, in a line."""
        recall = "recall@5 not checked, for one image has no others"
        if self.recall is not None:
            near = "5" if self.images > _K else f"{self.images - 1}"
            recall = f"recall@{near} {self.recall:.3f} on {self.checked} of them"
        images = number_of(self.images, "image")
        size = f"{self.bytes / 2**20:,.1f} MiB"
        return f"{self.kind}: {images} ({self.added:,} new), {recall}, {size}: {self.folder}"


@cores.shared()
def build_index(embeddings: Path, folder: Path, kind: str | None = None) -> Indexed:
    """Builds an index of a set, which is read a few rows at a time.

    ``flat`` compares with every image; ``hnsw`` is a navigable small-world graph (Malkov &
    Yashunin, TPAMI 2020), built on one thread because then the same set gives the same graph;
    ``ivfpq`` keeps a vector as a few bytes in one of about 4 √N lists (Jégou et al., TPAMI 2011).
    The effort of a search is doubled until the recall on some images reaches 0.95; what is
    reported is the recall on others.
    """
    import_faiss()
    if kind not in (None, "flat", "hnsw", "ivfpq"):
        raise InputError(f"{option('kind', kind)}: give flat, hnsw or ivfpq")
    if folder.exists() or folder.is_symlink():
        raise InputError(
            f"{option('out', folder)}: is there already; remove it or give another name"
        )
    if not folder.parent.is_dir():
        raise InputError(f"{option('out', folder)}: no folder {folder.parent}; make it first")
    origin = origin_of(embeddings)
    with _new_folder(folder) as partial:
        ids, width = _take_in(embeddings, partial, 0, None)
        chosen: Kind = kind or kind_for(len(ids))  # type: ignore[assignment]
        vectors = _mapped(partial, len(ids), width)
        engine, trained_on = ENGINES[chosen](vectors)
        add(engine, vectors)
        description = {
            "vicinal_index": FORMAT,
            "kind": chosen,
            "images": len(ids),
            "dimension": width,
            "encoder_sha256": origin.get("encoder_sha256"),
            "neighbours": origin.get("neighbours", "L2"),
            "ids": ["ids-0.parquet"],
            "trained_on": trained_on,
            "effort": EFFORTS[chosen][0],
        }
        index = Index(partial, chosen, ids, vectors, EFFORTS[chosen][0], description, engine)
        _finish(_tuned(index))
    return _indexed(folder, added=len(ids))


@cores.shared()
def add_to_index(embeddings: Path, folder: Path) -> Indexed:
    """Adds the images of a set to an index; the old state holds until the last file is written."""
    index = Index.open(folder)
    said, count = index.description, len(index)
    if origin_of(embeddings).get("encoder_sha256") != said["encoder_sha256"]:
        raise InputError(
            f"{option('add', folder)}: made with another encoder than {embeddings}; embed these "
            "with it"
        )
    ids, width = _take_in(embeddings, folder, count, index)
    total = count + len(ids)
    vectors = _mapped(folder, total, width)
    engine = read_engine(folder / said["faiss"], mapped=False)
    add(engine, vectors[count:])
    longer = replace(
        index,
        ids=np.concatenate([index.ids, ids]),
        vectors=vectors,
        engine=engine,
        description=said | {"images": total, "ids": [*said["ids"], f"ids-{count}.parquet"]},
    )
    _finish(longer)
    (folder / said["faiss"]).unlink()
    return _indexed(folder, added=len(ids))


def _take_in(
    embeddings: Path, folder: Path, before: int, index: Index | None
) -> tuple[NDArray[np.str_], int]:
    """Appends a set's vectors to a folder's and writes its ids; returns ids and width."""
    named: list[NDArray[np.str_]] = []
    width = None if index is None else index.vectors.shape[1]
    with (folder / VECTORS).open("r+b" if before else "wb") as file:
        file.truncate(before * 4 * (width or 0))  # what an interrupted addition left
        file.seek(0, os.SEEK_END)
        for ids, array in batches(embeddings, compared=True):
            width = width or array.shape[1]
            if array.shape[1] != width:
                raise InputError(
                    f"{embeddings}: representations of {array.shape[1]} numbers, and {width} "
                    f"{'in the index' if index else 'before'}; embed all with one encoder"
                )
            file.write(np.ascontiguousarray(array).tobytes())
            named.append(ids)
        file.flush()
        os.fsync(file.fileno())
    if not named:
        raise InputError(f"{embeddings}: holds no image; embed some first")
    whole = np.concatenate(named)
    check_unique(whole, embeddings)
    if index is not None and len(both := np.intersect1d(whole, index.ids)):
        raise InputError(
            f"{embeddings}: {len(both)} ids are in the index already, such as {str(both[0])!r}; "
            "leave these out"
        )
    write_parquet(folder / f"ids-{before}.parquet", {"id": whole.tolist()})
    assert width is not None
    return whole, width


def _tuned(index: Index) -> Index:
    """The index with the least effort, by doubling, that reaches the goal."""
    while index.effort < EFFORTS[index.kind][1] and _recall(index, 0)[0] < GOAL:
        index = replace(index, effort=2 * index.effort)
    return index


def _recall(index: Index, part: int) -> tuple[float, int]:
    """The recall on the first or the second half of a seeded draw, and how many that are."""
    drawn = np.random.default_rng(SEED).permutation(len(index))[: 2 * _CHECKED]
    half = (len(drawn) + 1) // 2
    rows = drawn[:half] if part == 0 or len(drawn) == 1 else drawn[half:]
    k = min(_K, len(index) - 1)
    if k == 0:
        return 1.0, 0
    truth = exact(index.vectors, np.asarray(index.vectors[rows]), k, own=rows)
    found = index.nearest_of(rows, k)
    near = found.distances <= truth.distances[:, -1:]
    return float(near.mean()), len(rows)


def _finish(index: Index) -> None:
    """Writes the faiss index and then, which puts it in force, the description."""
    recall, checked = _recall(index, 1)
    name = f"{index.kind}-{len(index)}.faiss"
    with replacing(index.folder / name) as partial:
        import_faiss().write_index(index.engine, str(partial))
    said = recall if checked else None
    measured = {"effort": index.effort, "recall_at_5": said, "checked": checked}
    write_json(index.folder / DESCRIPTION, index.description | {"faiss": name} | measured)


def _indexed(folder: Path, added: int) -> Indexed:
    said = Index.open(folder).description
    return Indexed(
        folder=folder,
        kind=said["kind"],
        images=said["images"],
        added=added,
        recall=said["recall_at_5"] if said["checked"] else None,
        checked=said["checked"],
        bytes=sum(file.stat().st_size for file in folder.iterdir()),
    )


def _mapped(folder: Path, count: int, width: int) -> NDArray[np.float32]:
    return np.memmap(folder / VECTORS, np.float32, "r", shape=(count, width))


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Yields a folder beside ``path`` that then becomes it, or is removed where work fails."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        make_folder(partial, parents=False)
        yield partial
        partial.rename(path)
    except StorageError as error:
        raise StorageError(path, error.reason) from error
    except OSError as error:
        raise StorageError(path, error.strerror or str(error)) from error
    except InputError as error:  # of the finished folder: the user knows no other
        raise InputError(str(error.args[0]).replace(str(partial), str(path))) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
