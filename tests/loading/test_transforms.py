"""A patch is a true piece of its image: masks stay bits and follow the image wherever it turns."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data.meta_obj import get_track_meta

from hidiff.labels import Labels
from hidiff.loading import PRESETS, Augmentation
from hidiff.loading.transforms import training_transform

ONE = Labels(kind="one_class", classes={"a": (1,)})
TWO = Labels(kind="exclusive", classes={"a": (1,), "b": (2,)})
REGIONS = Labels(kind="regions", classes={"a": (1, 3), "b": (2, 3)})
EVERYTHING = Augmentation(
    **{
        name: 1.0
        for name in (
            "lens",
            "flip_horizontal",
            "flip_vertical",
            "rotate90",
            "affine",
            "gamma",
            "contrast",
            "brightness",
            "tint",
            "noise",
        )
    }
)


def item_of(mask, labels, field_of_view=None, channels=1):
    """The image shows the mask itself, so that both can be compared after the transform."""
    y0 = torch.from_numpy(labels.encode(mask)) > 0
    image = torch.from_numpy(mask).float().expand(channels, -1, -1).contiguous()
    seen = np.ones_like(mask) if field_of_view is None else field_of_view
    seen = torch.from_numpy(seen)[None] > 0
    return {"name": "x", "image": image, "y0": y0, "field_of_view": seen}


def discs(height=80, width=60):
    row, column = np.mgrid[:height, :width]
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[(row - 25) ** 2 + (column - 20) ** 2 < 200] = 1
    mask[(row - 60) ** 2 + (column - 45) ** 2 < 100] = 2
    return mask


def patches(item, labels, augmentation, count=20, size=(32, 32), foreground_share=0.5):
    transform = training_transform(size, augmentation, foreground_share, labels)
    transform.set_random_state(seed=0)
    return [transform(dict(item)) for _ in range(count)]


@pytest.mark.parametrize("preset", [*PRESETS, "everything"])
@pytest.mark.parametrize("labels", [TWO, REGIONS], ids=["exclusive", "regions"])
@pytest.mark.parametrize("size", [(32, 32), (96, 96)], ids=["smaller", "larger than the image"])
def test_patches_are_plain_float_tensors_and_masks_are_bits(preset, labels, size):
    augmentation = PRESETS.get(preset, EVERYTHING)
    for patch in patches(item_of(discs(), labels), labels, augmentation, 10, size):
        assert patch["name"] == "x"
        for key, planes in (("image", 1), ("y0", labels.num_planes), ("field_of_view", 1)):
            assert type(patch[key]) is torch.Tensor
            assert patch[key].dtype == torch.float32
            assert patch[key].shape == (planes, *size)
        assert patch["image"].isfinite().all()
        assert set(patch["y0"].unique().tolist()) <= {0.0, 1.0}
        assert set(patch["field_of_view"].unique().tolist()) <= {0.0, 1.0}
        if labels.kind == "exclusive":
            assert (patch["y0"].sum(dim=0) == 1).all()


SHAPE_ONLY = Augmentation(
    flip_horizontal=0.5, flip_vertical=0.5, rotate90=0.5, affine=0.7, rotation_degrees=180, zoom=0.3
)


def test_image_and_mask_go_the_same_way():
    mask = (discs() == 1).astype(np.uint8)
    for patch in patches(item_of(mask, ONE), ONE, SHAPE_ONLY, count=40):
        # Bilinear values near 0 or 1 are far from every edge: there both must agree exactly.
        sure = (patch["image"] - 0.5).abs() > 0.45
        seen = sure & (patch["field_of_view"] > 0)
        assert seen.float().mean() > 0.3
        assert torch.equal(patch["image"][seen].round(), patch["y0"][seen])


def test_without_augmentation_a_patch_is_a_piece_of_the_image():
    numbers = np.arange(80 * 60, dtype=np.float32).reshape(80, 60)
    item = item_of(discs(), TWO)
    item["image"] = torch.from_numpy(numbers)[None]
    for patch in patches(item, TWO, PRESETS["none"], size=(32, 16)):
        row, column = divmod(int(patch["image"][0, 0, 0]), 60)
        piece = slice(row, row + 32), slice(column, column + 16)
        np.testing.assert_array_equal(patch["image"][0].numpy(), numbers[piece])
        assert torch.equal(patch["y0"], item["y0"][:, *piece].float())


@given(st.integers(1, 50), st.integers(1, 50))
def test_a_small_image_lies_whole_within_the_patch(height, width):
    item = item_of(np.ones((height, width), np.uint8), ONE)
    for patch in patches(item, ONE, PRESETS["none"], count=2, size=(50, 50)):
        assert patch["y0"].sum() == patch["field_of_view"].sum() == height * width
        assert (patch["image"] == 1).all()  # the edge is repeated


def test_beyond_the_image_is_background_and_out_of_view():
    for patch in patches(item_of(discs(20, 20) * 0 + 1, TWO), TWO, PRESETS["mri"], size=(40, 40)):
        beyond = patch["field_of_view"][0] == 0
        assert beyond.any()
        assert (patch["y0"][0][beyond] == 1).all()


def test_every_pixel_is_reached_with_and_without_room_to_turn():
    for augmentation in (PRESETS["none"], Augmentation(affine=1e-9)):
        numbers = np.arange(40 * 40, dtype=np.float32).reshape(40, 40)
        item = item_of(np.zeros((40, 40), np.uint8), ONE)
        item["image"] = torch.from_numpy(numbers)[None]
        cut = patches(item, ONE, augmentation, count=120, size=(16, 16))
        reached = torch.cat([patch["image"].round().flatten() for patch in cut]).unique()
        assert set(reached.tolist()) == set(range(1600))


def test_the_foregrounds_share_of_patches_shows_it():
    mask = np.zeros((200, 200), np.uint8)
    mask[150, 30] = 1
    for share, low, high in ((0.0, 0, 20), (0.5, 70, 130), (1.0, 200, 200)):
        cut = patches(item_of(mask, ONE), ONE, PRESETS["none"], 200, (16, 16), share)
        assert low <= sum(bool(patch["y0"].any()) for patch in cut) <= high


def test_a_small_class_comes_as_often_as_a_large_one():
    mask = np.zeros((200, 200), np.uint8)
    mask[:100] = 1
    mask[190, 190] = 2
    cut = patches(item_of(mask, TWO), TWO, PRESETS["none"], 200, (16, 16), 1.0)
    assert 70 <= sum(bool(patch["y0"][2].any()) for patch in cut) <= 130


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_centres_lie_in_the_field_of_view(share):
    mask = np.ones((100, 100), np.uint8)
    seen = np.zeros((100, 100), np.uint8)
    seen[40:60, 40:60] = 1
    item = item_of(mask, ONE, field_of_view=seen)
    for patch in patches(item, ONE, PRESETS["none"], size=(9, 9), foreground_share=share):
        assert patch["field_of_view"][0, 4, 4] == 1


def test_an_image_without_foreground_or_view_still_gives_patches():
    empty = np.zeros((40, 40), np.uint8)
    for seen in (None, empty):
        item = item_of(empty, ONE, field_of_view=seen)
        assert len(patches(item, ONE, PRESETS["retina"], foreground_share=1.0)) == 20


def test_the_items_given_are_not_changed_and_monais_switch_is_put_back():
    item = item_of(discs(), TWO)
    before = {key: value.clone() for key, value in item.items() if key != "name"}
    for size in ((32, 32), (60, 60)):
        patches(item, TWO, EVERYTHING, size=size)
    assert all(torch.equal(item[key], value) for key, value in before.items())
    assert get_track_meta()


def test_turning_by_90_degrees_wants_a_square():
    with pytest.raises(ValueError, match=r"32x48, but augmentation\.rotate90 wants a square"):
        training_transform((32, 48), PRESETS["flip_rotate"], 0.5, ONE)


def test_a_share_beyond_1_is_refused():
    with pytest.raises(ValueError, match=r"foreground_share is 1\.5"):
        training_transform((32, 32), PRESETS["none"], 1.5, ONE)


# The lens


def erode(mask, pixels=3):
    """Return pixels with only true ones around; none at the border, as nothing is known past it."""
    sides = 2 * pixels + 1
    outside = torch.nn.functional.pad(~mask, (pixels,) * 4, value=True)[None].float()
    return torch.nn.functional.max_pool2d(outside, sides, stride=1)[0] == 0


def test_past_the_rim_of_a_lens_all_is_black_and_empty():
    image = torch.rand(3, 64, 64) - 0.5
    y0 = torch.ones(1, 64, 64, dtype=torch.bool)
    item = {"name": "x", "image": image, "y0": y0, "field_of_view": y0}
    transform = training_transform((64, 64), Augmentation(lens=1.0), 0.0, ONE)
    transform.set_random_state(seed=0)
    shares = []
    for _ in range(50):
        patch = transform(dict(item))
        inside = patch["y0"][0] > 0
        black = image.amin(dim=(1, 2))[:, None]
        shares.append(float(inside.float().mean()))
        far, well_inside = erode(patch["y0"][0] == 0), erode(inside)
        assert torch.equal(patch["image"][:, far], black.expand(-1, int(far.sum())))
        assert torch.equal(patch["image"][:, well_inside], image[:, well_inside])
        assert patch["field_of_view"].all()
    assert min(shares) < 0.6 and max(shares) == 1.0
