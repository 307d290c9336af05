import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
    compute_surface_dice,
    get_confusion_matrix,
)
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from hidiff.metrics import METRICS, case_metrics, distance_unit

SHAPE = (7, 9)
masks = arrays(bool, SHAPE)


PERFECT = dict.fromkeys(METRICS, 1.0) | {"hd95": 0.0, "assd": 0.0}
NEIGHBOURS = {2: [(0, 1), (0, -1), (1, 0), (-1, 0)]}
NEIGHBOURS[3] = [(0, *step) for step in NEIGHBOURS[2]] + [(1, 0, 0), (-1, 0, 0)]


def surface(mask):
    """Pixels with one of 4 (6) neighbours outside the mask, found pixel by pixel."""
    inside = {tuple(place) for place in np.argwhere(mask).tolist()}
    steps = NEIGHBOURS[mask.ndim]
    return [
        p
        for p in inside
        if any(tuple(map(sum, zip(p, s, strict=True))) not in inside for s in steps)
    ]


def brute_force(predicted, truth, inside, spacing, tolerance):
    """The definitions, written with sets and every pair of surface pixels."""
    a = {tuple(p) for p in np.argwhere(predicted & inside)}
    b = {tuple(p) for p in np.argwhere(truth & inside)}
    both, either = len(a & b), len(a | b)
    if not either:
        return PERFECT
    if not a or not b:
        diagonal = sum((n * side) ** 2 for n, side in zip(truth.shape, spacing, strict=True)) ** 0.5
        return dict.fromkeys(METRICS, 0.0) | {"hd95": diagonal, "assd": diagonal}
    edges, others = surface(predicted & inside), surface(truth & inside)
    pairs = cdist(np.multiply(edges, spacing), np.multiply(others, spacing))
    there, back = pairs.min(axis=1), pairs.min(axis=0)
    near = (there <= tolerance + 1e-6).sum() + (back <= tolerance + 1e-6).sum()
    return {
        "dice": 2 * both / (len(a) + len(b)),
        "iou": both / either,
        "sensitivity": both / len(b),
        "precision": both / len(a),
        "hd95": max(np.percentile(there, 95), np.percentile(back, 95)),
        "assd": (there.sum() + back.sum()) / (len(edges) + len(others)),
        "surface_dice": near / (len(edges) + len(others)),
    }


@given(masks, masks, masks, st.sampled_from([None, (1.0, 1.0), (0.5, 2.0)]))
def test_every_metric_equals_brute_force(predicted, truth, inside, spacing):
    inside[0, 0] = True
    # No distance on this grid is near the tolerance, so that rounding decides nothing.
    ours = case_metrics(predicted, truth, inside=inside, spacing=spacing, tolerance=1.2)
    oracle = brute_force(predicted, truth, inside, spacing or (1.0, 1.0), 1.2)
    assert ours == pytest.approx(oracle, rel=1e-6)
    assert list(ours) == list(METRICS)


@given(masks, masks)
def test_every_metric_equals_monai_where_neither_mask_is_empty(predicted, truth):
    predicted[1, 2] = truth[5, 3] = True
    p, y = (torch.from_numpy(m.astype(np.float32))[None, None] for m in (predicted, truth))
    ours = case_metrics(predicted, truth, tolerance=1.0)
    tp, fp, _, fn = get_confusion_matrix(p, y)[0, 0].tolist()
    theirs = {
        "dice": compute_dice(p, y).item(),
        "iou": compute_iou(p, y).item(),
        "sensitivity": tp / (tp + fn),
        "precision": tp / (tp + fp),
        "hd95": compute_hausdorff_distance(p, y, include_background=True, percentile=95).item(),
        "assd": compute_average_surface_distance(
            p, y, include_background=True, symmetric=True
        ).item(),
        "surface_dice": compute_surface_dice(p, y, [1.0], include_background=True).item(),
    }
    assert ours == pytest.approx(theirs, rel=1e-4)  # theirs is in float32


@given(masks, masks)
def test_swapping_the_masks_swaps_sensitivity_and_precision_only(a, b):
    one, other = case_metrics(a, b), case_metrics(b, a)
    other["sensitivity"], other["precision"] = other["precision"], other["sensitivity"]
    if not a.any() or not b.any():
        assert one == other  # the empty-mask rule is symmetric
    assert one == pytest.approx(other)


@given(masks)
def test_a_mask_agrees_with_itself_perfectly(mask):
    assert case_metrics(mask, mask) == PERFECT


@given(masks, masks, masks)
def test_pixels_outside_the_field_of_view_change_nothing(predicted, truth, inside):
    inside[3, 3] = True
    ours = case_metrics(predicted, truth, inside=inside)
    assert ours == case_metrics(predicted | ~inside, truth & inside, inside=inside)


@given(masks, masks, masks)
def test_inputs_are_not_modified(predicted, truth, inside):
    inside[0, 0] = True
    before = predicted.copy(), truth.copy(), inside.copy()
    for array in (predicted, truth, inside):
        array.flags.writeable = False
    case_metrics(predicted, truth, inside=inside)
    assert all(map(np.array_equal, before, (predicted, truth, inside)))


