"""What the study compares: four ways from pixels to representations.

    generated    S1  VICReg, two augmented views of an image
    no-variance  S4  the same without the variance term
    mined        S5  VICReg, an image and one of its nearest other images by S1
    spectral     S6  Laplacian Eigenmaps on raw pixels

and three baselines that say what the others are worth: ``untrained``, S1's encoder before
its first step, ``patches``, `PatchFeatures` of the training images, and ``pixels``, the
images as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vicinal import distributed
from vicinal.encoder.pretrained import initial_encoder, preparation_for
from vicinal.encoder.saved import Preparation, load_encoder, save_encoder
from vicinal.estimators.patches import PatchFeatures
from vicinal.files import write_json
from vicinal.images.image_set import ImageSet
from vicinal.objectives import without_spread
from vicinal.recipes.recipe import Recipe
from vicinal.representations.embed import embed
from vicinal.representations.index import neighbours_by
from vicinal.representations.representations import Representations
from vicinal.representations.spectral import LaplacianEigenmaps
from vicinal.runs.run_folder import RunFolder
from vicinal.study.data import Data
from vicinal.training.batches import ArrayBatches
from vicinal.training.device import Engine
from vicinal.training.fit_to_pictures import with_sides
from vicinal.training.start import stem_weights
from vicinal.training.train_encoder import (
    TrainingData,
    as_seen,
    data_of_arrays,
    kept_encoder,
    train_encoder,
)
from vicinal.views import MinedNeighbours


@dataclass(frozen=True, eq=False)
class Learners:
    """Trains and embeds, each learner in a folder of its own under the run's.

    Attributes:
        data: The images.
        recipe: Every number.
        run: The run folder.
        engine: Device and precision.
        log: Where else the losses go, one of `vicinal.training.log.LOGS`, or None.
        minutes: What each training may take; None for all its epochs.
        settings: The user's ``section.field=value``.
    """

    data: Data
    recipe: Recipe
    run: RunFolder
    engine: Engine
    log: str | None = None
    minutes: float | None = None
    settings: tuple[str, ...] = ()

    def generated(self) -> None:
        """S1: two augmented views of an image."""
        self._train("generated", self.recipe)

    def no_variance(self) -> None:
        """S4: S1 with nothing against collapse, of VICReg the variance term's weight at 0."""
        self._train("no-variance", without_variance(self.recipe))

    def objective(self, learner: str, name: str, *, without: bool) -> None:
        """Another objective on what S1 has, with its spread term or without, as ``learner``."""
        objective = self.recipe.objective.model_copy(update={"name": name})
        recipe = self.recipe.model_copy(update={"objective": objective})
        self._train(learner, without_variance(recipe) if without else recipe)

    def mined(self) -> None:
        """S5: an image and one of its nearest other images by S1's representations."""
        made, device = self._preparation(), self.engine.device
        sources = []
        for part, images in (("train", self.data.train), ("test", self.data.test)):

            def mine(part: str = part) -> NDArray[np.int64]:
                learned = read_learned(self.run, self.data, "generated", part)
                return mined_neighbours(learned, self.recipe, device)[0]

            found = torch.from_numpy(distributed.from_first(mine))
            pairs = MinedNeighbours(found, mean=made.mean, std=made.std)
            sources.append(ArrayBatches(images.pixels, pairs))
        data = TrainingData(sources[0], sources[1], made)
        recipe = self.recipe.model_copy(
            update={"training": self.recipe.training.model_copy(update={"keep_epochs": ()})}
        )
        self._train("mined", recipe, data, epochs=recipe.mined.epochs)

    def untrained(self) -> None:
        """S1's encoder before its first step."""
        torch.manual_seed(self.recipe.seed)
        train = self.data.train
        made, prepared = self.recipe.encoder, self._preparation()
        network = initial_encoder(made, channels=train.channels, size=train.size)
        stem = stem_weights(self.recipe, train.pixels, prepared.std)
        network.load_state_dict(network.state_dict() | stem)
        file = self._folder("untrained") / "encoder.safetensors"
        encoder = as_seen(network, with_sides(self.recipe, train.pixels))
        save_encoder(encoder, file, recipe=made, preparation=prepared)
        self._represent("untrained")

    def patches(self) -> None:
        """Responses to whitened patches of the training images; nothing is trained."""
        features = PatchFeatures(random_state=self.recipe.seed).fit(self.data.train)
        folder = self._folder("patches")
        for part, images in self.data.parts().items():
            array = features.transform(images)
            joined(array, images).save(folder / f"representations-{part}.parquet")

    def spectral(self) -> None:
        """S6: Laplacian Eigenmaps on raw pixels; test images come in by Nyström's extension."""
        settings = self.recipe.spectral
        eigenmaps = LaplacianEigenmaps(
            # Beyond about half of them eigenvalues are negative, and such axes do not extend.
            n_components=min(settings.dimension, max(1, len(self.data.train) // 4)),
            n_neighbors=settings.neighbours,
            weights=settings.weights,
            random_state=self.recipe.seed,
            neighbors=settings.search,
        )
        points = flat_pixels(self.data.train)
        train = eigenmaps.fit_transform(points)
        if 0 < eigenmaps.n_extending_ < eigenmaps.n_components:  # of few images
            eigenmaps.set_params(n_components=eigenmaps.n_extending_)
            train = eigenmaps.fit_transform(points)
        test = eigenmaps.transform(flat_pixels(self.data.test))
        folder = self._folder("spectral")
        write_json(folder / "search.json", {"recall": eigenmaps.recall_})
        for name, array, images in (
            ("train", train, self.data.train),
            ("test", test, self.data.test),
        ):
            joined(array, images).save(folder / f"representations-{name}.parquet")

    def files(self, learner: str) -> list[Path]:
        """What must be there for a learner to be finished."""
        parts = self.data.parts()
        names = ["losses.csv"] if is_trained(learner) else []
        if learner != "patches":
            names += ["search.json"] if learner == "spectral" else ["encoder.safetensors"]
        names += [
            f"representations-{part}.parquet"
            for part in parts
            if learner != "spectral" or part != "anomalies"
        ]
        # Minutes may end before some of these epochs do.
        if learner in ("generated", "no-variance") and self.minutes is None:
            training = trained_as(self.recipe, learner).training
            names += [kept_encoder(Path(), n).name for n in training.keep_epochs]
        return [self.run / learner / name for name in names]

    def _train(
        self,
        learner: str,
        recipe: Recipe,
        data: TrainingData | None = None,
        *,
        epochs: int | None = None,
    ) -> None:
        train, test = self.data.train, self.data.test
        # What is compared are networks: patches are a learner of their own.
        alone = recipe.encoder.model_copy(update={"patches": 0})
        recipe = recipe.model_copy(update={"encoder": alone})
        train_encoder(
            data or data_of_arrays(recipe, train.pixels, test.pixels, span=train.span),
            recipe,
            self._folder(learner),
            self.engine,
            epochs=epochs,
            minutes=self.minutes,
            settings=self.settings,
            log=self.log,
            title=learner,
        )
        if distributed.is_first():
            self._represent(learner)

    def _represent(self, learner: str) -> None:
        """Writes a learner's representations, by its encoder as read back from its file."""
        folder = self._folder(learner)
        loaded, preparation = load_encoder(folder / "encoder.safetensors")
        bf16 = self.engine.precision == "bf16"
        for part, images in self.data.parts().items():
            found = embed(loaded, images, preparation, device=self.engine.device, bf16=bf16)
            found.save(folder / f"representations-{part}.parquet")

    def _folder(self, learner: str) -> Path:
        folder = self.run / learner
        folder.mkdir(exist_ok=True)
        return folder

    def _preparation(self) -> Preparation:
        train = self.data.train
        return preparation_for(train.pixels, self.recipe.encoder, train.span)


LEARNERS: dict[str, Callable[[Learners], None]] = {
    "untrained": Learners.untrained,
    "patches": Learners.patches,
    "generated": Learners.generated,
    "no-variance": Learners.no_variance,
    "mined": Learners.mined,
    "spectral": Learners.spectral,
}


def is_trained(learner: str) -> bool:
    """Whether a learner is a training, in which all ranks take part."""
    return learner in ("generated", "no-variance", "mined") or "objective-" in learner


def read_learned(run: RunFolder, data: Data, learner: str, part: str) -> Representations:
    """What ``learner`` made of ``train``, ``test`` or ``anomalies``; ``pixels`` are as they are."""
    if learner == "pixels":
        images = data.parts()[part]
        return joined(flat_pixels(images), images)
    return Representations.load(run / learner / f"representations-{part}.parquet")


def mined_neighbours(
    representations: Representations, recipe: Recipe, device: str = "cpu"
) -> tuple[NDArray[np.int64], float]:
    """Positions (N, k) of each image's k nearest other images, and the search's recall."""
    array, mined = representations.array, recipe.mined
    found, recall = neighbours_by(
        mined.search, array, array, mined.neighbours, exclude_self=True, device=device
    )
    return found.indices, recall


def flat_pixels(images: ImageSet) -> NDArray[np.float32]:
    """Images as rows (N, H·W·C) of numbers between 0 and 1."""
    return images.pixels.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def without_variance(recipe: Recipe) -> Recipe:
    """The recipe with nothing against collapse, for as many epochs as it has for that."""
    epochs = recipe.no_variance.epochs or recipe.training.epochs
    kept = tuple(n for n in recipe.training.keep_epochs if n <= epochs)
    training = recipe.training.model_copy(update={"epochs": epochs, "keep_epochs": kept})
    objective = without_spread(recipe.objective)
    return recipe.model_copy(update={"objective": objective, "training": training})


def trained_as(recipe: Recipe, learner: str) -> Recipe:
    """What S1's or S4's encoder is trained by."""
    return without_variance(recipe) if learner == "no-variance" else recipe


def joined(array: NDArray[np.float32], images: ImageSet) -> Representations:
    """Rows (N, F) with the ids and labels of their images."""
    return Representations(array, images.ids, images.labels, images.class_names)
