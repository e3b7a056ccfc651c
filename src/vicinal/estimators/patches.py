"""Patch features as a scikit-learn transformer: pictures in, features out, nothing trained."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from vicinal.encoder.patches import LEAST_SIDE, PatchFilters, fit_patches, patch_features
from vicinal.errors import InputError
from vicinal.images.arrays import checked_pixels
from vicinal.images.decoding import Span
from vicinal.images.image_set import ImageSet
from vicinal.images.in_memory import Squares, squares
from vicinal.representations.spectral import checked_points

Pixels = NDArray[np.uint8]

_PCA_PICTURES = 10_000  # more make its axes no better and its memory larger


class PatchFeatures(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]  # sklearn is untyped
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Features of pictures without training: responses to random whitened patches of them.

    A baseline that any trained representation has to beat: Coates and Ng, The Importance of
    Encoding Versus Training, ICML 2011; Thiry et al., ICLR 2021. Patches of the fitted pictures
    are contrast-normalised and ZCA-whitened and serve as filters; responses of both signs are
    rectified and averaged over the quarters of the picture.

    Pictures, wherever X stands, are any that `VICReg` takes; rows of numbers are flat square
    pictures (S, S, C), C = 1 or 3.

    Args:
        n_filters: Patches that serve as filters; a picture gets 8 numbers for each.
        n_components: The features are PCA-whitened to so many numbers, at most one less than
            the fitted pictures; None leaves them as they are.
        size: Pictures of more pixels a side are scaled to this, 4 at least; smaller ones in an
            array stay as they are. A filter is 6/32 of the side wide, 3 pixels at least.
        random_state: Seed of the patches: an integer, a numpy ``RandomState``, or None for
            others each time.

    Attributes:
        filters_: `PatchFilters`, the network of one layer.
        pca_: What whitens the features, or None.
        shape_: (S, S, C) of the pictures as the filters see them.
        span_: The values of pictures of more than 8 bits that became 0 and 255; None without.
        n_features_in_: Numbers in a picture, S²·C; of rows, their length.
    """

    def __init__(
        self,
        n_filters: int = 256,
        n_components: int | None = None,
        size: int = 32,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_filters = n_filters
        self.n_components = n_components
        self.size = size
        self.random_state = random_state

    def fit(self, X: Any, y: object = None) -> Self:  # noqa: N803 (scikit-learn's name)
        """Draws patches of the pictures, see above; ``y`` is ignored.

        Raises:
            InputError: If a parameter is out of range, or the pictures cannot be used.
        """
        self._check_parameters()
        pixels, span = self._pixels(X, fitting=True)
        self.span_: Span | None = span
        rng = check_random_state(self.random_state)
        self.shape_ = pixels.shape[1:]
        self.filters_: PatchFilters = fit_patches(pixels, self.n_filters, rng)
        self._n_features_out = 8 * self.n_filters
        self.pca_: PCA | None = None
        if self.n_components is not None:
            kept = rng.permutation(len(pixels))[:_PCA_PICTURES]
            features = patch_features(self.filters_, pixels[np.sort(kept)])
            most = max(1, min(len(features) - 1, features.shape[1]))
            self.pca_ = PCA(min(self.n_components, most), whiten=True, random_state=0)
            self.pca_.fit(features)
            self._n_features_out = self.pca_.n_components_
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """The features of pictures, see above: array (N, D) float32, in their order.

        Raises:
            InputError: If there is no picture or they cannot be used.
        """
        check_is_fitted(self)
        features = patch_features(self.filters_, self._pixels(X, fitting=False).pixels)
        if self.pca_ is None:
            return features
        whitened: NDArray[np.float32] = self.pca_.transform(features).astype(np.float32)
        return whitened

    def _check_parameters(self) -> None:
        for name, least in (("n_filters", 1), ("n_components", 1), ("size", LEAST_SIDE)):
            value = getattr(self, name)
            if value is None and name == "n_components":
                continue
            if not isinstance(value, int | np.integer) or value < least:
                raise InputError(f"{name}={value!r} must be a whole number, {least} or more")

    def _pixels(self, X: Any, *, fitting: bool) -> Squares:  # noqa: N803
        """Pictures of any kind as (N, S, S, C) uint8."""
        found = self._squares(X, fitting)
        if found is None:
            rows = checked_points(self, X, fitting=fitting, dtype="numeric")
            found = self._squares(self._of_rows(rows), fitting)
            assert found is not None  # an array of pictures is one
            return found
        pixels = found.pixels
        if len(pixels) == 0:
            raise InputError("X: PatchFeatures needs at least 1 image, found 0")
        if pixels.shape[1] < LEAST_SIDE:
            raise InputError(
                f"images of {pixels.shape[1]} pixels a side are too small: {LEAST_SIDE} at least"
            )
        if fitting:
            self.n_features_in_ = pixels[0].size
            if hasattr(self, "feature_names_in_"):
                del self.feature_names_in_  # of a data frame that was fitted before
        return found

    def _squares(self, X: Any, fitting: bool) -> Squares | None:  # noqa: N803
        """Pictures as squares of the side and channels that the filters take, None for rows."""
        if fitting:
            return squares(X, _side(X, self.size), None)
        return squares(X, self.shape_[0], self.shape_[2], span=self.span_)

    def _of_rows(self, rows: NDArray[Any]) -> Pixels:
        """Flat pictures (N, F) as (N, S, S, C) uint8."""
        levels, features = checked_pixels(rows), rows.shape[1]
        for channels in (1, 3):
            side = math.isqrt(features // channels)
            if side >= LEAST_SIDE and channels * side * side == features:
                return levels.reshape(len(rows), side, side, channels)
        raise InputError(
            f"rows of {features} numbers are not square pictures, grey (S·S numbers) or in colour "
            f"(3·S·S) and {LEAST_SIDE} pixels a side at least; give an array (N, H, W, C)"
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = []  # whole numbers in, float32 out
        return tags


def _side(pictures: object, most: int) -> int:
    """The side that pictures are scaled to: their own, where it is less than ``most``."""
    if isinstance(pictures, ImageSet):
        pictures = pictures.pixels
    shape = getattr(pictures, "shape", ())
    return min(most, *shape[1:3]) if len(shape) in (3, 4) else most
