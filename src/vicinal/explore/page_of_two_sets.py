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
from vicinal.explore.check_labels import check_labels
from vicinal.explore.compare_pictures import compare_pictures
from vicinal.explore.describe_pictures import describe_pictures
from vicinal.explore.explore_json import data_figures
from vicinal.explore.group_pictures import group_pictures
from vicinal.explore.map_pictures import map_pictures
from vicinal.explore.stage_results import read_figures, read_neighbours, write_stage
from vicinal.files import make_folder, write_csv, write_json
from vicinal.images import ImageSet
from vicinal.report import MOST_PICTURES, write_explorer
from vicinal.representations.representations import Representations, concatenated
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
    both = _concatenated(found)
    if folder.exists():
        raise InputError(f"{option('run', folder)}: is there already; name another")
    if len(both) > MOST_PICTURES:
        raise InputError(
            f"{option('run')}: {len(both):,} pictures are too many for one page (at most "
            f"{MOST_PICTURES:,}); compare fewer, or leave it out for the figures alone"
        )
    pixels = np.stack([np.asarray(one) for one in _pictures(found)])
    make_folder(folder)
    columns, figures = compare_pictures(both, pixels, folder, false_alarms=found.false_alarms)
    rows = [picture for which in (1, 0) for picture in found.listed(which)]
    header = found.header()  # over what says how odd each is within both sets
    write_csv(folder / "anomalies.csv", header, ([p.get(name) for name in header] for p in rows))
    across, flagged = _across(found)
    figures["anomalies"] |= {"flagged": int(flagged.sum()), "threshold": None}
    write_stage(folder, "compare", (columns | across, figures))
    compared = both.as_compared()
    write_stage(folder, "map", map_pictures(compared.array, read_neighbours(folder)))
    write_stage(folder, "group", group_pictures(compared, folder))
    write_stage(folder, "labels", check_labels(both, folder))
    describe_pictures(folder, both, pixels, said=_reasons(found, flagged))
    write_pictures(folder / "pictures", [str(row) for row in range(len(both))], pixels)
    write_json(folder / "explore.json", _figures(found, both, pixels, folder))
    return write_explorer(folder)


def _concatenated(found: Comparison) -> Representations:
    """Both sets as one, ids beginning with A/ or B/."""
    letters = np.concatenate(
        [np.full(len(one), letter) for one, letter in zip(found.sets, "AB", strict=True)]
    )
    names = np.concatenate([one.ids for one in found.sets])
    ids = np.array([f"{a}/{name}" for a, name in zip(letters, names, strict=True)])
    return concatenated(found.sets, ids=ids, splits=letters)


def _pictures(found: Comparison) -> Any:
    for one in found.sets:
        yield from pictures_of(one, range(len(one)), "run", LARGEST_TILE, squeezed=True)


def _across(found: Comparison) -> tuple[dict[str, pa.Array], NDArray[np.bool_]]:
    """Columns of how unlike the other set's pictures each is, and which are flagged."""
    times = np.concatenate([one.times for one in found.new]).astype(np.float32)
    flagged = np.concatenate([found.flagged(which) for which in (0, 1)])
    rank = np.empty(len(times), np.int32)
    rank[np.lexsort((-times, ~flagged))] = np.arange(1, len(times) + 1)
    p_values = np.concatenate([one.p_values for one in found.new]).astype(np.float32)
    columns = {"score": times, "p_value": p_values, "rank": rank, "flagged": flagged}
    return {name: pa.array(values) for name, values in columns.items()}, flagged


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
    data = data_figures(
        ImageSet(" and ".join(Path(name).stem for name in found.names), pixels, both.ids),
        both,
        source=" and ".join(found.names),
        skipped=0,
    )
    return {
        "format": 1,
        "data": data | {"colour": "split"},
        "encoder": {"source": str(both.origin.get("encoder", "unknown")), "recipe": None},
        **read_figures(folder),
        "compared": {k: v for k, v in found.to_json().items() if k not in ("A", "B")},
        "environment": {"vicinal": __version__},
        "recipe": None,
    }
