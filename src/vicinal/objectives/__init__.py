"""Objectives: pure functions of two views' embeddings (B, D) to Terms."""

from vicinal.objectives.terms import Terms
from vicinal.objectives.vicreg import CONVENTIONS, PRESETS, VICRegLoss, vicreg

__all__ = ["CONVENTIONS", "PRESETS", "Terms", "VICRegLoss", "vicreg"]
