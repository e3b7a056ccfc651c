"""Fits a recipe to pictures: their size, and the differences that are not visible among them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from vicinal import cores
from vicinal.encoder.patches import PatchFilters, fit_patches, patch_features
from vicinal.images.image_set import ImageSet
from vicinal.progress import told_before
from vicinal.recipes.ignored_differences import OFF, ignored, ignoring
from vicinal.recipes.recipe import Recipe, Views
from vicinal.views import Augment

T = TypeVar("T")

VISIBLE = 0.7
"""The accuracy from which on a difference is visible, and so counts; 0.5 is chance."""
MEASURED = ("colour", "brightness", "flip")
"""Words measured. A crop, a blur or a rotation is visible on nearly any set and helps all the
same, since what it takes away is seldom what pictures are sorted by."""
_PICTURES = 1_000
_LEAST = 40  # pictures, below which the accuracy would be chance
_SIDE = 32
_SIZES = (32, 64)  # pixels a side
_FILTERS = 64
_BRIGHTNESS = 7  # the last features of a picture are of its brightness


def left_open(
    recipe: str | None, settings: Iterable[str], ignore: Sequence[str] | None
) -> frozenset[str]:
    """What nobody said and the pictures can: ``views``, by `fitting`, and ``size``, by `sized`."""
    fields = tuple(setting.strip() for setting in settings)
    says_views = ignore is not None or any(one.startswith("views.") for one in fields)
    hangs = ("views.size", "views.blur_kernel", "encoder.")
    says_size = any(one.startswith(hangs) for one in fields)
    said = {"views": says_views, "size": says_size}
    return frozenset(name for name, says in said.items() if recipe is None and not says)


def fitted(
    recipe: Recipe,
    fits: Collection[str],
    read: Callable[[Recipe], T],
    pictures: Callable[[T], ImageSet],
) -> tuple[Recipe, T]:
    """The recipe as it fits the pictures, and the pictures as it takes them.

    Args:
        recipe: The recipe that fits pictures of this kind in general.
        fits: What may be fitted, see `left_open`.
        read: Reads the pictures as a recipe takes them.
        pictures: Those of what was read that are trained on.
    """
    found = read(recipe)
    if "size" in fits:
        smaller = sized(recipe, pictures(found).sizes)
        if smaller != recipe:
            with told_before():
                recipe, found = smaller, read(smaller)
    if "views" in fits:
        recipe = fitting(recipe, pictures(found).pixels)
    return recipe, found


def sized(recipe: Recipe, sizes: NDArray[np.int32] | None) -> Recipe:
    """The recipe at 32 pixels a side, or 64, where most pictures have no more than that.

    Enlarged, they would take several times as long and show nothing more.

    Shapes: sizes (N, 2), width and height of the originals; None leaves the recipe as it is.
    """
    if sizes is None or not len(sizes):
        return recipe
    typical = int(np.median(sizes.max(axis=1)))
    size = next((size for size in _SIZES if typical <= size < recipe.views.size), None)
    if size is None:
        return recipe
    blur = max(3, size * recipe.views.blur_kernel // recipe.views.size | 1)
    views = recipe.views.model_copy(update={"size": size, "blur_kernel": blur})
    return recipe.model_copy(update={"views": views})


def fitting(recipe: Recipe, pixels: NDArray[np.uint8]) -> Recipe:
    """The recipe without the differences that would make its views unlike the pictures.

    A mirrored digit, or a dimmed one among equally bright ones, does not look like its set any
    more. There the difference says something, and an encoder that ignores it loses that. A
    mirrored photograph looks like the others.
    """
    had = ignored(recipe.views)
    shares = accuracies(pixels, recipe.views)
    kept = [word for word in had if shares.get(word, 0.0) < VISIBLE]
    return recipe if len(kept) == len(had) else ignoring(recipe, kept)


def with_sides(recipe: Recipe, pixels: NDArray[np.uint8]) -> Recipe:
    """The recipe whose encoder sees mirror images only where one looks like the other pictures.

    What is written or faces one way would lose its sides, whatever the views do in training.

    Shapes: pixels (N, S, S, C) uint8.
    """
    made = recipe.encoder
    if not (recipe.views.flip and (made.flip_averaged or (made.mirrored and made.patches))):
        return recipe
    if accuracies(pixels, recipe.views, ("flip",)).get("flip", 0.0) < VISIBLE:
        return recipe
    sided = made.model_copy(update={"mirrored": False, "flip_averaged": False})
    return recipe.model_copy(update={"encoder": sided})


@cores.shared()
@torch.no_grad()
def accuracies(
    pixels: NDArray[np.uint8], views: Views, words: Collection[str] = MEASURED
) -> dict[str, float]:
    """By word, the accuracy of telling changed pictures from unchanged ones.

    Half of at most 1,000 pictures are changed as the views would, in this alone. A ridge
    classifier of `_features` learns which on half of all pictures and is tested on the others, and
    the reverse. Words that the views leave alone are left out, and all for fewer than 40 pictures.
    Colour of grey pictures counts as visible: views need not spend time on it.
    """
    rows = np.sort(np.random.default_rng(0).permutation(len(pixels))[:_PICTURES])
    pictures = torch.from_numpy(np.ascontiguousarray(pixels[rows]))
    words = [word for word in words if word in ignored(views)]
    if len(pictures) < _LEAST:
        return {}
    plain = _changed(pictures, views, "")
    filters = fit_patches(plain, _FILTERS, np.random.RandomState(0))
    unchanged = _features(plain, filters)
    shares = {}
    for word in words:
        if word == "colour" and _grey(plain):
            shares[word] = 1.0
            continue
        changed = _features(_changed(pictures, views, word), filters)
        shares[word] = _accuracy(unchanged, changed)
    return shares


def _changed(pictures: torch.Tensor, views: Views, word: str) -> NDArray[np.uint8]:
    """Pictures (N, 32, 32, C) uint8 in which nothing but the word's difference is made."""
    off: dict[str, object] = {}
    for other, fields in OFF.items():
        off |= fields if other != word else {}
    off |= {"crop_scale": (1.0, 1.0), "size": min(_SIDE, pictures.shape[1]), "blur_kernel": 3}
    if word == "flip":
        off["flip"] = 1.0
    channels = pictures.shape[3]
    augment = Augment(views.model_copy(update=off), (0.0,) * channels, (1.0,) * channels)
    generator = torch.Generator().manual_seed(0)
    parts = [augment(part, generator) for part in torch.split(pictures, 64)]
    made: NDArray[np.uint8] = (
        (torch.cat(parts).movedim(1, 3).clamp(0, 1) * 255).round().byte().contiguous().numpy()
    )
    return made


