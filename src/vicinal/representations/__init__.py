"""Representations, and what is computed straight from them."""
