"""Check and plan read the values of masks in one way, and ask where they can be read in several."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hidiff.cli.data import look_at as check_folder
from hidiff.datasets import Splitting
from hidiff.images import DataError
from hidiff.inspection.mask_values import MaskValues, propose_labels
from hidiff.labels import Labels
from hidiff.plan import look_at as plan_folder
from tests.nnunet_sets import write_nnunet
from tests.volumes import make_grid, write_nifti

DRAWS = np.random.default_rng(0)
GRID = make_grid(16, 16, 4)


def write_folder(root, masks, save=None, ending="png"):
    """Write images of noise, as pictures or volumes, with these masks."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number, mask in enumerate(masks):
        image = DRAWS.integers(0, 255, mask.shape).astype(np.uint8)
        name = f"c-{number:03d}.{ending}"
        if mask.ndim == 3:
            write_nifti(root / "images" / name, image, GRID)
            write_nifti(root / "masks" / name, mask, GRID)
        else:
            Image.fromarray(image).save(root / "images" / f"c-{number:03d}.png")
            (save or (lambda mask, path: Image.fromarray(mask).save(path)))(
                mask, root / "masks" / name
            )
    return root


def texts(report, level):
    return " ".join(finding.text for finding in report.findings if finding.level == level)


def resized(values, shape=(32, 32), dtype=np.uint8):
    return np.resize(np.array(values, dtype), shape)


UNDECIDED = {
    "0, 1, 255 in pictures": [resized([0, 0, 1, 1, 255])] * 6,
    "0, 1, 2, 255 in pictures": [resized([0, 1, 2, 255])] * 6,
    "0, 1, 255 in volumes": [resized([0, 1, 255], GRID.shape)] * 6,
    "-1, 0, 1 in volumes": [resized([0, 0, 1, -1], GRID.shape, np.int16)] * 6,
}


@pytest.mark.parametrize("name", UNDECIDED)
def test_a_value_that_may_be_an_ignore_label_is_asked_about_and_then_ignored(tmp_path, name):
    masks = UNDECIDED[name]
    ending = "nii.gz" if masks[0].ndim == 3 else "png"
    root = write_folder(tmp_path / "set", masks, ending=ending)
    report = check_folder(root, [])
    assert not report.go
    assert "labels.ignore=" in texts(report, "stop")
    with pytest.raises(DataError, match=r"labels\.ignore="):
        plan_folder(root, Splitting())

    ignored = -1 if "-1" in name else 255
    report = check_folder(root, [f"labels.ignore={ignored}"])
    assert report.go, texts(report, "stop")
    assert "masks have pixels that are ignored" in texts(report, "warning")
    assert "masks have pixels that are ignored" in json.dumps(report.as_json())
    plan = plan_folder(root, Splitting(), known={"ignore": ignored})
    assert plan.recipe.labels.ignore == (ignored,)
    declared = sorted(v for values in plan.recipe.labels.classes.values() for v in values)
    assert declared == sorted(set(np.unique(masks[0]).tolist()) - {0, ignored})
    assert "labels.ignore" in {choice.setting for choice in plan.choices}


def test_the_users_own_classes_answer_the_question_too(tmp_path):
    root = write_folder(tmp_path / "set", UNDECIDED["0, 1, 255 in pictures"])
    answer = "labels.classes={organ: [1], tumour: [255]}"
    assert check_folder(root, [answer]).go


@pytest.mark.parametrize("count", [41, 254, 255])
def test_each_value_of_a_volume_or_palette_is_a_class(tmp_path, count):
    values = range(count + 1)
    volume = write_folder(tmp_path / "a", [resized(values, GRID.shape)] * 6, ending="nii.gz")

    def with_palette(mask, path):
        picture = Image.fromarray(mask, mode="P")
        picture.putpalette(list(range(256)) * 3)
        picture.save(path)

    palette = write_folder(tmp_path / "b", [resized(values)] * 6, with_palette)
    for root in (volume, palette):
        report = check_folder(root, [])
        assert report.go and f"class_{count}: [{count}]" in report.reading
        labels = plan_folder(root, Splitting()).recipe.labels
        assert labels.kind == "exclusive" and len(labels.classes) == count


def test_brightness_in_a_grey_picture_is_no_class_and_no_go(tmp_path):
    root = write_folder(tmp_path / "set", [resized(range(0, 250, 3))] * 6)
    report = check_folder(root, [])
    assert not report.go and "classes, or brightness?" in texts(report, "stop")
    with pytest.raises(DataError, match="classes, or brightness"):
        plan_folder(root, Splitting())
    plan = plan_folder(root, Splitting(), known={"threshold": 127})
    assert plan.recipe.labels.threshold == 127


def disc(value, dtype=np.uint8):
    rows, columns = np.ogrid[:32, :32]
    return (value * ((rows - 15) ** 2 + (columns - 14) ** 2 < 90)).astype(dtype)


def two_classes():
    mask = disc(120)
    mask[:8] = 200
    return mask


def as_jpeg(mask, path):
    Image.fromarray(mask).save(path, "JPEG", quality=80)


