"""A picture of the user's, decoded and written anew: no byte of the file itself goes out."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

LONGEST_SIDE = 1024
"""Pixels; larger pictures are reduced."""
MOST_PIXELS = 100_000_000
MOST_BYTES = 200_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # Pillow's own decoders, no other program


def read_original(path: str | Path) -> bytes | None:
    """The picture in a file as WebP, upright, on white; None where there is none to be had."""
    path = Path(path)
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            image.draft(None, (LONGEST_SIDE, LONGEST_SIDE))
            shown = _opaque(ImageOps.exif_transpose(image))
        shown.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        content = io.BytesIO()
        shown.save(content, "WEBP", quality=90, method=2)
    except Exception:  # Pillow's decoders raise whatever they stumble over
        return None
    return content.getvalue()


def _opaque(image: Image.Image) -> Image.Image:
    """Any mode to RGB."""
    if image.mode.startswith("I"):  # 16 bits, which Pillow itself would clip
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        image = Image.fromarray((values // 257).astype(np.uint8))
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour)
    return image.convert("RGB")
