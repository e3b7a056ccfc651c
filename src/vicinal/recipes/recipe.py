"""Recipe: every number of a run, one frozen model.

A recipe is data: ``vicinal.recipes`` reads it from TOML files and writes it there.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of a recipe: frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Views(Section):
    """How an image becomes a view; the probabilities are per image."""

    size: Annotated[int, Field(ge=4, le=1024)] = 32
    """Height and width of images and views, in pixels."""
    crop_scale: tuple[Share, Share] = (0.2, 1.0)
    """Least and greatest share of the area that a random crop keeps."""
    crop_ratio: tuple[Weight, Weight] = (0.75, 4 / 3)
    """Least and greatest width : height of a random crop."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Greatest angle of a random rotation, in degrees; 0 turns it off."""
    flip: Share = 0.5
    """Probability of a horizontal flip."""
    jitter: Share = 1.0
    """Probability of colour jitter."""
    brightness: Weight = 0.4
    """Brightness is multiplied by 1 ± this much."""
    contrast: Weight = 0.4
    """Contrast is multiplied by 1 ± this much."""
    saturation: Weight = 0.2
    """Saturation is multiplied by 1 ± this much."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Hue is turned by ± this share of the colour circle."""
    grey: Share = 0.2
    """Probability of turning grey."""
    blur: Share = 0.5
    """Probability of a Gaussian blur."""
    blur_kernel: Annotated[int, Field(ge=3)] = 3
    """Side of the blur's kernel in pixels, an odd number."""
    blur_sigma: tuple[Weight, Weight] = (0.1, 2.0)
    """Least and greatest standard deviation of the blur, in pixels."""
    solarise: Share = 0.0
    """Probability of solarisation: pixels as bright as the threshold are inverted."""
    solarise_threshold: Share = 0.5
    """Brightness, where white is 1, from which solarisation inverts."""


OURS = ("resnet18", "resnet18_pooled", "small", "plain")


def _backbone(name: str) -> str:
    """Accepts our own networks and ``timm:NAME``; whether timm has it is seen when it is built."""
    # No colon or slash in timm's names: with one, timm would read weights from the net or a folder.
    if name in OURS or re.fullmatch(r"timm:\w[\w.-]*", name, re.ASCII):
        return name
    listed = ", ".join(repr(one) for one in OURS[:-1]) + f" or {OURS[-1]!r}"
    raise ValueError(f"should be {listed}, or 'timm:' and a model's name")


def _start(text: str) -> str:
    """Accepts nothing, ``pretrained``, ``timm:NAME`` and ``timm:NAME@FILE``."""
    if text in ("", "pretrained") or re.fullmatch(r"timm:\w[\w.-]*(@.+)?", text, re.ASCII):
        return text
    raise ValueError(
        "should be 'pretrained', 'timm:NAME' (weights from the hub) or 'timm:NAME@FILE'"
    )


KEPT = 256
"""Numbers of each block, trained and patches, where they are joined."""


class Encoder(Section):
    """Images to representations."""

    backbone: Annotated[str, AfterValidator(_backbone)] = "resnet18"
    """Which network, see ``vicinal.encoder.BACKBONES``, or ``timm:NAME`` for one of timm's."""
    widths: Annotated[tuple[Count, ...], Field(min_length=1)] = (64, 128, 256, 512)
    """Channels of each stage; a network of timm has its own, and these are not read."""
    dimension: Count = 128
    """Dimensions of a representation, of the trained network's where patches join it."""
    patch_stem: bool = False
    """Whether the first layer's filters are whitened patches of the images to begin with, not
    drawn: where the images are in memory, its squares have at most 16 pixels a side, and nothing
    else gives it weights."""
    patches: Annotated[int, Field(ge=0)] = 0
    """Filters, whitened patches of the images, whose responses join the trained network's numbers
    when the training has ended; 0 for none. The representation has 2 · 256 dimensions then."""
    coarse_patches: bool = False
    """Whether as many filters for the images at half their size join too, where patches join and
    that size is large enough for quarters."""
    mirrored: bool = True
    """Whether, where patches join, an image counts as its mirror image does: their mean is taken,
    if views flip and mirrored images look like the others; of a network with a start, which takes
    long, the image alone counts."""
    flip_averaged: bool = False
    """Whether the same holds of a network without patches."""
    start: Annotated[str, AfterValidator(_start)] = ""
    """Weights to go on from, ``pretrained``, ``timm:NAME`` or ``timm:NAME@FILE``; theirs are the
    backbone and the dimension then."""

    @property
    def numbers(self) -> int:
        """Dimensions of the representation that the encoder ends with."""
        return 2 * KEPT if self.patches else self.dimension


