"""A plan is a recipe that holds, chosen for reasons that can be read."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import booleans, floats, integers, lists, sampled_from, tuples
from PIL import Image

from hidiff import plan as plans
from hidiff.cli.data import look_at as look_at_data
from hidiff.datasets import Splitting, write_synthetic
from hidiff.images import DataError, Grid
from hidiff.inspection.fingerprint import Fingerprint
from hidiff.labels import Labels
from hidiff.plan import Layout, Machine, list_all, look_at, propose, recognise
from tests.nnunet_sets import write_nnunet
from tests.volumes import make_grid, write_nifti

LAPTOP, SERVER = Machine(2, 24.0, 0.0), Machine(16, 128.0, 80.0)
FOLDER = Layout("folder", None, ())


def grid(spacing: tuple[float, float, float], shape=(100, 100, 30)) -> Grid:
    return Grid(shape, np.diag([*spacing, 1.0]))


def pictures(**changes) -> Fingerprint:
    known = {
        "cases": 20,
        "groups": 20,
        "channels": Counter({3: 20}),
        "types": Counter({"uint8": 20}),
        "sizes": [(300, 400)] * 20,
        "low": 0.0,
        "high": 255.0,
        "values": {0: 0.9, 255: 0.1},
    }
    return Fingerprint(**{**known, **changes})


def volumes(*spacings: tuple[float, float, float], **changes) -> Fingerprint:
    known = {
        "cases": len(spacings),
        "groups": len(spacings),
        "channels": Counter({1: len(spacings)}),
        "types": Counter({"int16": len(spacings)}),
        "grids": [grid(spacing) for spacing in spacings],
        "low": 0.0,
        "high": 900.0,
        "foreground": (20.0, 700.0),
        "values": {0: 0.9, 1: 0.06, 2: 0.04},
    }
    return Fingerprint(**{**known, **changes})


def plan(found: Fingerprint, machine: Machine = LAPTOP, layout: Layout = FOLDER):
    return propose(Path("mine"), layout, found, machine).recipe


def test_a_folder_is_where_it_was_named_also_if_data_have_a_place_of_their_own(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_synthetic(tmp_path / "mine", num_cases=5, size=32)
    monkeypatch.setenv("HIDIFF_DATA", str(tmp_path / "elsewhere"))
    proposed = look_at(Path("mine"), Splitting()).recipe
    assert proposed.data.root == tmp_path / "mine"


def test_large_objects_are_seen_whole_and_thin_ones_in_patches():
    assert plan(pictures()).data.size == (128, 128)
    thin = plan(pictures(values={0: 0.99, 255: 0.01}))
    assert thin.data.size is None
    assert thin.data.patch_size == (128, 128)


def test_volumes_of_large_objects_are_made_smaller_without_changing_their_shape():
    recipe = plan(volumes((1.0, 1.0, 5.0), grids=[grid((1.0, 1.0, 5.0), (200, 256, 9))]))
    assert recipe.data.spacing_mm == (2.0, 2.0)
    assert recipe.data.patch_size == (128, 128)


def test_ct_gets_the_window_of_what_lies_under_the_masks():
    found = volumes((1.0, 1.0, 3.0), low=-1024.0, foreground=(-93.6, 211.2))
    assert plan(found).data.intensity.window == (-94.0, 211.0)
    assert plan(volumes((1.0, 1.0, 3.0))).data.intensity.kind == "zscore"


def test_volumes_are_sliced_the_way_they_were_scanned():
    assert plan(volumes((1.0, 1.0, 5.0))).data.plane == "axial"
    assert plan(volumes((5.0, 1.0, 1.0))).data.plane == "sagittal"
    assert plan(volumes((1.0, 5.0, 1.0))).data.plane == "coronal"


def test_neighbours_are_seen_where_slices_lie_close():
    assert plan(volumes((1.0, 1.0, 1.0))).data.neighbours == 1
    assert plan(volumes((1.0, 1.0, 8.0))).data.neighbours == 0


def test_spacings_that_differ_are_brought_to_their_median():
    assert plan(volumes((1.0, 1.0, 5.0), (1.0, 1.0, 5.0))).data.spacing_mm is None
    mixed = plan(volumes((0.5, 0.5, 5.0), (1.0, 1.0, 5.0), (2.0, 2.0, 5.0)))
    assert mixed.data.spacing_mm == (1.0, 1.0)


def test_a_gpu_gets_the_papers_sizes():
    recipe = plan(pictures(sizes=[(256, 256)] * 20), SERVER)
    assert (recipe.refiner.width, recipe.training.batch_size) == (128, 32)
    assert (recipe.refiner.fine, recipe.training.segmentor) == (False, "trained")
    narrow = plan(pictures())
    assert (narrow.refiner.width, narrow.refiner.fine) == (16, True)
    assert narrow.training.segmentor == "joint"
    assert narrow.prediction.steps is None  # one of one sample, all of several


def test_values_of_masks_become_classes():
    assert plan(pictures(values={0: 0.9, 1: 0.05, 255: 0.05})).labels.kind == "one_class"
    several = plan(pictures(values={0: 0.9, 1: 0.05, 4: 0.05})).labels
    assert several.classes == {"class_1": (1,), "class_4": (4,)}
    with pytest.raises(DataError, match="every mask is empty"):
        plan(pictures(values={0: 1.0}))


@given(
    spacings=lists(tuples(*[floats(0.2, 8.0)] * 3), min_size=1, max_size=4),
    shape=tuples(*[integers(1, 900)] * 3),
    low=floats(-1100, 0),
    machine=sampled_from([LAPTOP, SERVER, Machine(8, 32.0, 11.0)]),
)
def test_whatever_the_volumes_the_recipe_holds(spacings, shape, low, machine):
    found = volumes(*spacings, low=low, grids=[grid(spacing, shape) for spacing in spacings])
    recipe = plan(found, machine)
    assert all(side % 32 == 0 for side in recipe.data.patch_size)


@given(
    sizes=lists(tuples(integers(1, 3000), integers(1, 3000)), min_size=1, max_size=5),
    share=floats(1e-4, 0.9),
    eight_bits=booleans(),
)
def test_whatever_the_pictures_the_recipe_holds(sizes, share, eight_bits):
    kind = "uint8" if eight_bits else "uint16"
    found = pictures(
        sizes=sizes, values={0: 1 - share, 1: share}, types=Counter({kind: len(sizes)})
    )
    assert plan(found).data.channels == 3


def test_a_folder_of_pictures_is_planned_from_its_files(tmp_path):
    write_synthetic(tmp_path / "mine", num_cases=6, size=64)
    proposed = look_at(tmp_path / "mine", Splitting())
    assert proposed.recipe.data.source == "folder"
    assert proposed.recipe.labels.kind == "one_class"
    assert {choice.setting for choice in proposed.choices} >= {"intensity", "patch_size"}
    assert all(choice.reason for choice in proposed.choices)


def test_nnunets_layout_is_planned_from_its_files(tmp_path):
    root = write_nnunet(tmp_path / "Dataset001_Heart")
    assert recognise(root).channel_names == ("MRI",)
    recipe = look_at(root, Splitting()).recipe
    assert recipe.name == "Dataset001_Heart"
    assert recipe.data.source == "nnunet"
    assert recipe.labels.classes == {"wall": (1,), "blood": (2,)}


def test_an_unknown_layout_is_named_with_those_that_are_wanted(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"imagesTr/"):
        recognise(tmp_path)


def test_a_folder_is_listed_once_and_every_case_is_told(tmp_path, monkeypatch):
    root = write_nnunet(tmp_path / "Dataset001_Heart")
    listed, told = [], []

    def count_lists(*words):
        listed.append(words)
        return list_all(*words)

    monkeypatch.setattr(plans, "list_all", count_lists)

    def begin(count):
        told.append(count)
        return lambda: told.append("done")

    look_at(root, Splitting(), begin)
    assert len(listed) == 1
    assert told == [4, *["done"] * 4]


# Which way up


def kidneys(number: int, swapped: bool = False) -> np.ndarray:
    """A liver-like and two kidney-like classes, 3 and 4, left and right of the middle."""
    mask = np.zeros((64, 64), np.uint8)
    mask[10:30, 5:30] = 1
    mask[36 + number : 48 + number, 10:20] = 3
    mask[36 + number : 48 + number, 44:54] = 4
    return mask.T.copy() if swapped else mask


def write_masks(root: Path, masks: list[np.ndarray], colour: bool = False) -> Path:
    draws = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number, mask in enumerate(masks):
        image = draws.integers(0, 255, (*mask.shape, *((3,) if colour else ()))).astype(np.uint8)
        picture = Image.fromarray(image)
        (picture if colour else picture.convert("RGB")).save(root / "images" / f"c-{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"c-{number}.png")
    return root


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("swapped", [False, True])
def test_what_may_be_left_and_right_is_not_mirrored(tmp_path, colour, swapped):
    masks = [kidneys(number, swapped) for number in range(6)]
    proposed = look_at(write_masks(tmp_path / "mine", masks, colour), Splitting())
    chosen = proposed.recipe.data.augmentations
    assert chosen.flip_horizontal == chosen.flip_vertical == chosen.rotate90 == 0
    assert 0 < chosen.rotation_degrees <= 20 and chosen.affine > 0
    (reason,) = (each.reason for each in proposed.choices if each.setting == "augmentation")
    assert "class_3 and class_4 may be a left and a right one" in reason


def test_grey_pictures_lie_one_way_up_and_colour_any_way(tmp_path):
    masks = [np.where(kidneys(number) == 1, 1, 0).astype(np.uint8) for number in range(6)]
    grey = look_at(write_masks(tmp_path / "grey", masks), Splitting()).recipe.data.augmentations
    assert (grey.flip_vertical, grey.rotate90) == (0, 0) and grey.affine > 0
    colour = look_at(write_masks(tmp_path / "colour", masks, colour=True), Splitting()).recipe
    assert colour.data.augmentation == "flip_rotate"


@pytest.mark.parametrize(
    "names",
    [("left kidney", "liver"), ("LungRight", "heart"), ("kidney_l", "kidney_r"), ("right_eye",)],
)
def test_names_with_a_side_are_not_mirrored(names):
    labels = Labels(kind="exclusive", classes={n: (v,) for v, n in enumerate(names, start=1)})
    layout = Layout("nnunet", labels, ())
    proposed = propose(Path("mine"), layout, pictures(), LAPTOP)
    assert proposed.recipe.data.augmentations.flip_horizontal == 0
    (reason,) = (each.reason for each in proposed.choices if each.setting == "augmentation")
    assert "no mirroring" in reason


def test_bright_is_no_side():
    labels = Labels(kind="exclusive", classes={"bright": (1,), "l": (2,)})
    assert plan(pictures(), layout=Layout("nnunet", labels, ())).data.augmentation == "flip_rotate"


@pytest.mark.parametrize("volume", [True, False])
def test_nan_is_refused_as_training_does_unless_it_is_declared(tmp_path, volume):
    root = tmp_path / "mine"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(4):
        mask = np.zeros((12, 10, 3) if volume else (12, 10), np.uint8)
        mask[3:7, 2:6] = 1
        image = np.where(mask, 90.0 + number, np.nan)
        if volume:
            write_nifti(root / f"images/a{number}.nii.gz", image, make_grid(*mask.shape))
            write_nifti(root / f"masks/a{number}.nii.gz", mask, make_grid(*mask.shape))
        else:
            np.save(root / f"images/a{number}.npy", image)
            np.save(root / f"masks/a{number}.npy", mask)
    with pytest.raises(DataError, match=r"a0\..* NaN"):
        look_at(root, Splitting())
    assert look_at(root, Splitting(), nan="background").recipe.labels.class_names == ("object",)
    assert not look_at_data(root, []).go
    assert look_at_data(root, ["data.nan=background"]).go


def test_check_and_plan_find_the_partner_of_an_image_with_a_channel_number(tmp_path):
    root = write_masks(tmp_path / "mine", [np.eye(24, dtype=np.uint8)] * 4, colour=False)
    for file in (root / "images").iterdir():
        file.rename(file.with_name(f"{file.stem}_0000{file.suffix}"))
    assert look_at(root, Splitting()).recipe.labels.class_names == ("object",)
    assert look_at_data(root, []).go
