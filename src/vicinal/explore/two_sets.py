"""Two sets on one map: the page of a comparison, where odd is what the other set has not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vicinal import __version__
from vicinal.errors import InputError, option
from vicinal.evaluations.retrieval import pictures_of
from vicinal.evaluations.two_sets import Comparison
from vicinal.explore.compare import compare, find_doubts
from vicinal.explore.groups import find_groups
from vicinal.explore.health import health
from vicinal.explore.maps import lay_out
from vicinal.explore.points import (
    WITH_COLUMNS,
    described_data,
    neighbours_of,
    read_figures,
    read_part,
    rows_of,
    write_part,
    write_points,
)
from vicinal.files import write_csv, write_json
from vicinal.images import ImageSet
from vicinal.report import MOST_PICTURES, write_explorer
from vicinal.representations.representations import Representations, joined
from vicinal.runs.pictures import LARGEST_TILE, write_pictures


def show_two_sets(found: Comparison, folder: Path) -> Path:
    """Writes a page of both sets, in the files that `explore` leaves; returns the page's path.

    Its column ``split`` says of which set a picture is. ``score``, ``p_value``, ``rank``,
    ``flagged`` and ``reason`` say how unlike it is to the other set, not to its own.

    Args:
        found: What was compared.
        folder: A folder that is not there yet.

    Raises:
        InputError: If the folder is there, pictures cannot be had, or there are more than
            `MOST_PICTURES`.
    """
    both = _joined(found)
    if folder.exists():
        raise InputError(f"{option('run', folder)}: is there already; name another")
    if len(both) > MOST_PICTURES:
        raise InputError(
            f"{option('run')}: {len(both):,} pictures are too many for one page (at most "
            f"{MOST_PICTURES:,}); compare fewer, or leave it out for the figures alone"
        )
    pixels = np.stack([np.asarray(one) for one in _pictures(found)])
    folder.mkdir(parents=True)
    columns, figures = compare(both, pixels, folder, false_alarms=found.false_alarms)
    rows = [picture for which in (1, 0) for picture in found.listed(which)]
    header = found.header()  # over what says how odd each is within both sets
    write_csv(folder / "anomalies.csv", header, ([p.get(name) for name in header] for p in rows))
    new, said, flagged = _new(found)
    figures["anomalies"] |= said
    write_part(folder, "compare", (columns | new, figures))
    near = neighbours_of(read_part(folder, "compare"))
    write_part(folder, "map", lay_out(both.array, near))
    write_part(folder, "group", find_groups(both, folder))
    write_part(folder, "labels", find_doubts(both, folder))
    write_points(folder, both, _reasons(found, flagged), WITH_COLUMNS)
    maps = read_part(folder, "map")
    name = "pca" if maps.column("tsne_trust").null_count else "tsne"
    compared = read_part(folder, "compare")
    group = compared.column("group").to_numpy()
    trust = maps.column(f"{name}_trust").to_numpy()
    spread = health(both.array, rows_of(compared.column("neighbors")), group, trust, None)
    write_json(folder / "health.json", spread)
    write_pictures(folder / "pictures", [str(row) for row in range(len(both))], pixels)
    write_json(folder / "explore.json", _figures(found, both, pixels, folder))
    return write_explorer(folder)


def _joined(found: Comparison) -> Representations:
    """Both sets as one, ids beginning with A/ or B/."""
    parts = [np.full(len(one), letter) for one, letter in zip(found.sets, "AB", strict=True)]
    ids = [
        f"{part[0]}/{name}" for one, part in zip(found.sets, parts, strict=True) for name in one.ids
    ]
    return joined(found.sets, ids=np.array(ids), splits=np.concatenate(parts))


def _pictures(found: Comparison) -> Any:
    for one in found.sets:
        yield from pictures_of(one, range(len(one)), "run", LARGEST_TILE)


def _new(found: Comparison) -> tuple[dict[str, pa.Array], dict[str, Any], NDArray[np.bool_]]:
    """Columns of how unlike the other set's pictures each is, both sets in one order."""
    times = np.concatenate([one.times for one in found.new]).astype(np.float32)
    flagged = np.concatenate([found.flagged(which) for which in (0, 1)])
    order = np.lexsort((-times, ~flagged))
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(1, len(order) + 1)
    p_values = np.concatenate([one.p_values for one in found.new]).astype(np.float32)
    columns = {
        "score": pa.array(times),
        "p_value": pa.array(p_values),
        "rank": pa.array(rank),
        "flagged": pa.array(flagged),
    }
    return columns, {"flagged": int(flagged.sum()), "threshold": None}, flagged


def _reasons(found: Comparison, flagged: NDArray[np.bool_]) -> list[str]:
    """For each picture of A and of B, what the other set has near it."""
    times = np.concatenate([one.times for one in found.new])
    others = ["B"] * len(found.sets[0]) + ["A"] * len(found.sets[1])
    return [
        f"{other} has nothing like it: its nearest pictures there are {far:.1f} times as far away "
        f"as is usual within {other}."
        if odd
        else f"{other} has pictures like it."
        for far, other, odd in zip(times.tolist(), others, flagged.tolist(), strict=True)
    ]


def _figures(
    found: Comparison, both: Representations, pixels: NDArray[np.uint8], folder: Path
) -> dict[str, Any]:
    """What ``explore.json`` says."""
    data = described_data(
        ImageSet(" and ".join(Path(name).stem for name in found.names), pixels, both.ids),
        both,
        source=" and ".join(found.names),
        classes=both.classes(),
        skipped=0,
    )
    return {
        "format": 1,
        "data": data | {"colour": "split"},
        "encoder": {"source": str(both.origin.get("encoder", "unknown")), "recipe": None},
        **read_figures(folder, WITH_COLUMNS),
        "compared": {k: v for k, v in found.to_json().items() if k not in ("A", "B")},
        "environment": {"vicinal": __version__},
        "recipe": None,
    }
