"""Images: where they live, and how they become an ImageSet."""

from vicinal.images.file_formats import MOST_PIXELS
from vicinal.images.image_set import ImageSet, Splits, hold_out, limited
from vicinal.images.in_memory import from_images
from vicinal.images.loading import Part, load, load_anomalies, load_parts, source_parts
from vicinal.images.skipped import MOST_SKIPPED, Skipped, keep_skipped
from vicinal.images.sources import SOURCES, lists_files, named, source_names

__all__ = [
    "MOST_PIXELS",
    "MOST_SKIPPED",
    "SOURCES",
    "ImageSet",
    "Part",
    "Skipped",
    "Splits",
    "from_images",
    "hold_out",
    "keep_skipped",
    "limited",
    "lists_files",
    "load",
    "load_anomalies",
    "load_parts",
    "named",
    "source_names",
    "source_parts",
]
