"""Each data set's own layout, odd files included, becomes the same list of cases."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hidiff.datasets import BRAIN_LABELS, CATALOG, MissingSplit, Splitting, load_split
from hidiff.datasets.splits import SPLITS
from hidiff.images import DataError, Intensity
from hidiff.labels import Labels
from hidiff.loading import LoadedCases, Reading
from tests.nnunet_sets import write_nnunet

SHAPE = (12, 20)
MASK = np.zeros(SHAPE, dtype=bool)
MASK[3:6, 4:15] = True


def write(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def picture(number: int) -> np.ndarray:
    image = np.full((*SHAPE, 3), number, dtype=np.uint8)
    image[MASK] = 200
    return image


def drive(root: Path) -> None:
    for part, numbers in (("training", range(21, 41)), ("test", range(1, 21))):
        for number in numbers:
            write(root / part / "images" / f"{number:02d}_{part}.tif", picture(number))
            write(root / part / "1st_manual" / f"{number:02d}_manual1.gif", MASK * np.uint8(255))
            field = np.full(SHAPE, 255, np.uint8)
            write(root / part / "mask" / f"{number:02d}_{part}_mask.gif", field)


def chase_db1(root: Path) -> None:
    for number in range(1, 15):
        for side in "LR":
            stem = f"Image_{number:02d}{side}"
            write(root / "images" / f"{stem}.jpg", picture(number), quality=95)
            write(root / "1st_manual" / f"{stem}_1stHO.png", MASK)
            write(root / "2nd_manual" / f"{stem}_2ndHO.png", ~MASK)


def kvasir_seg(root: Path) -> None:
    for part, count in (("train", 4), ("validation", 2), ("test", 2)):
        for number in range(count):
            write(root / part / "images" / f"{number}.jpg", picture(number), quality=95)
            mask = MASK * np.uint8(255)
            write(root / part / "masks" / f"{number}.jpg", mask, quality=75)


def folder(root: Path) -> None:
    for number in range(10):
        write(root / "images" / f"patient{number // 2}_{number}.png", picture(number))
        write(root / "masks" / f"patient{number // 2}_{number}.png", MASK.astype(np.uint8))
    (root / "images" / ".DS_Store").write_text("not an image")


LAYOUTS = {"drive": drive, "chase_db1": chase_db1, "kvasir_seg": kvasir_seg, "folder": folder}
COUNTS = {
    "drive": (16, 4, 20),
    "chase_db1": (16, 4, 8),
    "kvasir_seg": (4, 2, 2),
    "folder": (7, 1, 2),
    "synthetic": (18, 6, 6),
}


@pytest.fixture
def made(tmp_path, request):
    name = request.param
    if name in LAYOUTS:
        LAYOUTS[name](tmp_path / name)
    return name, tmp_path / name


every_set = pytest.mark.parametrize("made", COUNTS, indirect=True)
every_layout = pytest.mark.parametrize("made", LAYOUTS, indirect=True)


@every_set
def test_splits_have_their_sizes_and_share_no_group_and_no_name(made):
    name, root = made
    splits = [load_split(name, root, split) for split in SPLITS]
    assert tuple(len(split) for split in splits) == COUNTS[name]
    for key in ("group", "name"):
        sides = [{getattr(case, key) for case in split} for split in splits]
        assert sum(len(side) for side in sides) == len(set.union(*sides))


@every_layout
def test_the_mask_is_read_right_whatever_its_format(made):
    name, root = made
    labels = CATALOG[name].labels or Labels(kind="one_class", classes={"thing": (1,)})
    item = LoadedCases(load_split(name, root, "train"), Reading(labels, 3, Intensity()))[0]
    np.testing.assert_array_equal(item["y0"][0].numpy(), MASK)
    assert item["image"].shape == (3, *SHAPE)
    # The image shows its mask in the same place.
    assert (item["image"][0].numpy() > 0.3)[MASK].all()
    assert (item["image"][0].numpy() < 0.3)[~MASK].all()
    assert item["field_of_view"].min() == 1


@every_layout
def test_validation_follows_the_seed(made):
    name, root = made
    draws = [
        tuple(load_split(name, root, "validation", splitting=Splitting(seed=seed)))
        for seed in (0, 0, 1, 2)
    ]
    assert draws[0] == draws[1]
    assert len(set(draws)) == (1 if name == "kvasir_seg" else 3)


def test_a_childs_two_eyes_stay_together(tmp_path):
    chase_db1(tmp_path)
    for split in SPLITS:
        cases = load_split("chase_db1", tmp_path, split)
        assert len({case.group for case in cases}) == len(cases) / 2
    test = load_split("chase_db1", tmp_path, "test")
    assert {case.group for case in test} == {"Image_11", "Image_12", "Image_13", "Image_14"}


def test_a_split_drawn_anew_takes_the_place_of_the_usual_one(tmp_path):
    chase_db1(tmp_path)
    half = [Splitting(redraw=True, fractions=(0.4, 0.1, 0.5), seed=seed) for seed in (0, 1)]
    splits = [load_split("chase_db1", tmp_path, split, splitting=half[0]) for split in SPLITS]
    assert [len({case.group for case in split}) for split in splits] == [6, 1, 7]
    assert len({case.name for split in splits for case in split}) == 28
    others = load_split("chase_db1", tmp_path, "test", splitting=half[1])
    assert {case.group for case in others} != {case.group for case in splits[-1]}


def test_a_data_set_can_be_judged_as_a_whole(tmp_path):
    drive(tmp_path)
    whole = Splitting(redraw=True, fractions=(0, 0, 1))
    assert len(load_split("drive", tmp_path, "test", splitting=whole)) == 40
    with pytest.raises(MissingSplit, match=r"the split train of .* is empty"):
        load_split("drive", tmp_path, "train", splitting=whole)


def test_all_of_an_nnunet_set_is_drawn_anew(tmp_path):
    root = write_nnunet(tmp_path, shapes=((4, 4, 1),) * 4)
    write_nnunet(root, part="Ts", shapes=((4, 4, 1),) * 2)
    whole = Splitting(redraw=True, fractions=(0, 0, 1))
    assert len(load_split("nnunet", root, "test", splitting=whole)) == 6


def test_a_wrong_folder_is_said_however_it_is_split(tmp_path):
    with pytest.raises(DataError, match=r"no folder at .*training"):
        load_split("drive", tmp_path, "test", splitting=Splitting(redraw=True))


def test_a_fold_of_a_split_drawn_anew(tmp_path):
    drive(tmp_path)
    fold = Splitting(redraw=True, fractions=(0.5, 0.25, 0.25), folds=3, fold=1)
    train, validation, test = (
        {case.name for case in load_split("drive", tmp_path, split, splitting=fold)}
        for split in SPLITS
    )
    assert (len(train), len(validation), len(test)) == (20, 10, 10)
    assert len(train | validation | test) == 40


def test_drives_test_split_is_the_official_one(tmp_path):
    drive(tmp_path)
    names = [case.name for case in load_split("drive", tmp_path, "test")]
    assert names == [f"{i:02d}" for i in range(1, 21)]


def test_a_folders_patients_stay_together(tmp_path):
    folder(tmp_path)
    splitting = Splitting(group=r"^(patient\d+)_", fractions=(0.6, 0.2, 0.2))
    splits = [load_split("folder", tmp_path, split, splitting=splitting) for split in SPLITS]
    assert [len(split) for split in splits] == [6, 2, 2]
    patients = [{case.name.split("_")[0] for case in split} for split in splits]
    assert [len(names) for names in patients] == [3, 1, 1]
    assert set.union(*patients) == {f"patient{number}" for number in range(5)}


def test_a_folders_lists_are_followed(tmp_path):
    folder(tmp_path)
    (tmp_path / "train.txt").write_text("patient0_1\npatient0_0\n")
    names = [case.name for case in load_split("folder", tmp_path, "train")]
    assert names == ["patient0_0", "patient0_1"]
    with pytest.raises(DataError, match=r"the split test of .* is empty.*test\.txt"):
        load_split("folder", tmp_path, "test")


@pytest.mark.parametrize("where", ["images", "masks"])
def test_a_file_without_its_partner_is_named(tmp_path, where):
    folder(tmp_path)
    next((tmp_path / where).glob("patient3_6.png")).unlink()
    with pytest.raises(DataError, match=r"no partner in .*: patient3_6\.png"):
        load_split("folder", tmp_path, "train")


def test_two_files_for_one_case_are_refused(tmp_path):
    folder(tmp_path)
    write(tmp_path / "images" / "patient0_0.jpg", picture(0))
    with pytest.raises(DataError, match=r"both patient0_0\.jpg and patient0_0\.png"):
        load_split("folder", tmp_path, "train")


@every_layout
def test_a_missing_folder_is_named(made):
    name, root = made
    with pytest.raises(DataError, match=r"no folder at .*gone.*Download it"):
        load_split(name, root / "gone", "train")
    with pytest.raises(DataError, match=r"no folder at .*Check the path"):
        load_split(name, root.parent, "train")


def test_an_incomplete_chase_is_refused(tmp_path):
    chase_db1(tmp_path)
    for file in tmp_path.rglob("Image_05L*"):
        file.unlink()
    with pytest.raises(DataError, match="holds 27 images, but CHASE_DB1 has 28"):
        load_split("chase_db1", tmp_path, "train")


def test_an_unknown_name_lists_those_that_exist(tmp_path):
    with pytest.raises(DataError, match=r"'drvie' is not known.*drive, chase_db1"):
        load_split("drvie", tmp_path, "train")
    with pytest.raises(DataError, match=r"'val' is not known: use one of train, validation"):
        load_split("drive", tmp_path, "val")


REAL = {
    "drive": ("DRIVE", (16, 4, 20), (3, 584, 565), (0.05, 0.15)),
    "chase_db1": ("CHASE_DB1", (16, 4, 8), (3, 960, 999), (0.03, 0.12)),
    "kvasir_seg": ("Kvasir-SEG_352", (800, 100, 100), (3, 352, 352), (0.01, 0.9)),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_read_as_published(data_root, name):
    folder, counts, shape, foreground = REAL[name]
    if not (data_root / folder).is_dir():
        pytest.skip(f"{folder} is not in {data_root}")
    splits = [load_split(name, data_root / folder, split) for split in SPLITS]
    assert tuple(len(split) for split in splits) == counts
    entry = CATALOG[name]
    assert entry.labels and entry.channels
    cases = [split[0] for split in splits]
    for item in LoadedCases(cases, Reading(entry.labels, entry.channels, Intensity()), cache=False):
        assert tuple(item["image"].shape) == shape
        assert foreground[0] < item["y0"].mean() < foreground[1]
        inside = item["field_of_view"].bool()
        assert (inside.float().mean() < 1) == (name != "kvasir_seg")
        if name != "kvasir_seg":
            # Vessels are darker than what is around them, in green, and lie inside the eye.
            green, vessel = item["image"][1], item["y0"][0].bool()
            assert green[vessel].mean() < green[inside[0] & ~vessel].mean()
            assert item["y0"][~inside].mean() < 0.01


def test_the_brains_splits_are_its_lists(tmp_path):
    pytest.importorskip("nilearn", reason="the extra demo is not installed")
    root = tmp_path / "brain"
    splits = [load_split("brain", root, split) for split in SPLITS]
    assert [len(split) for split in splits] == [30, 10, 10]
    item = LoadedCases(splits[0], Reading(BRAIN_LABELS, 1, Intensity()))[0]
    assert (item["y0"].sum(dim=0) == 1).all()
