"""Which pictures a run keeps: those on its maps and in its lists, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from vicinal.study.folder import RunFolder
from vicinal.study.learners import Data
from vicinal.study.pictures import write_pictures


def keep_pictures(run: RunFolder, data: Data, systems: dict[str, Any]) -> None:
    """Writes the pictures that the report shows into ``run/pictures``."""
    wanted = set(_ids(systems))
    for path in sorted((run / "maps").glob("*.parquet")):
        wanted.update(pq.read_table(path, columns=["id"]).column("id").to_pylist())
    kept = [
        images.take(np.flatnonzero(np.isin(images.ids, list(wanted))))
        for images in data.parts().values()
    ]
    write_pictures(
        run / "pictures",
        [str(name) for images in kept for name in images.ids],
        np.concatenate([images.pixels for images in kept]),
    )


def _ids(tree: Any) -> Iterator[str]:
    """Every image id named in plain data: under ``id``, and in lists under ``neighbours``."""
    if isinstance(tree, list):
        for item in tree:
            yield from _ids(item)
    if not isinstance(tree, dict):
        return
    for key, value in tree.items():
        if key == "id":
            yield value
        elif key == "neighbours":
            yield from value
        else:
            yield from _ids(value)
