"""What ``page.js`` reads: chart specifications, map points and where pictures are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.report.inlined import base64_array, finite
from vicinal.report.run_folder import Points, RunFolder, class_names
from vicinal.report.tiles import Pictures

MISSING = 65535
"""Stands for no label, no cluster or no sheet in the page's 16-bit arrays."""


def page_data(folder: RunFolder, pictures: Pictures, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data for the page's script; every number finite or None."""
    row_of: dict[str, int] = {}
    for points in folder.maps.values():
        for name in points.ids:
            row_of.setdefault(name, len(row_of))
    sheets = {name: number for number, name in enumerate(pictures.sheets)}
    places = [pictures.places.get(name) for name in row_of]
    columns = {
        "sheet": [sheets[place[0]] if place else MISSING for place in places],
        "x": [place[1] if place else 0 for place in places],
        "y": [place[2] if place else 0 for place in places],
        "size": [place[3] if place else 0 for place in places],
    }
    data = {
        "classes": class_names(folder),
        "charts": dict(drawn),
        "maps": {name: _packed(points, row_of) for name, points in folder.maps.items()},
        "ids": list(row_of),
        "pictures": {name: base64_array(values, "<u2") for name, values in columns.items()},
    }
    plain: dict[str, Any] = finite(data)
    return plain


def _packed(points: Points, row_of: Mapping[str, int]) -> dict[str, str]:
    """A map's columns as little-endian base64: a quarter of the size of JSON numbers."""
    packed = {
        "row": base64_array([row_of[name] for name in points.ids], "<u4"),
        "x": base64_array(points.x, "<f4"),
        "y": base64_array(points.y, "<f4"),
    }
    for name in ("label", "cluster"):
        column: NDArray[np.int64] | None = getattr(points, name)
        if column is not None:
            packed[name] = base64_array(np.where(column < 0, MISSING, column), "<u2")
    return packed
