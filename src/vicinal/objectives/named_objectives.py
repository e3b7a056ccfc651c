"""The objectives that a recipe may name, each with its terms, and what training asks of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vicinal.objectives.barlow import barlow
from vicinal.objectives.ntxent import ntxent
from vicinal.objectives.sigreg import sigreg
from vicinal.objectives.tcr import tcr
from vicinal.objectives.terms import Terms, slices
from vicinal.objectives.vicreg import vicreg
from vicinal.objectives.visreg import visreg
from vicinal.recipes.recipe import Objective, Recipe


@dataclass(frozen=True)
class NamedObjective:
    """An objective that a recipe may name."""

    title: str  # what readers call it
    loss: Callable[..., Terms]
    parts: tuple[str, ...]  # the names of its terms
    spread: str  # the field of its recipe's section whose 0 takes away what is against collapse
    says: str  # how it works, for a reader of the report


OBJECTIVES: dict[str, NamedObjective] = {
    "vicreg": NamedObjective(
        "VICReg",
        vicreg,
        ("invariance", "variance", "covariance"),
        "variance",
        "pulls two augmented views of an image together (invariance), keeps every dimension "
        "spread out (variance) and makes dimensions independent (covariance)",
    ),
    "barlow": NamedObjective(
        "Barlow Twins",
        barlow,
        ("invariance", "redundancy"),
        "redundancy",
        "makes each dimension of two augmented views of an image correlate (invariance) and "
        "different dimensions not (redundancy)",
    ),
    "sigreg": NamedObjective(
        "SIGReg",
        sigreg,
        ("invariance", "normality"),
        "weight",
        "pulls two augmented views of an image together (invariance) and makes the embeddings "
        "look normal in random directions (normality)",
    ),
    "visreg": NamedObjective(
        "VISReg",
        visreg,
        ("invariance", "centre", "scale", "shape"),
        "weight",
        "pulls two augmented views of an image together (invariance), keeps the embeddings' "
        "centre at 0 and each dimension's scale at 1, and makes their shape normal in random "
        "directions",
    ),
    "ntxent": NamedObjective(
        "NT-Xent",
        ntxent,
        ("alignment", "uniformity"),
        "uniformity",
        "turns two augmented views of an image the same way (alignment) and other images of the "
        "batch away (uniformity)",
    ),
    "tcr": NamedObjective(
        "TCR",
        tcr,
        ("rate", "alignment"),
        "rate",
        "turns two augmented views of an image the same way (alignment) and gives the batch as "
        "many directions as it can (rate)",
    ),
}


_NOT_OF_LOSS = {"slices", "learning_rate_factor"}


def at_own_rate(recipe: Recipe) -> Recipe:
    """The recipe with the learning rate that its objective is trained at."""
    own = getattr(recipe.objective, recipe.objective.name, None)
    if own is None or own.learning_rate_factor == 1:
        return recipe
    rate = recipe.training.learning_rate * own.learning_rate_factor
    training = recipe.training.model_copy(update={"learning_rate": rate})
    return recipe.model_copy(update={"training": training})


def names_of_terms(settings: Objective) -> tuple[str, ...]:
    """The names of what is logged of an objective: ``total``, and its terms."""
    return ("total", *OBJECTIVES[settings.name].parts)


def of_recipe(
    z_a: Tensor, z_b: Tensor, settings: Objective, rows: int | None, *drawn: Tensor
) -> Terms:
    """The recipe's objective of two views' embeddings (B, D)."""
    return OBJECTIVES[settings.name].loss(z_a, z_b, *drawn, rows=rows, **_arguments(settings))


def directions(settings: Objective, dimensions: int, *drawn: int) -> list[Tensor]:
    """The random slices (D, S) of a step on the CPU, if the objective takes any."""
    count = getattr(getattr(settings, settings.name, None), "slices", 0)
    return [slices(dimensions, count, *drawn)] if count else []


def without_spread(settings: Objective) -> Objective:
    """The recipe's objective with nothing against collapse."""
    spread = {OBJECTIVES[settings.name].spread: 0.0}
    if settings.name == "vicreg":
        return settings.model_copy(update=spread)
    own = getattr(settings, settings.name).model_copy(update=spread)
    return settings.model_copy(update={settings.name: own})


def _arguments(settings: Objective) -> dict[str, Any]:
    if settings.name != "vicreg":
        given: dict[str, Any] = getattr(settings, settings.name).model_dump(exclude=_NOT_OF_LOSS)
        return given
    return {
        "invariance_weight": settings.invariance,
        "variance_weight": settings.variance,
        "covariance_weight": settings.covariance,
        "target_std": settings.target_std,
        "epsilon": settings.epsilon,
        "convention": settings.convention,
    }
