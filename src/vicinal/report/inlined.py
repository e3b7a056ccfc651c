"""What goes into one page that needs no network: scripts, their policy, arrays, pictures."""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from plotly.offline import get_plotlyjs

HERE = Path(__file__).parent


def plotly_script() -> str:
    """Plotly's own JavaScript, from the installed package."""
    return inline_script(get_plotlyjs())


def inline_script(text: str) -> str:
    """JavaScript that can stand in a ``script`` element and keeps its hash there."""
    return text.replace("\r", "").replace("</script", "<\\/script")


def own_script(files: Sequence[Path]) -> str:
    """Scripts of ours as one function, in which they see each other and nothing outside does."""
    text = "".join(path.read_text("utf-8") for path in files)
    return inline_script(f"(() => {{\n{text}}})();\n")


def content_policy(scripts: Sequence[str], *, also: str = "", compiles: bool = True) -> str:
    """A content policy that forbids any request, and any script but those with these texts.

    Args:
        scripts: The texts of the page's scripts.
        also: Directives that allow more, each ended by a semicolon and a space.
        compiles: Whether scripts may make code of text, as Plotly does of its WebGL programs.
    """
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    evaluated = "'unsafe-eval' " if compiles else ""
    return (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"{also or 'img-src data: blob:; '}style-src 'unsafe-inline'; "
        f"script-src {evaluated}" + " ".join(f"'sha256-{digest}'" for digest in hashes)
    )


def base64_array(values: Any, kind: str) -> str:
    """An array's bytes, of a little-endian dtype: a quarter of the size of JSON numbers."""
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode()


def data_address(kind: str, content: bytes) -> str:
    """An image file's bytes as a ``data:`` address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def finite(data: Any) -> Any:
    """The data with None for what JSON cannot say."""
    if isinstance(data, Mapping):
        return {str(key): finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


SHARP_UP_TO = 64
"""Tiles of up to so many pixels are enlarged without smoothing."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of a run, found by id.

    Attributes:
        folder: Where the sheets are.
        places: Id to (sheet's file name, x, y, size), the last three in pixels.
        sheets: The sheets' file names.
    """

    folder: Path
    places: dict[str, tuple[str, int, int, int]]
    sheets: list[str]
    _opened: dict[str, Image.Image] = field(default_factory=dict, repr=False)
    _tiles: dict[str, str] = field(default_factory=dict, repr=False)

    def tile(self, name: str) -> str | None:
        """The image with this id as a ``data:`` address, or None where there is none."""
        if name not in self._tiles:
            if name not in self.places:
                return None
            sheet, x, y, size = self.places[name]
            if sheet not in self._opened:
                with Image.open(self.folder / sheet) as opened:
                    self._opened[sheet] = opened.convert("RGB")
            tile = self._opened[sheet].crop((x, y, x + size, y + size))
            pixels = np.asarray(tile)
            if (pixels == pixels[:, :, :1]).all():
                tile = tile.convert("L")  # grey needs a third of the bytes
            buffer = io.BytesIO()
            if size <= SHARP_UP_TO // 2:
                tile.save(buffer, format="PNG", optimize=True)
                kind = "png"
            else:
                tile.save(buffer, format="WEBP", quality=88)
                kind = "webp"
            self._tiles[name] = data_address(kind, buffer.getvalue())
        return self._tiles[name]

    def sheet_addresses(self) -> list[str]:
        """Each sheet, in the order of ``sheets``, as a ``data:`` address."""
        return [data_address("webp", (self.folder / name).read_bytes()) for name in self.sheets]


def read_pictures(folder: Path) -> Pictures:
    """Reads the index of the pictures in ``folder``; empty where there is none."""
    index = folder / "index.parquet"
    if not index.is_file():
        return Pictures(folder, {}, [])
    columns = pq.read_table(index).to_pydict()
    sheets = sorted({Path(name).name for name in columns["sheet"]})
    present = {name for name in sheets if (folder / name).is_file()}
    places = {
        str(name): (Path(sheet).name, int(x), int(y), int(size))
        for name, sheet, x, y, size in zip(
            columns["id"],
            columns["sheet"],
            columns["x"],
            columns["y"],
            columns["size"],
            strict=True,
        )
        if Path(sheet).name in present
    }
    return Pictures(folder, places, sorted(present))
