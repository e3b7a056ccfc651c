import numpy as np
from sklearn.datasets import load_digits

from vicinal.images import named_sets


def test_digits_are_all_there_each_in_one_part():
    splits = named_sets.load_digits()
    assert (len(splits.train), len(splits.test)) == (1297, 500)
    whole = load_digits()
    for part in (splits.train, splits.test):
        assert part.pixels.shape[1:] == (8, 8, 1)
        assert part.class_names == tuple("0123456789")
        index = part.ids.astype(int)
        np.testing.assert_array_equal(part.labels, whole.target[index])
        np.testing.assert_allclose(part.pixels[..., 0] * (16 / 255), whole.images[index], atol=0.04)
    assert not set(splits.train.ids.tolist()) & set(splits.test.ids.tolist())


def test_full_scale_is_used():
    pixels = named_sets.load_digits().train.pixels
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_the_test_part_has_every_class_alike_and_never_changes():
    first, again = named_sets.load_digits().test, named_sets.load_digits().test
    assert first.ids.tolist() == again.ids.tolist()
    counts = np.bincount(first.labels, minlength=10)
    assert counts.min() >= 48
    assert counts.max() <= 52


def test_patches_are_real_texture_from_both_photographs():
    patches = named_sets.load_patches(size=8, seed=0)
    assert patches.pixels.shape == (500, 8, 8, 1)
    assert patches.class_names == ("china", "flower")
    assert np.bincount(patches.labels).tolist() == [250, 250]
    assert len(np.unique(patches.pixels.reshape(500, -1), axis=0)) > 490
    contrast = patches.pixels.reshape(500, -1).std(axis=1)
    assert (contrast < 5).any()  # sky
    assert (contrast > 40).any()  # edges


def test_patches_follow_the_seed_and_the_size():
    first, again, other = (named_sets.load_patches(size=8, seed=seed).pixels for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert named_sets.load_patches(size=96, seed=0).pixels.shape == (500, 96, 96, 1)
