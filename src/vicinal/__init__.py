"""Vicinal: learn image representations without labels, then measure, map and use them."""

__version__ = "0.1.0"