class Projector(Section):
    """Representations to embeddings, during training only."""

    widths: Annotated[tuple[Count, ...], Field(min_length=1)] = (512, 512, 512)
    """Output widths of its linear layers."""


class Alternative(Section):
    """What every objective but VICReg has."""

    learning_rate_factor: Annotated[float, Field(gt=0)] = 1.0
    """Its highest learning rate, as a multiple of training.learning_rate."""


class Barlow(Alternative):
    """Barlow Twins', see ``vicinal.objectives.barlow``."""

    redundancy: Weight = 0.0051
    """λ: weight of the redundancy term; 0 lets all dimensions become one."""


class SIGReg(Alternative):
    """SIGReg's, see ``vicinal.objectives.sigreg``."""

    weight: Weight = 0.05
    """λ: weight of the normality term; 0 lets the representation collapse."""
    slices: Count = 256
    """Random directions of each step."""
    convention: Literal["lejepa", "eb_jepa", "stable_pretraining"] = "lejepa"
    """Whose loss λ is for."""


class VISReg(Alternative):
    """VISReg's, see ``vicinal.objectives.visreg``."""

    weight: Share = 0.6
    """λ: weight of centre, scale and shape; 0 lets the representation collapse."""
    slices: Count = 256
    """Random directions of each step."""


class NTXent(Alternative):
    """NT-Xent's, see ``vicinal.objectives.ntxent``."""

    temperature: Annotated[float, Field(gt=0)] = 0.2
    """τ; 0.1 where it is decoupled."""
    uniformity: Weight = 1.0
    """Weight of the uniformity term; 0 lets the representation collapse."""
    decoupled: bool = False
    """Whether the positive is left out of the denominator, as in DCL."""


class TCR(Alternative):
    """Total coding rate's, see ``vicinal.objectives.tcr``."""

    rate: Weight = 1.0
    """Weight of the coding rate; 0 lets the representation collapse."""
    alignment: Weight = 200.0
    """Weight of the cosine to the mean of the views."""
    distortion: Annotated[float, Field(gt=0)] = 0.2
    """ε²: the squared error up to which the rate codes a row."""


class Objective(Section):
    """What is minimised: which objective, and the numbers of each; VICReg's have no section."""

    name: Literal["vicreg", "barlow", "sigreg", "visreg", "ntxent", "tcr"] = "vicreg"
    """Which objective, see ``vicinal.objectives.OBJECTIVES``; of the others nothing is read."""
    invariance: Weight = 25.0
    """Weight of the invariance term."""
    variance: Weight = 25.0
    """Weight of the variance term; 0 lets the representation collapse."""
    covariance: Weight = 1.0
    """Weight of the covariance term."""
    target_std: Annotated[float, Field(gt=0)] = 1.0
    """γ: the standard deviation below which the variance term pulls."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-4
    """ε: added to variances before the square root."""
    convention: Literal["study", "paper", "solo", "eb_jepa"] = "study"
    """Whose denominators the terms have."""
    barlow: Barlow = Barlow()
    sigreg: SIGReg = SIGReg()
    visreg: VISReg = VISReg()
    ntxent: NTXent = NTXent()
    tcr: TCR = TCR()


class Training(Section):
    """How the encoder is trained."""

    epochs: Count = 30
    """Passes over the training set."""
    batch_size: Annotated[int, Field(ge=2)] = 256
    """Images a step, on all ranks together; each gives two views."""
    statistics: Literal["global", "per-rank"] = "global"
    """On several ranks: the objective of the whole batch, or the mean of each rank's own."""
    optimizer: Literal["adam", "adamw", "lars"] = "adam"
    """Adam (weight decay joins the gradient), AdamW (decoupled) or LARS, for large batches."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    """Highest learning rate."""
    encoder_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The encoder's learning rate as a share of the projector's; small where it has a start."""
    batchnorm: Literal["batch", "held"] = "batch"
    """Statistics in the encoder's BatchNorm: each batch's, or held, as its start has them."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Adam's decay rates."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of LARS."""
    trust: Annotated[float, Field(gt=0)] = 0.02
    """LARS's η: a layer's step, as a share of its weights' norm, at a learning rate of 1."""
    trust_clip: bool = True
    """Whether LARS lets no layer take a larger step than plain SGD would."""
    weight_decay: Weight = 1e-6
    """Weight decay."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate after the warm-up: constant, or a half cosine to 0."""
    warmup_epochs: Weight = 0.0
    """Epochs over which the learning rate rises linearly from 0."""
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """Arithmetic of the networks; auto is bf16 where the processor has it natively."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether networks go through torch.compile, and a step is a CUDA graph; auto: on CUDA."""
    checkpoint_steps: Annotated[int, Field(ge=0)] = 0
    """Steps between two checkpoints within an epoch; 0 for one after every epoch alone."""
    keep_epochs: tuple[Count, ...] = ()
    """Epochs after which the encoder as it then is stays beside the last, in a file of its own."""
    buffer: Count = 10_000
    """Streamed images that wait in each rank's memory to be shuffled, at most."""
    test_images: Count = 10_000
    """At most so many test images (a seeded draw) give the test curves."""


