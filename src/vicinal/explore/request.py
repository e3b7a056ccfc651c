"""What a user asks of `explore`, checked, and the pictures and the recipe it means."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicinal.encoder.pretrained import encoder_file, form_of
from vicinal.encoder.saved import fingerprint, load_encoder
from vicinal.errors import InputError, option
from vicinal.images import MOST_PIXELS, Part, load_parts
from vicinal.images.decoding import Decoding
from vicinal.images.picture_list import PictureList
from vicinal.recipes.recipe import Recipe
from vicinal.runs.run_folder import held_recipe, resolve_recipe
from vicinal.training.budget import check_minutes, sets_epochs
from vicinal.training.fit_to_pictures import left_open
from vicinal.training.log import check_log

MINUTES = 8.0
"""What a training may take where nobody says: a first page within a quarter of an hour."""
FALSE_ALARMS = 0.01
"""The share of the pictures that may be flagged where nobody says."""


@dataclass(frozen=True)
class Request:
    """What a user asks; None stands for the default that fits.

    Attributes:
        data: A folder, or a source as `vicinal.images.load_parts` takes it.
        encoder: A run folder, an encoder's file, ``pretrained`` or ``timm:NAME``; None to train
            one on these pictures.
        onto: A finished run on whose map the pictures are placed, in a run of their own.
        update: A finished run of the same folder, which is brought up to date in place.
        recipe: A shipped recipe's name or a file.
        settings: ``section.field=value`` overrides of the recipe.
        minutes: What the training may take; None for `MINUTES`, or for all the epochs that
            ``settings`` set.
        ignore: Words for the differences that should not count, see
            `vicinal.recipes.ignored_differences`; None for those of the recipe that cannot be told
            in these pictures, see `vicinal.training.fit_to_pictures`, or for all if it is named.
        false_alarms: The share of the pictures that may be flagged as odd; None for
            `FALSE_ALARMS`, or with ``update`` for that of the run.
        log: Where else the losses go, one of `vicinal.training.log.LOGS`, or None.
        run: The run folder.
        resume: Whether to go on with an interrupted run.
        device: ``auto``, ``cpu`` or ``cuda``.
        data_dir: Where downloads and decoded images are kept.
        exclude: Patterns of files that are left out, see `vicinal.images.load`.
        max_pixels: Pixels of a picture that may be decoded.
    """

    data: str
    encoder: Path | None = None
    onto: Path | None = None
    update: Path | None = None
    recipe: str | None = None
    settings: tuple[str, ...] = ()
    minutes: float | None = None
    ignore: tuple[str, ...] | None = None
    false_alarms: float | None = None
    log: str | None = None
    run: Path | None = None
    resume: bool = False
    device: str = "auto"
    data_dir: Path | None = None
    exclude: tuple[str, ...] = ()
    max_pixels: int = MOST_PIXELS

    @property
    def rate(self) -> float:
        """The share of the pictures that may be flagged as odd, in a run of its own."""
        return FALSE_ALARMS if self.false_alarms is None else self.false_alarms

    @property
    def fits(self) -> frozenset[str]:
        """What is fitted to the pictures, for nobody said it: ``views`` and ``size``."""
        return left_open(self.recipe, self.settings, self.ignore)

    @property
    def limit(self) -> float | None:
        """Minutes that the training may take; None where epochs are set and minutes are not."""
        if self.minutes is not None or self.encoder is not None or self.onto is not None:
            return self.minutes
        return None if sets_epochs(self.settings) else MINUTES

    def command(self, run: Path) -> str:
        """The command that goes on with it in the folder ``run``."""
        default, words = Request(self.data), ["vicinal", "explore", _no_option(self.data)]
        names = (
            "encoder",
            "onto",
            "recipe",
            "minutes",
            "false_alarms",
            "log",
            "device",
            "data_dir",
        )
        for name in names:
            if getattr(self, name) != getattr(default, name):
                words += [f"--{name.replace('_', '-')}", str(getattr(self, name))]
        if self.max_pixels != default.max_pixels:
            words += ["--max-megapixels", str(self.max_pixels / 1e6)]
        if self.ignore is not None:
            words += ["--ignore", ",".join(self.ignore) or "nothing"]
        for setting in self.settings:
            words += ["--set", setting]
        for pattern in self.exclude:
            words += ["--exclude", pattern]
        return shlex.join([*words, "--run", str(run), "--resume"])


def _no_option(data: str) -> str:
    """A folder whose name begins like an option's, so that it is taken for none."""
    return f"./{data}" if data.startswith("-") else data


def check(request: Request) -> None:
    """Refuses numbers out of range and options that say nothing together.

    Raises:
        InputError: As said.
    """
    check_minutes(request.minutes)
    check_log(request.log)
    if not 0 < request.rate < 1:
        raise InputError(
            f"{option('false_alarms', request.false_alarms)}: give a rate between 0 and 1"
        )
    trains = (request.recipe, request.ignore, request.log) != (None,) * 3 or request.settings
    given = [name for name in ("encoder", "onto", "update") if getattr(request, name) is not None]
    if len(given) > 1:
        raise InputError(f"{option(given[0])} and {option(given[1])}: give one of them")
    if given and trains:
        raise InputError(
            f"{option(given[0])}: nothing is trained, so leave {option('recipe')}, "
            f"{option('settings')}, {option('ignore')}, {option('log')} and a start out"
        )
    if request.update is not None and (request.run is not None or request.resume):
        raise InputError(f"{option('update')}: names the run; leave the other options for it out")


def recipe_of(request: Request, data: str, path: Path) -> Recipe | None:
    """What to train by: the recipe of a run to go on with, else the one asked for."""
    if request.encoder is not None or request.onto is not None:
        return None
    held = held_recipe(path) if request.resume else None
    return held or resolve_recipe(data, request.recipe, request.settings, request.ignore)


def load_pictures(
    request: Request,
    data: str,
    recipe: Recipe | None,
    choose: Callable[[str | None, PictureList], PictureList],
) -> tuple[Part, ...]:
    """All pictures, as the recipe or the given encoder takes them.

    Args:
        request: What is asked for.
        data: The source.
        recipe: The recipe; None where an encoder is given.
        choose: As in `vicinal.images.load_parts`.

    Raises:
        InputError: If they cannot be read.
    """
    if recipe is not None:
        size, interpolation = form_of(recipe)
        how = Decoding(size, interpolation=interpolation, max_pixels=request.max_pixels)
    else:
        assert request.encoder is not None
        _, made = load_encoder(encoder_file(request.encoder))
        how = made.decoding(max_pixels=request.max_pixels)
    return load_parts(data, how, data_dir=request.data_dir, exclude=request.exclude, choose=choose)


def identity_of(request: Request, data: str, parts: tuple[Part, ...]) -> dict[str, Any]:
    """What makes a run what it is, beside the recipe."""
    encoder = request.encoder
    return {
        "verb": "explore",
        "data": data,
        "pictures": [part.images.fingerprint for part in parts],
        "encoder": None if encoder is None else fingerprint(encoder_file(encoder)),
        "onto": None if request.onto is None else str(request.onto),
        "asked": {
            "recipe": request.recipe,
            "settings": list(request.settings),
            "minutes": request.limit,
            "false_alarms": request.rate,
            "ignore": None if request.ignore is None else sorted(request.ignore),
        },
    }
