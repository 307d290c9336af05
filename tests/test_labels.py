"""Mask values to bits and back, for the three kinds of labels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError
from torch.testing import assert_close

from hidiff.labels import Labels

ONE = Labels(kind="one_class", classes={"vessel": (255,)})
EXCLUSIVE = Labels(kind="exclusive", classes={"grey": (2,), "white": (5, 3)})
REGIONS = Labels(kind="regions", classes={"whole": (1, 2, 4), "core": (1, 4), "enhancing": (4,)})


def masks(values):
    return arrays.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=values)


def test_planes_and_their_names():
    names = [labels.plane_names for labels in (ONE, EXCLUSIVE, REGIONS)]
    assert names == [
        ("vessel",),
        ("background", "grey", "white"),
        ("whole", "core", "enhancing"),
    ]
    assert [labels.num_planes for labels in (ONE, EXCLUSIVE, REGIONS)] == [1, 3, 3]
    for labels in (ONE, EXCLUSIVE, REGIONS):
        assert labels.plane_names[labels.class_planes] == labels.class_names


def test_the_prior_is_a_chance_of_each_plane_or_of_one_among_them():
    logits = torch.randn(2, 3, 4, 4)
    assert_close(EXCLUSIVE.activate(logits).sum(dim=1), torch.ones(2, 4, 4))
    assert_close(REGIONS.activate(logits), 1 / (1 + torch.exp(-logits)))
    # a softmax over one plane would always say 1
    assert_close(ONE.activate(logits[:, :1]), 1 / (1 + torch.exp(-logits[:, :1])))


# One class: 0/1, 0/255, 16 bits, JPEG


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ([0, 1], [0, 1]),
        ([0, 255], [0, 1]),
        ([0, 65535], [0, 1]),
        ([0, 0], [0, 0]),
        ([1, 1], [1, 1]),
        ([255, 255], [1, 1]),
    ],
)
def test_one_class_is_read_however_it_was_written(values, bits):
    mask = np.array([values], dtype=np.int32)
    assert ONE.encode(mask).tolist() == [[bits]]


@pytest.mark.parametrize(
    ("values", "bits"),
    [([0, 4, 120, 131, 250, 255], [0, 0, 0, 1, 1, 1]), ([0, 3, 249], [0, 0, 1])],
)
def test_noise_is_cut_away_in_lossy_files_and_refused_in_others(values, bits):
    mask = np.array([values], dtype=np.int32)
    assert ONE.encode(mask, lossy=True).tolist() == [[bits]]
    with pytest.raises(ValueError, match=r"labels\.ignore|labels\.threshold"):
        ONE.encode(mask)


def test_what_plainly_is_noise_around_black_and_white_is_cut_in_any_file():
    mask = np.array([[0] * 50 + [1, 2, 3, 5, 120] + [252, 253, 254, 251] + [255] * 20])
    assert ONE.encode(mask).tolist() == [[[0] * 55 + [1] * 24]]


# An ignore label


IGNORING = Labels(kind="one_class", classes={"lesion": (1,)}, ignore=255)


def test_one_value_or_several_are_ignored():
    assert IGNORING.ignore == (255,)
    assert Labels(kind="one_class", classes={"lesion": (1,)}, ignore=[-1, 255]).ignore == (-1, 255)
    with pytest.raises(ValidationError, match="ignore has 1, which means the background or a cl"):
        Labels(kind="one_class", classes={"lesion": (1,)}, ignore=1)


@pytest.mark.parametrize("kind", ["one_class", "exclusive", "regions"])
def test_ignored_pixels_have_no_class_and_do_not_count(kind):
    labels = Labels(kind=kind, classes={"lesion": (1,)}, ignore=(255, -1))
    mask = np.array([[0, 1, 255, -1]])
    planes = labels.encode(mask)[labels.class_planes]
    assert planes.tolist() == [[[0, 1, 0, 0]]]
    assert labels.counted(mask).tolist() == [[True, True, False, False]]
    with pytest.raises(ValueError, match=r"holds the values 2, but only .* declared"):
        labels.encode(np.array([[0, 1, 2, 255]]))


def test_an_undeclared_value_beside_a_declared_one_is_refused():
    """0, 1 and 255: neither may 1 become background, nor 255 or -1 the class, without a word."""
    for values, classes in [((0, 1, 255), (255,)), ((0, 1, 255), (1,)), ((-1, 0, 1), (1,))]:
        labels = Labels(kind="one_class", classes={"lesion": classes})
        with pytest.raises(ValueError, match=r"labels\.ignore"):
            labels.encode(np.array([values]))


@given(
    values=st.sets(st.integers(-5, 300), min_size=1, max_size=8),
    declared=st.sets(st.integers(1, 300), min_size=1, max_size=4),
    ignored=st.sets(st.integers(-5, 300), max_size=3),
    kind=st.sampled_from(["one_class", "exclusive", "regions"]),
)
def test_whatever_the_values_each_is_what_was_declared_or_refused(values, declared, ignored, kind):
    """With an ignore label nothing is guessed: a mask is read as declared, or not at all."""
    ignored -= {0, *declared}
    classes = {"a": tuple(declared)}
    labels = Labels(kind=kind, classes=classes, ignore=tuple(ignored))
    mask = np.array([sorted(values)])
    known = values <= {0, *declared, *ignored}
    try:
        plane = labels.encode_bool(mask)[labels.class_planes][0]
    except ValueError:
        assert not known
        return
    if known:
        assert plane.tolist() == np.isin(mask, list(declared)).tolist()
        assert labels.counted(mask).tolist() == (~np.isin(mask, list(ignored))).tolist()
    else:  # one class without an ignore label: 0/1, 0/255 and 0/65535 mean the same
        assert kind == "one_class" and not ignored
        assert values - {0} in ({1}, {255})


def test_a_declared_value_counts_whatever_its_size():
    labels = Labels(kind="one_class", classes={"liver": (1, 2)})
    assert labels.encode(np.array([[0, 1, 2]])).tolist() == [[[0, 1, 1]]]
    labels = Labels(kind="one_class", classes={"tumour": (2,)})
    assert labels.encode(np.array([[0, 2]])).tolist() == [[[0, 1]]]


def test_a_mask_that_is_neither_is_refused_not_emptied():
    with pytest.raises(ValueError, match=r"largest value is 7.*declared.*threshold"):
        ONE.encode(np.array([[0, 1, 7]]))
    with pytest.raises(ValueError, match="largest value is 300"):
        ONE.encode(np.array([[0, 300]]))


def test_a_threshold_is_taken_at_its_word():
    labels = Labels(kind="one_class", classes={"polyp": (255,)}, threshold=127)
    mask = np.array([[0, 1, 7, 127, 128, 255]])
    assert labels.encode(mask).tolist() == [[[0, 0, 0, 0, 1, 1]]]
    assert not labels.encode(np.array([[0, 1, 7]])).any()


# Several classes


def test_exclusive_bits_sum_to_one_and_regions_overlap():
    bits = EXCLUSIVE.encode(np.array([[0, 2, 3, 5]]))
    assert bits.tolist() == [[[1, 0, 0, 0]], [[0, 1, 0, 0]], [[0, 0, 1, 1]]]
    bits = REGIONS.encode(np.array([[0, 1, 2, 4]]))
    assert bits.tolist() == [[[0, 1, 1, 1]], [[0, 1, 0, 1]], [[0, 0, 0, 1]]]


@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS])
def test_an_undeclared_value_is_refused_by_its_number(labels):
    with pytest.raises(ValueError, match=r"values 7, 255, but only \[0, .*labels\.classes"):
        labels.encode(np.array([[0, 7, 255, 2]]))


def test_many_undeclared_values_are_counted_not_listed():
    with pytest.raises(ValueError, match=r"\.\.\. \(252 in all\)"):
        EXCLUSIVE.encode(np.arange(256)[None])


@given(mask=masks(st.sampled_from([0, 2, 3, 5])))
def test_exclusive_masks_come_back(mask):
    index = np.select([mask == 2, mask == 5, mask == 3], [1, 2, 2], 0)
    assert np.array_equal(EXCLUSIVE.decode(EXCLUSIVE.encode(mask)), index)


@given(mask=masks(st.sampled_from([0, 255])))
def test_one_class_masks_come_back(mask):
    assert np.array_equal(ONE.decode(ONE.encode(mask)), mask // 255)


@given(mask=masks(st.sampled_from([0, 1, 2, 4])))
def test_regions_come_back_plane_by_plane(mask):
    planes = REGIONS.decode(REGIONS.encode(mask))
    for plane, values in zip(planes, REGIONS.classes.values(), strict=True):
        assert np.array_equal(plane, np.isin(mask, values))


def test_decoding_probabilities_cuts_at_a_half_or_takes_the_likeliest():
    p = np.array([[[0.49, 0.5]], [[0.3, 0.1]], [[0.21, 0.4]]], dtype=np.float32)
    assert ONE.decode(p[:1]).tolist() == [[0, 1]]
    assert EXCLUSIVE.decode(p).tolist() == [[0, 0]]
    assert EXCLUSIVE.decode(p[::-1]).tolist() == [[2, 2]]
    assert REGIONS.decode(p).tolist() == [[[0, 1]], [[0, 0]], [[0, 0]]]


@pytest.mark.parametrize("labels", [ONE, EXCLUSIVE, REGIONS])
def test_class_masks_are_the_bits_of_the_classes(labels):
    mask = np.array([[0, *sorted(v for each in labels.classes.values() for v in each)]])
    bits = labels.encode(mask)
    masks_by_name = labels.class_masks(labels.decode(bits))
    assert tuple(masks_by_name) == labels.class_names
    for plane, found in zip(bits[labels.class_planes], masks_by_name.values(), strict=True):
        assert found.dtype == bool
        assert np.array_equal(found, plane > 0)


# What cannot be


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"kind": "one_class", "classes": {}}, "at least one class"),
        ({"kind": "one_class", "classes": {"a": (1,), "b": (2,)}}, "exactly 1"),
        ({"kind": "exclusive", "classes": {"background": (0,)}}, "background is implied"),
        ({"kind": "exclusive", "classes": {"a": (1,), "b": (1,)}}, "one class only"),
        ({"kind": "exclusive", "classes": {"a": (0,)}}, "which is the background"),
        ({"kind": "one_class", "classes": {"a": (0,)}}, "which is the background"),
        ({"kind": "regions", "classes": {"a": (0, 1)}}, "which is the background"),
        ({"kind": "regions", "classes": {"a": (1,), "mean": (2,)}}, "the mean over the classes"),
        ({"kind": "regions", "classes": {"a": (1,)}, "threshold": 3}, "one_class only"),
        ({"kind": "regions", "classes": {"a": ()}}, "a has no value"),
        ({"kind": "both", "classes": {"a": (1,)}}, "'one_class', 'exclusive' or 'regions'"),
    ],
)
def test_labels_that_contradict_themselves_are_refused(content, words):
    with pytest.raises(ValidationError, match=words):
        Labels(**content)
