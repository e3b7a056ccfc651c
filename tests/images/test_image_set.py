from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicinal.errors import InputError
from vicinal.images.image_set import ImageSet, hold_out, limited


def image_set(labels: list[int] | None = None, count: int | None = None) -> ImageSet:
    n = len(labels) if labels is not None else count or 0
    return ImageSet(
        name="set",
        pixels=np.arange(n * 4, dtype=np.uint8).reshape(n, 2, 2, 1),
        ids=np.array([f"{i:03d}" for i in range(n)], dtype=np.str_),
        labels=None if labels is None else np.array(labels, dtype=np.int64),
        class_names=() if labels is None else tuple("abcde"),
    )


label_lists = st.lists(st.integers(0, 4), min_size=10, max_size=80)


@given(labels=label_lists, share=st.floats(0.2, 0.8), seed=st.integers(0, 99))
def test_hold_out_parts_the_set_and_takes_the_same_share_of_each_class(labels, share, seed):
    images = image_set(labels)
    splits = hold_out(images, share, seed)
    ids = [*splits.train.ids, *splits.test.ids]
    assert sorted(ids) == images.ids.tolist()
    assert len(splits.test) == round(share * len(images))
    for label in set(labels):
        expected = share * labels.count(label)
        held = int((splits.test.labels == label).sum())
        # Never more than one image off per class, plus the rounding of the whole.
        assert abs(held - expected) <= 1.5


@given(labels=label_lists, seed=st.integers(0, 99))
def test_held_out_images_keep_their_pixels_and_labels(labels, seed):
    images = image_set(labels)
    for part in (splits := hold_out(images, 0.3, seed)).train, splits.test:
        index = part.ids.astype(int)
        np.testing.assert_array_equal(part.pixels, images.pixels[index])
        np.testing.assert_array_equal(part.labels, images.labels[index])


def test_hold_out_depends_on_the_seed_alone():
    images = image_set(count=50)
    first, again, other = (hold_out(images, 0.4, seed).test.ids.tolist() for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize(("count", "share"), [(2, 0.2), (3, 0.95), (0, 0.5)])
def test_hold_out_refuses_an_empty_part(count, share):
    with pytest.raises(InputError, match="too few to hold out"):
        hold_out(image_set(count=count), share, 0)


@given(labels=label_lists, count=st.integers(2, 90), seed=st.integers(0, 99))
def test_limited_is_as_balanced_as_the_classes_allow(labels, count, seed):
    images = image_set(labels)
    part = limited(images, count, seed)
    assert len(part) == min(count, len(images))
    assert len(set(part.ids.tolist())) == len(part)
    taken = {label: int((part.labels == label).sum()) for label in set(labels)}
    unexhausted = [taken[label] for label in taken if taken[label] < labels.count(label)]
    # A class has fewer than another only if it has no more to give.
    for fewer in unexhausted:
        assert max(taken.values()) - fewer <= 1


def test_limited_depends_on_the_seed_alone():
    images = image_set(count=60)
    first, again, other = (limited(images, 20, seed).ids.tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_take_keeps_the_order_asked_for():
    part = image_set([0, 1, 2]).take(np.array([2, 0]))
    assert part.ids.tolist() == ["002", "000"]
    assert part.labels.tolist() == [2, 0]
    assert part.pixels[0, 0, 0, 0] == 8


def test_fingerprint_follows_pixels_ids_and_labels():
    images = image_set([0, 1, 2, 3])
    pixels = images.pixels.copy()
    pixels[3, 1, 1, 0] ^= 1
    changed = [
        replace(images, pixels=pixels),
        replace(images, ids=np.array(["000", "001", "002", "x"])),
        replace(images, labels=np.array([0, 1, 2, 4])),
        replace(images, labels=None),
        replace(images, class_names=tuple("abcdf")),
        images.take(np.array([0, 1, 2])),
    ]
    prints = {images.fingerprint, *(other.fingerprint for other in changed)}
    assert len(prints) == 1 + len(changed)
    assert replace(images, name="other").fingerprint == images.fingerprint
    assert len(images.fingerprint) == 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": np.zeros((3, 2, 2), np.uint8)}, r"\(N, H, W, 1 or 3\)"),
        ({"pixels": np.zeros((3, 2, 2, 4), np.uint8)}, r"\(N, H, W, 1 or 3\)"),
        ({"pixels": np.zeros((3, 2, 2, 1), np.float32)}, "must be uint8, found float32"),
        ({"ids": np.array(["a", "b"])}, "3 images but 2 ids"),
        ({"ids": np.array(["a", "b", "a"])}, "ids repeat"),
        ({"labels": np.array([0, 1])}, "3 images but 2 labels"),
        ({"labels": np.array([0, 1, 5])}, "labels run from 0 to 5 but there are 5 class names"),
        ({"labels": np.array([-2, 1, 2])}, "labels run from -2 to 2"),
    ],
)
def test_bad_shapes_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(image_set([0, 1, 2]), **change)
