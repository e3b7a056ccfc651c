"""VICReg as a scikit-learn transformer: pictures in, representations out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from vicinal.encoder.pretrained import form_of, with_start
from vicinal.encoder.saved import load_encoder, prepared_for, save_encoder
from vicinal.errors import InputError, StorageError
from vicinal.files import read_rows
from vicinal.images.arrays import checked_pixels, refuse_ones
from vicinal.images.decoding import Span
from vicinal.images.image_set import ImageSet
from vicinal.images.in_memory import Squares, shape_of_rows, squares
from vicinal.recipes import override, read_recipe
from vicinal.recipes.ignored_differences import ignoring
from vicinal.recipes.recipe import Recipe
from vicinal.representations.embed import embed
from vicinal.representations.spectral import checked_points
from vicinal.training.budget import check_minutes
from vicinal.training.device import Engine, open_engine
from vicinal.training.log import terms_in
from vicinal.training.recovery import DivergedError
from vicinal.training.train_encoder import TrainingData, data_of_arrays, train_encoder

Pixels = NDArray[np.uint8]


class VICReg(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]  # sklearn is untyped
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Learns representations of pictures without labels (Bardes, Ponce, LeCun, ICLR 2022).

    The training is that of `vicinal train`: `vicinal.pretrain` on two augmented views of each
    picture, every number from the recipe. The same pictures, settings and ``random_state`` on
    the same machine give the same encoder; the caller's own random state is left as it was.

    Pictures, wherever X stands, are any of

    - an array (N, H, W, C), C = 1 or 3, or 4 with alpha, or (N, H, W), of whole numbers
      from 0 to 255, or of booleans, of which True is white;
    - an `ImageSet`;
    - Pillow's images or arrays (H, W) or (H, W, C), of any sizes, in a list, a generator, an
      array of objects, a pandas or polars series or data frame, or a `datasets` column;
    - rows (N, F) of numbers, an array or a data frame, as other steps of a `Pipeline` take
      them: flat pictures (H, W, C) of the recipe's size S, so F = S² (grey) or 3·S².

    Pictures of another size or shape are squeezed into squares of the recipe's. Grey is kept
    if every fitted picture is grey; later pictures follow.

    Args:
        recipe: A shipped recipe's name, the path of a TOML file, or a `Recipe`.
        settings: Overrides of the recipe, each ``section.field=value``.
        epochs: Passes over the pictures; None for the recipe's.
        minutes: What the training may take, however fast the machine; None for all its epochs.
            It ends sooner where more is not worth its time, or after ``epochs`` if given. The
            encoder then depends on the clock.
        random_state: Seed of the weights, the order and the views: an integer, a numpy
            ``RandomState`` to draw one from, or None for another one each time.
        device: ``auto``, ``cpu`` or ``cuda``.
        verbose: Whether training shows its progress on standard error.
        ignore: Differences that should not count: of ``colour``, ``brightness``, ``flip``,
            ``scale``, ``blur`` and ``rotation``; None for those of the recipe.

    Attributes:
        encoder_: The trained network, pictures (B, C, S, S) to representations (B, F), on
            the CPU and in evaluation mode.
        preparation_: `Preparation`: size, channels, mean and standard deviation it takes.
        recipe_: The `Recipe` with settings, epochs and seed in it.
        losses_: A dict for each epoch: ``epoch``, the mean ``total``, and the objective's
            unweighted terms, VICReg's ``invariance``, ``variance`` and ``covariance``.
        n_features_in_: Numbers in a picture, S²·C.
    """

    def __init__(
        self,
        recipe: str | Recipe = "laptop",
        settings: Sequence[str] = (),
        epochs: int | None = None,
        minutes: float | None = None,
        random_state: int | np.random.RandomState | None = 0,
        device: str = "auto",
        verbose: bool = False,
        ignore: Sequence[str] | None = None,
    ) -> None:
        self.recipe = recipe
        self.settings = settings
        self.epochs = epochs
        self.minutes = minutes
        self.random_state = random_state
        self.device = device
        self.verbose = verbose
        self.ignore = ignore

    def fit(self, X: Any, y: object = None) -> Self:  # noqa: N803 (scikit-learn's name)
        """Trains an encoder on pictures, see above; ``y`` is ignored.

        Raises:
            InputError: If there are fewer than two pictures, they or a setting cannot be used,
                or the loss explodes or stops being
                finite.
        """
        check_minutes(self.minutes)
        recipe = self._resolved()
        size, interpolation = form_of(recipe)
        pixels, span = self._pixels(X, size, None, fitting=True, interpolation=interpolation)
        refuse_ones(pixels)
        data = data_of_arrays(recipe, pixels, span=span)
        engine = open_engine(self.device, recipe.training.precision)
        # Training seeds torch's global generators, which are the caller's.
        with (
            torch.random.fork_rng(enabled=True, devices=_cuda(engine.device)),
            tempfile.TemporaryDirectory() as folder,
        ):
            encoder = self._trained(data, recipe, Path(folder), engine)
            losses = _losses(Path(folder) / "losses.csv")
        self.encoder_: nn.Module = encoder.cpu()
        self.preparation_ = prepared_for(self.encoder_, data.preparation)
        self.recipe_ = recipe
        self.losses_ = losses
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Represents pictures, see above: array (N, D) float32, in their order.

        Raises:
            InputError: If there is no picture or they cannot be used.
        """
        check_is_fitted(self)
        made = self.preparation_
        pixels, _ = self._pixels(
            X,
            made.size,
            made.channels,
            fitting=False,
            whole=made.whole,
            interpolation=made.interpolation,
            span=made.span,
        )
        engine = open_engine(self.device, self.recipe_.training.precision)
        array = embed(
            self.encoder_,
            ImageSet("images", pixels, np.arange(len(pixels)).astype(np.str_)),
            made,
            device=engine.device,
            bf16=engine.precision == "bf16",
        ).array
        self.encoder_.cpu()  # a pickle of it then loads anywhere
        return array

    def save(self, path: str | Path) -> None:
        """Writes the encoder as a safetensors file, which `vicinal.load_encoder` reads.

        An encoder that lies there already is replaced.

        Raises:
            InputError: If something else lies there, or the folder is missing.
        """
        check_is_fitted(self)
        path = Path(path)
        if not path.parent.is_dir():
            raise InputError(f"{path}: no such folder {path.parent}; make it first")
        if path.exists():
            try:
                load_encoder(path)
            except InputError:
                raise InputError(
                    f"{path}: exists and is not an encoder of Vicinal's; name another file"
                ) from None
        save_encoder(
            self.encoder_, path, recipe=self.recipe_.encoder, preparation=self.preparation_
        )

    def _trained(
        self, data: TrainingData, recipe: Recipe, folder: Path, engine: Engine
    ) -> nn.Module:
        """Trains in a folder that the caller never sees, so that no message may name it."""
        try:
            return train_encoder(
                data,
                recipe,
                folder,
                engine,
                epochs=None if self.epochs is None else recipe.training.epochs,
                minutes=self.minutes,
                settings=self.settings,
                title="VICReg",
                quiet=not self.verbose,
            )
        except DivergedError as error:
            raise InputError(
                f"VICReg: {error.trouble}, also at half the learning rate; nothing was fitted; "
                f"lower training.learning_rate in settings (now {error.rate:g})"
            ) from None
        except StorageError as error:
            raise InputError(
                f"VICReg: the training's checkpoint could not be written ({error.reason}) in "
                f"{tempfile.gettempdir()}; make room there, or name another place by TMPDIR"
            ) from None

    def _resolved(self) -> Recipe:
        """The recipe with everything in it that was asked for."""
        recipe = read_recipe(self.recipe) if isinstance(self.recipe, str) else self.recipe
        if isinstance(self.settings, str):
            raise InputError(f"settings must be a list of settings: [{self.settings!r}]")
        seed = self.random_state
        if seed is None or isinstance(seed, np.random.RandomState):
            seed = int(check_random_state(seed).randint(2**31))
        changes = [*self.settings, f"seed={seed}"]
        changes += [] if self.epochs is None else [f"training.epochs={self.epochs}"]
        resolved = override(recipe, changes)
        if resolved.training.keep_epochs:
            raise InputError(
                "training.keep_epochs: an estimator keeps its last encoder alone; leave it out"
            )
        if isinstance(self.ignore, str):
            raise InputError(f"ignore must be a list of words: [{self.ignore!r}]")
        return with_start(resolved if self.ignore is None else ignoring(resolved, self.ignore))

    def _pixels(
        self,
        X: Any,  # noqa: N803
        size: int,
        channels: int | None,
        *,
        fitting: bool,
        whole: bool = True,
        interpolation: str,
        span: Span | None = None,
    ) -> Squares:
        """Pictures of any kind as (N, size, size, C) uint8."""
        found = squares(X, size, channels, whole=whole, interpolation=interpolation, span=span)
        if found is None:
            rows = checked_points(self, X, fitting=fitting, dtype="numeric")
            return Squares(self._of_rows(rows, size))
        pixels = found.pixels
        least = 2 if fitting else 1
        if len(pixels) < least:
            raise InputError(f"X: VICReg needs at least {least} images, found {len(pixels)}")
        if fitting:
            self.n_features_in_ = pixels[0].size
            if hasattr(self, "feature_names_in_"):
                del self.feature_names_in_  # of a data frame that was fitted before
        return found

    def _of_rows(self, rows: NDArray[Any], size: int) -> Pixels:
        """Flat pictures (N, F) as (N, size, size, C) uint8."""
        return checked_pixels(rows).reshape(len(rows), *shape_of_rows(rows.shape[1], size))

    @property
    def _n_features_out(self) -> int:  # scikit-learn names the columns by it
        return self.recipe_.encoder.numbers

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = []  # whole numbers in, float32 out
        return tags


def _losses(path: Path) -> list[dict[str, float]]:
    """The epochs' mean training terms."""
    return [
        {"epoch": int(row["epoch"]), **{name: float(row[name]) for name in terms_in(row)}}
        for row in read_rows(path)
        if row["split"] == "train"
    ]


def _cuda(device: str) -> list[int]:
    return [torch.cuda.current_device()] if device == "cuda" else []
