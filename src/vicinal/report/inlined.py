"""What goes into one page that needs no network: scripts, their policy, arrays and plain data."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from plotly.offline import get_plotlyjs

HERE = Path(__file__).parent


def plotly_script() -> str:
    """Plotly's own JavaScript, from the installed package."""
    return inline_script(get_plotlyjs())


def inline_script(text: str) -> str:
    """JavaScript that can stand in a ``script`` element and keeps its hash there."""
    return text.replace("\r", "").replace("</script", "<\\/script")


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