class NoVariance(Section):
    """Learner S4: S1 without the variance term, or what keeps another objective's spread."""

    epochs: Annotated[int, Field(ge=0)] = 0
    """Passes over the training set, at most training.epochs; 0 for as many as those."""


class Mined(Section):
    """Learner S5: pairs of an image and one of its nearest other images."""

    neighbours: Count = 3
    """How many nearest other images there are to draw from."""
    epochs: Count = 1
    """Passes over the training set."""
    search: Literal["exact", "hnsw"] = "exact"
    """How neighbours are searched: hnsw (needs faiss) is approximate, for very large sets."""


class Spectral(Section):
    """Learner S6: Laplacian Eigenmaps on raw pixels."""

    dimension: Count = 128
    """Dimensions of its representation, at most a quarter of the number of training images."""
    neighbours: Count = 15
    """Neighbours of each image in the graph."""
    weights: Literal["connectivity", "heat"] = "connectivity"
    """Edge weights: 1, or the heat kernel of the distance."""
    search: Literal["exact", "hnsw"] = "exact"
    """How neighbours are searched: hnsw (needs faiss) is approximate, for very large sets."""


class Evaluation(Section):
    """How representations are measured."""

    probe_holdout: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training set on which a probe's settings are chosen."""
    short_epochs: Count = 10
    """Epochs of the short probe."""
    short_learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    """Adam's learning rate in the short probe."""
    short_batch_size: Count = 256
    """Batch size of the short probe."""
    few_labels: Count = 5
    """Labels a class in the few-label probe."""
    knn: tuple[Count, ...] = (20, 200)
    """Neighbours that vote in the k-NN probe, each reported."""
    knn_temperature: Annotated[float, Field(gt=0)] = 0.07
    """Temperature of the k-NN probe's votes."""
    perplexity: Annotated[float, Field(gt=1)] = 30.0
    """Perplexity of t-SNE."""
    map_neighbours: Count = 10
    """Neighbours on a map whose classes are compared."""
    map_images: Count = 10_000
    """At most so many images (a seeded draw) on a map."""
    retrieved: Count = 5
    """Nearest and farthest images shown and scored for a query."""
    anomaly_neighbours: Count = 2
    """k: an anomaly score is the mean distance to so many nearest training images."""
    most_anomalous: Count = 7
    """How many of the most anomalous images are shown."""
    bootstrap: Count = 1_000
    """Resamples behind a confidence interval."""
    clusters: Count = 10
    """k of k-means."""
    silhouette_sample: Annotated[int, Field(ge=0)] = 0
    """Images, a seeded draw, whose silhouettes are averaged; 0 for all of them, O(N²)."""


class Recipe(Section):
    """Every number of a run.

    The defaults are the study's own recipe (``recipes/seed.toml`` spells them out).
    """

    name: str = "seed"
    """What the recipe is called."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of everything drawn at random."""
    views: Views = Views()
    encoder: Encoder = Encoder()
    projector: Projector = Projector()
    objective: Objective = Objective()
    training: Training = Training()
    no_variance: NoVariance = NoVariance()
    mined: Mined = Mined()
    spectral: Spectral = Spectral()
    evaluation: Evaluation = Evaluation()
