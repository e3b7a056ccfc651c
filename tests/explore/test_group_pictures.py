"""Groups of a run's pictures, where there are any."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from vicinal.explore.group_pictures import group_pictures
from vicinal.representations.representations import Representations


def represented(array: np.ndarray) -> Representations:
    return Representations(array.astype(np.float32), np.arange(len(array)).astype(np.str_))


def test_one_picture_over_and_over_is_in_no_group(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = np.tile(rng.normal(size=(1, 32)), (65, 1))
    rounded = represented(rows * (1 + 1e-6 * rng.normal(size=rows.shape)))
    columns, figures = group_pictures(rounded, tmp_path)
    assert figures == {"clusters": None}
    assert pc.unique(columns["cluster"]).to_pylist() == [-1]
    apart = represented(rows + np.repeat([0.0, 1.0], [40, 25])[:, None])
    assert group_pictures(apart, tmp_path)[1]["clusters"]["k"] == 2
