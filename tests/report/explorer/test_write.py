"""The written page: what goes in is what was in the files, and bad files are refused in a line."""

import base64
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vicinal.errors import InputError
from vicinal.report import MOST_PICTURES, write_explorer
from vicinal.report.explorer.columns import pack_columns, read_explored
from vicinal.report.explorer.explorer_page import SCRIPTS


@pytest.fixture
def run(digits_explored: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    without_page = shutil.ignore_patterns("explore.html")
    return Path(shutil.copytree(digits_explored, tmp_path / "run", ignore=without_page))


def unpacked(block: bytes, layout: dict[str, Any]) -> dict[str, Any]:
    return {
        name: np.frombuffer(block, f"<{kind}", length, start)
        for name, (kind, start, length) in layout.items()
    }


def texts(columns: dict[str, Any], name: str) -> list[str]:
    ends = [0, *columns[f"{name}.ends"].tolist()]
    block = columns[f"{name}.bytes"].tobytes()
    return [block[a:b].decode() for a, b in itertools.pairwise(ends)]


def test_columns_come_out_as_they_went_in(digits_explored: Path) -> None:
    columns = unpacked(*pack_columns(read_explored(digits_explored)))
    points = pq.read_table(digits_explored / "points.parquet")
    for name in ("score", "p_value", "rank", "cluster", "group", "flagged", "tsne_x", "pca_trust"):
        assert columns[name].tolist() == points.column(name).to_pylist(), name
    for name in ("neighbors", "farthest", "distances", "far_distances"):
        expected = [value for row in points.column(name).to_pylist() for value in row]
        assert columns[name].tolist() == expected, name
    assert texts(columns, "ids") == points.column("id").to_pylist()
    for name in ("label", "reason"):
        names = texts(columns, f"{name}s")
        told = [None if code < 0 else names[code] for code in columns[name]]
        assert told == points.column(name).to_pylist()


def test_lists_of_uneven_length_and_rows_that_are_none(run: Path) -> None:
    points = pq.read_table(run / "points.parquet")
    rows = points.column("neighbors").to_pylist()
    rows[0], rows[1], rows[2] = [5], [], [-4, 9999, 7]
    place = points.column_names.index("neighbors")
    changed = points.set_column(place, "neighbors", pa.array(rows, pa.list_(pa.int32())))
    pq.write_table(changed, run / "points.parquet")
    columns = unpacked(*pack_columns(read_explored(run)))
    near = columns["neighbors"].reshape(len(points), -1)
    assert near[0].tolist() == [5] + [-1] * 9
    assert near[1].tolist() == [-1] * 10
    assert near[2].tolist()[:3] == [-1, -1, 7]


def test_the_page_is_one_file(digits_explored: Path) -> None:
    page = write_explorer(digits_explored).read_text("utf-8")
    assert page.count("</script>") == page.count("<script")
    sheet = re.search(r'class="sheet">data:image/webp;base64,([^<]+)<', page)
    assert sheet is not None
    stored = (digits_explored / "pictures" / "sheet-000.webp").read_bytes()
    assert base64.b64decode(sheet[1]) == stored
    own = page[page.rindex("<script>") :]
    assert not re.findall(r"https?://", own)
    assert "default-src &#39;none&#39;" in page


def test_every_script_is_in_the_page() -> None:
    folder = Path(sys.modules[write_explorer.__module__].__file__ or "").parent
    assert sorted(SCRIPTS) == sorted(path.name for path in folder.glob("*.js"))


def test_more_than_a_file_holds_is_refused(run: Path) -> None:
    points = pq.read_table(run / "points.parquet")
    times = MOST_PICTURES // len(points) + 1
    pq.write_table(pa.concat_tables([points] * times), run / "points.parquet")
    with pytest.raises(InputError, match=r"too many for one file.*serve"):
        write_explorer(run)
    assert not (run / "explore.html").exists()


def without(column: str) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        points = pq.read_table(run / "points.parquet")
        pq.write_table(points.drop_columns([column]), run / "points.parquet")

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda run: (run / "explore.json").unlink(), "no run here"),
        (lambda run: (run / "explore.json").write_text("{"), r"damaged .*makes it again"),
        (lambda run: (run / "explore.json").write_text('{"format": 9}'), "not of format 1"),
        (lambda run: (run / "points.parquet").unlink(), r"points\.parquet: missing"),
        (lambda run: (run / "points.parquet").write_text("no"), "cannot be read as parquet"),
        (without("reason"), "no column 'reason'"),
    ],
)
def test_damage_is_told_in_a_line(run: Path, change: Callable[[Path], Any], told: str) -> None:
    change(run)
    with pytest.raises(InputError, match=told) as error:
        write_explorer(run)
    assert "\n" not in str(error.value)
    assert not (run / "explore.html").exists()


def test_what_is_absent_leaves_a_page(run: Path) -> None:
    for name in ("health.json", "duplicates.parquet"):
        (run / name).unlink()
    shutil.rmtree(run / "pictures")
    figures = json.loads((run / "explore.json").read_text())
    figures["maps"]["tsne"]["trustworthiness"] = float("nan")
    (run / "explore.json").write_text(json.dumps(figures))
    page = write_explorer(run).read_text("utf-8")
    assert '"trustworthiness": null' in page


def test_writing_the_page_never_loads_torch(run: Path) -> None:
    code = (
        "import sys, pathlib; from vicinal.report import write_explorer; "
        f"write_explorer(pathlib.Path({json.dumps(str(run))})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
