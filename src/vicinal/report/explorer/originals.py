"""A picture of the user's, decoded and written anew: no byte of the file itself goes out."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from vicinal.images.depth import Span, eight_bits, span_of
from vicinal.images.fit import upright
from vicinal.images.opened import opened

LONGEST_SIDE = 1024
"""Pixels; larger pictures are reduced."""
MOST_PIXELS = 100_000_000
"""Pixels that are decoded; of a JPEG, at the fraction of its size that is needed."""
MOST_BYTES = 200_000_000


def read_original(path: str | Path, span: Span | None = None) -> bytes | None:
    """The picture in a file as WebP, upright and opaque as the encoder saw it, but whole.

    Args:
        path: The file.
        span: The values of pictures of more than 8 bits that become black and white; None for
            the least and the greatest of this one.

    Returns:
        None where there is none to be had.
    """
    path = Path(path)
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        with opened(path, LONGEST_SIDE, MOST_PIXELS) as (image, _):
            shown = upright(image)
        if shown.mode == "F":
            values = np.asarray(shown)
            shown = Image.fromarray(eight_bits(values, span or span_of(values)))
        shown = shown.convert("RGB")
        shown.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        content = io.BytesIO()
        shown.save(content, "WEBP", quality=90, method=2)
    except Exception:  # Pillow's decoders raise whatever they stumble over
        return None
    return content.getvalue()