def test_jpeg_masks_are_cut_and_said_to_be(tmp_path):
    root = write_folder(tmp_path / "set", [disc(255)] * 6, as_jpeg, ending="jpg")
    report = check_folder(root, [])
    assert report.go, texts(report, "stop")
    assert "masks are JPEG" in texts(report, "warning")
    labels = plan_folder(root, Splitting()).recipe.labels
    assert labels.classes == {"object": (255,)}
    mask = np.asarray(Image.open(root / "masks" / "c-000.jpg"))
    assert (labels.encode(mask, lossy=True)[0] == (disc(255) > 0)).mean() > 0.99


@pytest.mark.parametrize("mask", [two_classes(), disc(3), disc(12), disc(127)])
def test_classes_in_jpeg_are_refused_by_check_plan_and_reading_alike(tmp_path, mask):
    """Compression turns 1 into 0 to 3, and 127 into values on both sides of the half of white."""
    root = write_folder(tmp_path / "set", [mask] * 6, as_jpeg, ending="jpg")
    report = check_folder(root, [])
    assert not report.go and "Export them again as PNG" in texts(report, "stop")
    with pytest.raises(DataError, match="Export them again as PNG"):
        plan_folder(root, Splitting())
    stored = np.asarray(Image.open(root / "masks" / "c-000.jpg"))
    top = int(mask.max())
    for labels in (
        Labels(kind="one_class", classes={"a": (top,)}),
        Labels(kind="exclusive", classes={"a": (1, 2), "b": (top,)} if top > 2 else {"a": (1, 2)}),
    ):
        with pytest.raises(ValueError, match=r"JPEG|declared"):
            labels.encode(stored, lossy=True)
    with pytest.raises(DataError, match="PNG"):
        plan_folder(root, Splitting())


@given(
    values=st.sets(st.integers(-3, 255), min_size=1, max_size=60),
    single=st.booleans(),
    labelled=st.booleans(),
)
def test_whatever_the_values_they_are_proposed_whole_or_asked_about(values, single, labelled):
    """A proposal accounts for every value; a question proposes nothing."""
    above = values - {0}
    known = MaskValues.of_shares({value: 1 / len(values) for value in values}, labelled=labelled)
    known.single = single or len(above) < 2
    proposal = propose_labels(known)
    assert not (proposal.question and proposal.labels)
    if proposal.labels is None:
        assert proposal.question or not above
        return
    declared = {v for each in proposal.labels.classes.values() for v in each}
    assert min(above) > 0
    if proposal.labels.kind == "exclusive" or len(above) == 1:
        assert declared == above
    else:  # 0/1 and 0/255, never in the same mask; or plain noise in files that hold no classes
        assert proposal.warning
        assert (known.single and above == {1, 255}) or not labelled


def test_an_undeclared_value_beside_dataset_jsons_is_refused_by_check_and_plan(tmp_path):
    root = write_nnunet(tmp_path / "Dataset001_Heart", labels={"background": 0, "wall": 1})
    report = check_folder(root, [])
    assert not report.go and "p0.nii.gz" in texts(report, "stop")
    with pytest.raises(DataError, match=r"p0\.nii\.gz: the mask's largest value is 2"):
        plan_folder(root, Splitting())


def test_nnunets_own_ignore_label_is_ours(tmp_path):
    labels = {"background": 0, "wall": 1, "ignore": 2}
    root = write_nnunet(tmp_path / "Dataset001_Heart", labels=labels)
    assert check_folder(root, []).go
    recipe = plan_folder(root, Splitting()).recipe
    assert recipe.labels.ignore == (2,) and recipe.labels.class_names == ("wall",)


# Doubts that check states


def test_a_spacing_of_1_is_said_to_look_lost(tmp_path):
    root = write_nnunet(tmp_path / "Dataset001_Heart", spacing_mm=(1.0, 1.0, 1.0))
    report = check_folder(root, [])
    assert "spacing looks lost" in texts(report, "warning")
    choices = {choice.setting: choice.reason for choice in plan_folder(root, Splitting()).choices}
    assert "spacing looks lost" in choices["spacing"]
    kept = write_nnunet(tmp_path / "Dataset002_Heart")
    assert "spacing" not in texts(check_folder(kept, []), "warning")


def test_an_alpha_channel_with_content_is_told(tmp_path):
    def in_alpha(mask, path):
        grey, alpha = Image.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8)), mask
        Image.merge("LA", (grey, Image.fromarray(alpha))).save(path)

    root = write_folder(tmp_path / "set", [disc(200)] * 6, in_alpha)
    report = check_folder(root, [])
    (finding,) = (f for f in report.findings if "alpha channel" in f.text)
    assert finding.level == "warning" and len(finding.files) == 6


def write_slices(root, names, image=lambda number: DRAWS.integers(0, 255, (32, 32))):
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number, name in enumerate(names):
        pixels = image(number).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{name}.png")
        Image.fromarray(disc(1)).save(root / "masks" / f"{name}.png")
    return root


