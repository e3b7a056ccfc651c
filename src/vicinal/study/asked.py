"""The recipe that a user's words mean."""

from __future__ import annotations

from collections.abc import Sequence

from vicinal.encoder.pretrained import with_start
from vicinal.recipe import Recipe
from vicinal.recipes import override, read_recipe
from vicinal.recipes.differences import ignoring
from vicinal.study.folder import recipe_for


def asked_recipe(
    data: str,
    recipe: str | None,
    settings: Sequence[str],
    ignore: Sequence[str] | None = None,
) -> Recipe:
    """The recipe asked for, or the one that fits, with its settings and its start's network.

    Args:
        data: Source of the images.
        recipe: A shipped recipe's name or a file; None for ``pretrained`` where a setting names
            weights to go on from, else for the one that fits the data.
        settings: ``section.field=value`` overrides.
        ignore: What views should differ in, see `vicinal.recipes.differences`; None for what
            the recipe's do.

    Raises:
        InputError: If a name, a value or the start's weights cannot be used.
    """
    starts = any(one.partition("=")[0].strip() == "encoder.start" for one in settings)
    name = recipe or ("pretrained" if starts else recipe_for(data))
    chosen = override(read_recipe(name), settings)
    return with_start(chosen if ignore is None else ignoring(chosen, ignore))
