"""Encoders: images to representations; and the projector to embeddings."""