def test_slices_of_a_patient_stay_in_one_split_and_both_say_so(tmp_path):
    names = [f"case{p:04d}_slice{s:03d}" for p in range(6) for s in range(4)]
    root = write_slices(tmp_path / "set", names)
    report = check_folder(root, [])
    assert sum(report.groups.values()) == 6
    assert "6 patients in 24 files" in texts(report, "warning")
    plan = plan_folder(root, Splitting())
    assert plan.recipe.data.splitting.group_of("case0003_slice002") == "case0003"
    reasons = {choice.setting: choice.reason for choice in plan.choices}
    assert "6 patients in 24 files" in reasons["splitting.group"]

    report = check_folder(root, ["data.splitting.group=^(.*)$"])
    assert sum(report.groups.values()) == 24 and not texts(report, "warning")


def test_lists_that_tear_a_patient_apart_are_told(tmp_path):
    names = [f"case{p:04d}_slice{s:03d}" for p in range(6) for s in range(4)]
    root = write_slices(tmp_path / "set", names)
    for split, start in (("train", 0), ("validation", 1), ("test", 2)):
        (root / f"{split}.txt").write_text("\ufeff" + "\n".join(names[start::3]), "utf-8")
    report = check_folder(root, [])
    assert "6 of them are in several splits" in texts(report, "warning")
    assert sum(report.groups.values()) == 24
    assert "lists decide" in str(plan_folder(root, Splitting()).choices)


def test_adjacent_numbers_that_look_alike_are_told(tmp_path):
    rows, columns = np.ogrid[:32, :32]

    def slice_of_a_body(number):
        return 127 + 120 * np.sin(rows / 6 + number / 8) * np.cos(columns / 5 - number / 11)

    alike = write_slices(tmp_path / "a", [f"{n:04d}" for n in range(40)], slice_of_a_body)
    report = check_folder(alike, [])
    assert "adjacent numbers look alike (0000, 0001" in texts(report, "warning")
    assert "adjacent numbers look alike" in str(plan_folder(alike, Splitting()).choices)
    apart = write_slices(tmp_path / "b", [f"{n:04d}" for n in range(40)])
    assert "alike" not in texts(check_folder(apart, []), "warning")


def save_palette(palette):
    def save(mask, path):
        image = Image.fromarray(mask)
        image.putpalette(palette[int(path.stem[-1]) % len(palette)])
        image.save(path)

    return save


def test_palettes_that_number_the_colours_anew_are_told(tmp_path):
    red_first = [0, 0, 0, 255, 0, 0, 0, 255, 0]
    green_first = [0, 0, 0, 0, 255, 0, 255, 0, 0]
    masks = [resized([0, 0, 1, 2])] * 6
    same = write_folder(tmp_path / "same", masks, save_palette([red_first]))
    assert "colour" not in texts(check_folder(same, []), "warning")
    root = write_folder(tmp_path / "other", masks, save_palette([red_first, green_first]))
    said = "the value 1 has the colour #ff0000 in some masks, but #00ff00 in c-00"
    assert said in texts(check_folder(root, []), "warning")
    assert said in str(plan_folder(root, Splitting()).choices)
    known = ["labels.classes={vessel: [1], disc: [2]}"]
    assert said in texts(check_folder(root, known), "warning")


def test_masks_whose_background_is_white_are_told(tmp_path):
    object_ = np.zeros((16, 16), np.uint8)
    object_[4:9, 5:11] = 255
    right = write_folder(tmp_path / "right", [object_] * 6)
    assert "border" not in texts(check_folder(right, []), "warning")
    inverted = write_folder(tmp_path / "inverted", [255 - object_] * 6)
    said = "the whole border belongs to a class in 6 of 6 masks"
    assert said in texts(check_folder(inverted, []), "warning")
    assert said in str(plan_folder(inverted, Splitting()).choices)
    volume = np.repeat(255 - object_[..., None], 4, axis=2)
    volumes = write_folder(tmp_path / "volumes", [volume] * 6, ending="nii.gz")
    assert said in texts(check_folder(volumes, []), "warning")


MASKS = st.one_of(
    st.sampled_from([(0, 1), (0, 255), (0, 65535), (0, 1, 2), (0, 1, 255), (0, -1, 1), (0, 7, 9)]),
    st.lists(st.integers(0, 255), min_size=1, max_size=60).map(tuple),
    st.integers(2, 12).map(lambda width: (0,) * 40 + (255,) * 40 + tuple(range(0, 256, width))),
)


@given(st.lists(MASKS, min_size=1, max_size=4), st.booleans())
def test_what_the_masks_suggest_reads_every_one_of_them(masks, labelled):
    """If the check says go, training reads the same masks, and no class is lost."""
    values = MaskValues(labelled=labelled)
    arrays = [resized(mask, (20, 20), np.int32) for mask in masks]
    for mask in arrays:
        values.add(Path("mask.npy"), mask)
    proposal = propose_labels(values)
    if proposal.labels is None:
        assert proposal.question or not any(mask.any() for mask in arrays)
        return
    for mask in arrays:
        planes = proposal.labels.encode_bool(mask)[proposal.labels.class_planes]
        assert not planes[:, mask == 0].any()
        if proposal.labels.kind == "exclusive":
            np.testing.assert_array_equal(planes.any(axis=0), mask != 0)