def _grey(pictures: NDArray[np.uint8]) -> bool:
    """Whether no more than a thousandth of the numbers is off grey by more than coding makes it."""
    values = pictures.astype(np.int16)
    return bool(((values.max(3) - values.min(3)) > 16).mean() < 1e-3)


def _features(pictures: NDArray[np.uint8], filters: PatchFilters) -> NDArray[np.float64]:
    """Features (N, F) to classify pictures by: patches, 8×8 pixels, colour and brightness."""
    scaled = torch.from_numpy(pictures).movedim(3, 1).float() / 255
    small = torch.nn.functional.adaptive_avg_pool2d(scaled, 8).flatten(1)
    level = scaled.mean(1).flatten(1)
    ends = torch.quantile(level, torch.tensor([0.01, 0.1, 0.5, 0.9, 0.99]), dim=1).T
    colours = (scaled.mean((2, 3)), scaled.std((2, 3)))
    brightness = (level.mean(1, keepdim=True), level.std(1, keepdim=True), ends)
    parts = [torch.from_numpy(patch_features(filters, pictures)), small, *colours, *brightness]
    found: NDArray[np.float64] = torch.cat(parts, 1).double().numpy()
    return found


def _accuracy(plain: NDArray[np.float64], changed: NDArray[np.float64]) -> float:
    """The two-fold accuracy of ridge regression on rows (N, F), every other one changed."""
    rows = np.arange(len(plain))
    truth = rows % 2 == 1
    features = np.where(truth[:, None], changed, plain)
    right = []
    for half in (0, 1):
        learn, test = rows // 2 % 2 == half, rows // 2 % 2 != half
        spread = features[learn].std(axis=0)
        scaled = (features - features[learn].mean(axis=0)) / np.where(spread > 1e-6, spread, np.inf)
        # Both brighter and darker pictures are far from the mean: a line needs the square to tell.
        few = scaled[:, -_BRIGHTNESS:]
        few = np.concatenate([few, few**2], axis=1) * np.sqrt(scaled.shape[1] / (2 * few.shape[1]))
        scaled = np.concatenate([scaled, few], axis=1)
        gram = scaled[learn] @ scaled[learn].T
        ridge = max(0.1 * np.trace(gram) / len(gram), 1e-9) * np.eye(len(gram))
        target = 2.0 * truth[learn] - 1
        weights = np.linalg.solve(gram + ridge, target - target.mean())
        right.append((scaled[test] @ (scaled[learn].T @ weights) > 0) == truth[test])
    return float(np.concatenate(right).mean())
