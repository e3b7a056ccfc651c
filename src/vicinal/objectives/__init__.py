"""Objectives: pure functions of two views' embeddings (B, D) to Terms."""

from vicinal.objectives.barlow import BarlowLoss, barlow
from vicinal.objectives.named_objectives import (
    OBJECTIVES,
    at_own_rate,
    directions,
    names_of_terms,
    of_recipe,
    without_spread,
)
from vicinal.objectives.ntxent import NTXentLoss, ntxent
from vicinal.objectives.sigreg import SIGRegLoss, sigreg
from vicinal.objectives.tcr import TCRLoss, tcr
from vicinal.objectives.terms import Criterion, Terms, slices
from vicinal.objectives.vicreg import CONVENTIONS, PRESETS, VICRegLoss, vicreg
from vicinal.objectives.visreg import VISRegLoss, visreg

__all__ = [
    "CONVENTIONS",
    "OBJECTIVES",
    "PRESETS",
    "BarlowLoss",
    "Criterion",
    "NTXentLoss",
    "SIGRegLoss",
    "TCRLoss",
    "Terms",
    "VICRegLoss",
    "VISRegLoss",
    "at_own_rate",
    "barlow",
    "directions",
    "names_of_terms",
    "ntxent",
    "of_recipe",
    "sigreg",
    "slices",
    "tcr",
    "vicreg",
    "visreg",
    "without_spread",
]
