"""Objectives: pure functions of two views' embeddings."""
