"""Recipes as files: reading, checking, overriding and writing them.

The TOML files beside this one are the recipes that come with Vicinal; a user's
own is any TOML file of the same shape.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from vicinal.errors import InputError, option
from vicinal.recipes.recipe import Recipe


def recipe_names() -> list[str]:
    """The names of the recipes that come with Vicinal."""
    files = resources.files(__name__).iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))


def read_recipe(name_or_path: str) -> Recipe:
    """Reads a shipped recipe by its name, or a recipe file by its path.

    Raises:
        InputError: If there is no such recipe, or it is not valid.
    """
    if name_or_path in recipe_names():
        text = resources.files(__name__).joinpath(f"{name_or_path}.toml").read_text("utf-8")
    else:
        path = Path(name_or_path)
        if not path.is_file():
            raise InputError(
                f"no recipe {name_or_path!r}: give one of {', '.join(recipe_names())}, "
                "or the path of a TOML file"
            )
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"recipe {name_or_path}: cannot be read: {error}") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"recipe {name_or_path} is not TOML: {error}") from None
    return checked(data, f"recipe {name_or_path}")


def field_names(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[str]:
    """Every field of a recipe as ``section.field``."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from field_names(inner, f"{prefix}{name}.")
        else:
            yield prefix + name


def override(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Returns the recipe with each ``section.field=value`` of ``settings`` applied.

    Values are TOML (``0.1``, ``true``, ``[512, 512]``); a bare word is a string.

    Raises:
        InputError: If a name or a value is not valid.
    """
    data = recipe.model_dump(mode="json")
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise InputError(f"{option('settings', setting)}: write it as section.field=value")
        *sections, field = key.strip().split(".")
        target = data
        for section in sections:
            inner = target.get(section)
            if not isinstance(inner, dict):
                raise InputError(_unknown(key, option("settings", setting)))
            target = inner
        target[field] = _value(text.strip())
    return checked(data, option("settings"))


def to_toml(recipe: Recipe) -> str:
    """The full recipe as TOML that `read_recipe` reads back to an equal recipe."""
    return "\n".join(_lines("", recipe.model_dump(mode="json"))) + "\n"


def _lines(section: str, data: dict[str, Any]) -> list[str]:
    """A section's own fields, and then the sections in it."""
    # Strings, numbers, booleans and lists of these are the same in TOML as in JSON.
    own = {name: value for name, value in data.items() if not isinstance(value, dict)}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in own.items()]
    for name, value in data.items():
        if isinstance(value, dict):
            inner = f"{section}.{name}" if section else name
            lines += ["", f"[{inner}]", *_lines(inner, value)]
    return lines


def checked(data: dict[str, Any], where: str) -> Recipe:
    """The recipe of plain data.

    Raises:
        InputError: If a name or a value is not valid: ``where``, and the first of them.
    """
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
        if first["type"] == "extra_forbidden":
            raise InputError(_unknown(key, where)) from None
        message = first["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        raise InputError(f"{where}: {key} = {first['input']!r}: {message}") from None
    _check_together(recipe, where)
    return recipe


def _check_together(recipe: Recipe, where: str) -> None:
    """Rules that a single field cannot state."""
    for name in ("crop_scale", "crop_ratio", "blur_sigma"):
        low, high = getattr(recipe.views, name)
        if low > high or high == 0:
            raise InputError(
                f"{where}: views.{name} = [{low}, {high}]: the first must not exceed the second"
            )
    if recipe.views.blur_kernel % 2 == 0:
        raise InputError(f"{where}: views.blur_kernel = {recipe.views.blur_kernel}: must be odd")
    sigreg = recipe.objective.sigreg
    if sigreg.convention == "lejepa" and sigreg.weight > 1:
        raise InputError(
            f"{where}: objective.sigreg.weight = {sigreg.weight:g}: must be 1 or less with the "
            "convention lejepa, whose other weight is 1 less it"
        )
    last = max(recipe.training.keep_epochs, default=0)
    if last > recipe.training.epochs:
        raise InputError(
            f"{where}: training.keep_epochs has {last}, but there are only "
            f"{recipe.training.epochs} epochs (training.epochs)"
        )
    if recipe.no_variance.epochs > recipe.training.epochs:
        raise InputError(
            f"{where}: no_variance.epochs = {recipe.no_variance.epochs}: must not exceed "
            f"training.epochs, {recipe.training.epochs}"
        )


def _unknown(key: str, where: str) -> str:
    valid = list(field_names())
    close = difflib.get_close_matches(key, valid, n=1, cutoff=0.6)
    section = key.rpartition(".")[0]
    siblings = [name for name in valid if name.startswith(section + ".")] if section else []
    names = siblings or sorted({name.partition(".")[0] for name in valid})
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{where}: no field {key!r}; {hint}valid names: {', '.join(names)}"


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
