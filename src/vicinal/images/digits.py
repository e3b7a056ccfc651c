"""The embedded default: scikit-learn's handwritten digits and its two sample photographs."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vicinal.images.image_set import ImageSet, Splits, hold_out
from vicinal.images.picture_list import number_ids

_TEST_IMAGES = 500
_SPLIT_SEED = 0  # the split belongs to the data set, whatever the seed of a run


def load() -> Splits:
    """The 1,797 scanned 8×8 grey digits: 1,297 to train on and 500 to test, always the same.

    The scans' 0..16 become 0..255. An id is the digit's position in scikit-learn's set.
    """
    # Slow to import, and only these two need it.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    digits = ImageSet(
        name="digits",
        pixels=np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None],
        ids=number_ids(len(bunch.images)),
        labels=bunch.target.astype(np.int64),
        class_names=tuple("0123456789"),
    )
    return hold_out(digits, _TEST_IMAGES / len(digits), _SPLIT_SEED)


def load_patches(*, size: int, seed: int) -> ImageSet:
    """Grey patches of scikit-learn's photographs of a temple and a flower: 500, half of each.

    A patch's side in the photograph is drawn from ``size`` to 8 × ``size`` pixels (as far as the
    photograph reaches), evenly on the logarithm, and scaled to ``size``: texture, edges, sky.

    Args:
        size: Height and width of a patch, in pixels.
        seed: Seed of the draw.
    """
    from sklearn.datasets import load_sample_image

    # By name: `load_sample_images` has them in the order of the folder, each machine its own.
    photos = ("china", "flower")
    rng = np.random.default_rng(seed)
    patches = []
    for photo in photos:
        grey = Image.fromarray(load_sample_image(f"{photo}.jpg")).convert("L")
        for _ in range(_TEST_IMAGES // 2):
            widest = min(8 * size, *grey.size)
            side = round(np.exp(rng.uniform(np.log(min(size, widest)), np.log(widest))))
            left = int(rng.integers(grey.width - side + 1))
            top = int(rng.integers(grey.height - side + 1))
            box = (left, top, left + side, top + side)
            patches.append(np.asarray(grey.resize((size, size), Image.Resampling.BILINEAR, box)))
    return ImageSet(
        name="patches",
        pixels=np.stack(patches)[..., None],
        ids=number_ids(len(patches)),
        labels=np.repeat(np.arange(2, dtype=np.int64), _TEST_IMAGES // 2),
        class_names=photos,
    )
