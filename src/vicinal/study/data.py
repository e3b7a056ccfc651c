"""The images of a study: loaded, checked, described."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicinal.encoder.pretrained import form_of
from vicinal.errors import InputError, option
from vicinal.evaluations.leaks import find_leaks
from vicinal.evaluations.maps import FEWEST as FEWEST_ON_A_MAP
from vicinal.evaluations.same_picture import made_small
from vicinal.files import read_json, write_json
from vicinal.images import lists_files, load, load_anomalies, named
from vicinal.images.image_set import ImageSet
from vicinal.progress import say
from vicinal.recipes.recipe import Recipe
from vicinal.runs.run_folder import RunFolder
from vicinal.study.figures import is_cifar10


@dataclass(frozen=True, eq=False)
class Data:
    """The images of a study.

    Attributes:
        train: Images that teach.
        test: Images that are looked at once.
        anomalies: Images of another kind, or None.
    """

    train: ImageSet
    test: ImageSet
    anomalies: ImageSet | None

    def parts(self) -> dict[str, ImageSet]:
        """The sets by name."""
        sets = {"train": self.train, "test": self.test, "anomalies": self.anomalies}
        return {name: images for name, images in sets.items() if images is not None}


@dataclass(frozen=True)
class Sources:
    """Where a study's images come from.

    Attributes:
        data: The images, as `vicinal.images.load` takes them.
        anomalies: Images of another kind.
        test: The test set, if it lies apart.
        limit: At most so many training images.
    """

    data: str
    anomalies: str | None
    test: str | None
    limit: int | None

    @classmethod
    def of(cls, data: str, anomalies: str | None, test: str | None, limit: int | None) -> Sources:
        """Sources by their full names; the scanned digits bring an anomaly set along."""
        other = anomalies or ("patches" if data == "digits" else None)
        return cls(named(data), other and named(other), test and named(test), limit)


def load_data(
    sources: Sources,
    recipe: Recipe,
    *,
    data_dir: Path | None,
    exclude: tuple[str, ...],
    max_pixels: int,
) -> Data:
    """Loads the images at the size that the recipe's encoder takes.

    Raises:
        InputError: If a source cannot be used, or has too few images for the recipe.
    """
    size, interpolation = form_of(recipe)
    how: dict[str, Any] = {
        "size": size,
        "seed": recipe.seed,
        "interpolation": interpolation,
        "data_dir": data_dir,
        "max_pixels": max_pixels,
    }
    splits = load(sources.data, limit=sources.limit, test=sources.test, exclude=exclude, **how)
    other = None
    if sources.anomalies is not None:
        how["exclude"] = exclude if lists_files(sources.anomalies) else ()
        how |= {"channels": splits.train.channels, "span": splits.train.span}
        other = load_anomalies(sources.anomalies, **how)
    data = Data(splits.train, splits.test, other)
    _check_sizes(data, recipe)
    return data


def write_leaks(run: RunFolder, data: Data) -> None:
    """Writes which test images are copies of training images, and warns of them in a line."""
    found = find_leaks(made_small(data.train.pixels), made_small(data.test.pixels), cropped=False)
    ids = data.test.ids[found.leaked].tolist()
    write_json(
        run / "leaks.json", {"tested": found.tested, "leaked": ids, "told": found.summary()[0]}
    )
    if ids:
        say(f"warning: {found.summary()[0]}; so the test figures are too good")


def _check_sizes(data: Data, recipe: Recipe) -> None:
    """Refuses, before any work, sets too small for what the recipe asks."""
    train, test = len(data.train), len(data.test)
    if min(train, test) < FEWEST_ON_A_MAP:
        raise InputError(
            f"{data.train.name}: {train} training and {test} test images; a study needs "
            f"{FEWEST_ON_A_MAP} of each, so add images"
        )
    needs = {
        "mined.neighbours": min(train, test) - 1,
        "spectral.neighbours": train - 1,
        "evaluation.clusters": train,
        "evaluation.retrieved": train,
        "evaluation.anomaly_neighbours": train,
    }
    for name, most in needs.items():
        section, field = name.split(".")
        wanted = getattr(getattr(recipe, section), field)
        if wanted > most:
            raise InputError(
                f"{data.train.name}: {train} training and {test} test images allow "
                f"{name} up to {most}, the recipe asks {wanted}; add images, or use "
                f"{option('settings', f'{name}={max(most, 1)}')}"
            )


def describe_data(run: RunFolder, data: Data, sources: Sources) -> dict[str, Any]:
    """The images as ``results.json`` describes them, with `write_leaks`' findings if there are."""
    train, anomalies, leaks = data.train, data.anomalies, run / "leaks.json"
    return {
        "name": train.name,
        "source": sources.data,
        "train": len(train),
        "test": len(data.test),
        "size": train.size,
        "channels": train.channels,
        "classes": list(train.class_names),
        "limit": sources.limit,
        "note": _note(data, sources.data),
        "fingerprint": {name: images.fingerprint for name, images in data.parts().items()},
        "leaks": read_json(leaks) if leaks.is_file() else None,
        "anomalies": anomalies
        and {
            "name": anomalies.name,
            "source": sources.anomalies,
            "count": len(anomalies),
            "classes": list(anomalies.class_names),
        },
    }


def _note(data: Data, source: str) -> str:
    """What a reader must know before holding the figures against published ones."""
    if is_cifar10(data.train.class_names) and source != "cifar10":
        return (
            f"These are CIFAR-10's classes read from {source.partition(':')[0]} files, not the "
            "original binary: if the files are JPEG, the figures are of a JPEG copy."
        )
    return ""