@pytest.mark.parametrize("spacing, diagonal", [(None, 5.0), ((2.0, 0.5), np.hypot(6, 2))])
def test_an_empty_mask_is_perfect_or_worst_and_never_dropped(spacing, diagonal):
    empty, full = np.zeros((3, 4), bool), np.ones((3, 4), bool)
    worst = dict.fromkeys(METRICS, 0.0) | {"hd95": diagonal, "assd": diagonal}
    assert case_metrics(empty, empty, spacing=spacing) == PERFECT
    assert case_metrics(full, empty, spacing=spacing) == pytest.approx(worst)
    assert case_metrics(empty, full, spacing=spacing) == pytest.approx(worst)


def test_the_worst_distance_is_beyond_any_that_masks_can_have():
    corner, opposite = np.zeros((2, 5, 8), bool)
    corner[0, 0] = opposite[-1, -1] = True
    missed = case_metrics(np.zeros((5, 8), bool), opposite)["hd95"]
    farthest = case_metrics(corner, opposite)["hd95"]
    assert farthest == pytest.approx(np.hypot(4, 7))
    assert farthest < missed


def test_two_single_pixels_are_apart_by_their_distance_in_mm():
    a, b = np.zeros((2, 9, 9), bool)
    a[1, 1] = b[4, 5] = True
    assert case_metrics(a, b)["hd95"] == pytest.approx(5.0)
    metrics = case_metrics(a, b, spacing=(2.0, 0.5), tolerance=6.4)
    assert metrics["hd95"] == pytest.approx(np.hypot(6, 2))
    assert (metrics["dice"], metrics["surface_dice"]) == (0.0, 1.0)


def test_a_shift_by_one_pixel_is_a_distance_of_one():
    square = np.zeros((12, 12), bool)
    square[3:8, 3:8] = True
    metrics = case_metrics(np.roll(square, 1, axis=1), square, tolerance=1.0)
    assert (metrics["dice"], metrics["hd95"], metrics["surface_dice"]) == (0.8, 1.0, 1.0)
    inner = surface(square)
    assert len(inner) == (square & ~binary_erosion(square)).sum() == 16


def test_a_plane_one_slice_away_is_one_slice_thickness_away():
    volume = np.zeros((2, 6, 5, 5), bool)
    volume[0, 1] = volume[1, 2] = True
    assert case_metrics(*volume)["assd"] == 1.0
    metrics = case_metrics(*volume, spacing=(5.0, 0.7, 0.7), tolerance=5.0)
    assert (metrics["hd95"], metrics["surface_dice"]) == (5.0, 1.0)
    assert case_metrics(*volume, spacing=(5.0, 0.7, 0.7), tolerance=4.9)["surface_dice"] == 0


def test_a_volume_in_mm_has_its_distance_in_voxels_too():
    volume = np.zeros((2, 6, 5, 5), bool)
    volume[0, 1] = volume[1, 3] = True
    in_mm = case_metrics(*volume, spacing=(5.0, 0.7, 0.7))
    assert (in_mm["hd95"], in_mm["hd95_voxels"]) == (10.0, 2.0)
    missed = case_metrics(volume[0], np.zeros_like(volume[0]), spacing=(5.0, 0.7, 0.7))
    assert missed["hd95_voxels"] == pytest.approx(np.linalg.norm((6, 5, 5)))
    nothing = case_metrics(*np.zeros_like(volume), spacing=(5.0, 0.7, 0.7))
    assert nothing["hd95_voxels"] == 0
    assert "hd95_voxels" not in case_metrics(*volume)
    assert "hd95_voxels" not in case_metrics(*volume[:, 1], spacing=(0.7, 0.7))


def test_rounding_does_not_decide_what_is_within_the_tolerance():
    a, b = np.zeros((2, 9, 9), bool)
    for column in range(8):
        a[:], b[:] = False, False
        a[1, column] = b[1, column + 1] = True
        # 0.3 * 3 - 0.3 * 2 is 0.30000000000000004
        assert case_metrics(a, b, spacing=(0.3, 0.3), tolerance=0.3)["surface_dice"] == 1.0


@pytest.mark.parametrize(
    "axes, spacing, unit", [(2, None, "px"), (3, None, "voxels"), (3, (1.0, 1.0, 2.0), "mm")]
)
def test_a_distance_says_its_unit(axes, spacing, unit):
    assert distance_unit(axes, spacing) == unit


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, float("nan"))])
def test_a_spacing_that_does_not_fit_is_refused(spacing):
    mask = np.ones((4, 4), bool)
    with pytest.raises(ValueError, match="one length in mm above 0"):
        case_metrics(mask, mask, spacing=spacing)


def test_masks_of_two_sizes_or_an_empty_field_of_view_are_errors():
    mask = np.ones((4, 4), bool)
    with pytest.raises((ValueError, TypeError)):  # the shape hook of the tests may see it first
        case_metrics(mask, np.ones((1, 4), bool))
    with pytest.raises(ValueError, match="field of view holds no pixel"):
        case_metrics(mask, mask, inside=~mask)
