"""Every official layout, on tiny files like its publisher's: who is where, and what is seen."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hidiff.datasets import CATALOG, PREPARERS, MissingSplit, Splitting, load_split, prepare
from hidiff.datasets.sets.clinicdb import group_frames
from hidiff.datasets.splits import SPLITS
from hidiff.images import DataError, read_geometry, read_mask
from hidiff.loading import LoadedCases, Reading
from tests import official

LAYOUTS = {
    "synapse": ("synapse", official.synapse),
    "synapse_257": ("synapse_257", official.synapse_257),
    "brats": ("brats", official.brats),
    "kvasir_seg": ("kvasir_seg", official.kvasir_seg),
    "cvc_tiff": ("cvc_clinicdb", official.cvc_tiff),
    "cvc_png": ("cvc_clinicdb", official.cvc_png),
    "lidc": ("lidc", official.lidc),
    "lgg_flair": ("lgg_flair", official.lgg_flair),
    "ms_lesions": ("ms_lesions", official.ms_lesions),
}
# Synapse holds out 200 slices, which is more than the tiny set has.
SPLITTING = Splitting(validation_cases=2)


@pytest.fixture(scope="module", params=LAYOUTS)
def made(request, tmp_path_factory):
    """The data set's name, and its folder: prepared, where its download is not read as it is."""
    name, write = LAYOUTS[request.param]
    folder = tmp_path_factory.mktemp(name)
    write(folder / "download")
    if name not in PREPARERS:
        return name, folder / "download"
    return name, prepare(name, folder / "download", folder / "ready").folder


def load(name, root, split):
    return load_split(name, root, split, splitting=SPLITTING)


def test_splits_share_no_group_and_leave_none_out(made):
    name, root = made
    splits = [load(name, root, split) for split in SPLITS]
    for key in ("group", "name"):
        sides = [{getattr(case, key) for case in split} for split in splits]
        assert all(sides)
        assert sum(len(side) for side in sides) == len(set.union(*sides))


def test_the_masks_lie_where_the_images_show_them(made):
    name, root = made
    entry = CATALOG[name]
    for split in SPLITS:
        case = load(name, root, split)[0]
        items = LoadedCases([case], Reading(entry.labels, entry.channels, entry.intensity))
        item = items[0] if name in ("synapse", "lgg_flair") else items[len(items) // 2]
        assert item["image"].shape[0] == entry.channels
        assert item["y0"].shape[0] == entry.labels.num_planes
        classes = item["y0"][entry.labels.class_planes].bool().any(dim=0)
        assert classes.any()
        bright = item["image"].amax(dim=0)
        assert bright[classes].min() > bright[~classes].median()


def test_folds_take_turns_and_leave_the_test_split_alone(made):
    name, root = made
    test = load(name, root, "test")
    validated = []
    for fold in range(3):
        splitting = SPLITTING.model_copy(update={"fold": fold, "folds": 3})
        sides = {split: load_split(name, root, split, splitting=splitting) for split in SPLITS}
        assert sides["test"] == test
        groups = [{case.group for case in sides[split]} for split in SPLITS]
        assert not groups[0] & groups[1]
        validated += [case.name for case in sides["validation"]]
    whole = [case.name for split in SPLITS[:2] for case in load(name, root, split)]
    assert sorted(validated) == sorted(whole)


def test_a_missing_sequence_is_named(tmp_path):
    official.brats(tmp_path)
    (tmp_path / "BraTS2021_00003" / "BraTS2021_00003_t2.nii.gz").unlink()
    with pytest.raises(DataError, match=r"BraTS2021_00003 holds no BraTS2021_00003_t2\.nii\.gz"):
        load("brats", tmp_path, "train")
    (tmp_path / "BraTS2021_00003" / "BraTS2021_00003_seg.nii.gz").unlink()
    with pytest.raises(DataError, match=r"_t2\.nii\.gz, BraTS2021_00003_seg\.nii\.gz, but"):
        load("brats", tmp_path, "train")


def test_names_of_brats_2023_are_read_and_scans_of_a_patient_stay_together(tmp_path):
    for patient in range(5):
        for scan in range(2):
            name = f"BraTS-GLI-{patient:05d}-{scan:03d}"
            for kind in ("t1n", "t1c", "t2w", "t2f", "seg"):
                values = np.arange(32, dtype=np.uint8).reshape(4, 4, 2) % 4
                official.write_volume(tmp_path / name / f"{name}-{kind}.nii.gz", values)
    cases = [case for split in SPLITS for case in load("brats2023", tmp_path, split)]
    assert len(cases) == 10
    for case in cases:
        kinds = [Path(file).name.removeprefix(f"{case.name}-") for file in case.image]
        assert kinds == ["t1n.nii.gz", "t1c.nii.gz", "t2w.nii.gz", "t2f.nii.gz"]
        assert Path(case.masks[0]).name == f"{case.name}-seg.nii.gz"
    mask = read_mask(cases[0].masks[0], read_geometry(cases[0].image), cases[0].image)
    planes = CATALOG["brats2023"].labels.encode_bool(mask)
    np.testing.assert_array_equal(planes.argmax(axis=0), mask)  # enhancing is 3
    with pytest.raises(ValueError, match="values 3"):
        CATALOG["brats"].labels.encode_bool(mask)  # of 2021, where it is 4
    groups = [{case.group for case in load("brats2023", tmp_path, split)} for split in SPLITS]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 5
    (tmp_path / "BraTS-GLI-00003-001" / "BraTS-GLI-00003-001-t2f.nii.gz").unlink()
    with pytest.raises(DataError, match=r"holds no BraTS-GLI-00003-001-t2f\.nii\.gz"):
        load("brats2023", tmp_path, "train")


def test_the_frames_of_a_sequence_stay_together(tmp_path):
    official.cvc_tiff(tmp_path)
    groups = {}
    for split in SPLITS:
        for case in load("cvc_clinicdb", tmp_path, split):
            groups[int(case.name)] = case.group
    assert {groups[frame] for frame in (1, 5, 25)} == {"sequence-01"}
    assert {groups[frame] for frame in (29, 49)} == {"sequence-02"}
    (tmp_path / "sequences.txt").write_text("1-49\n50-80\n\n81-200\n")
    splits = [load("cvc_clinicdb", tmp_path, split) for split in SPLITS]
    assert sorted(len(split) for split in splits) == [7, 8, 13]


def test_the_publishers_table_gives_612_frames_to_29_sequences(tmp_path):
    frames = range(1, 613)
    groups = group_frames(tmp_path, list(frames))
    assert [groups[frame] for frame in frames] == sorted(groups.values())  # no sequence returns
    assert len(set(groups.values())) == 29
    assert (groups[199], groups[200], groups[205], groups[206]) == (
        "sequence-09",
        "sequence-10",
        "sequence-10",
        "sequence-11",
    )
    with pytest.raises(DataError, match="frame 613 is in 0 sequences of the publisher's table"):
        group_frames(tmp_path, [613])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1-25\n", r"is in 0 sequences of .*sequences\.txt"),
        ("1-200\n3-7\n", "frame 5 is in 2 sequences"),
        ("a", "the line 'a', but each line must be a range"),
    ],
)
def test_a_wrong_table_of_sequences_is_refused(tmp_path, text, message):
    official.cvc_tiff(tmp_path)
    (tmp_path / "sequences.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        load("cvc_clinicdb", tmp_path, "train")


def test_slices_of_one_patient_are_all_for_training(tmp_path):
    official.brats_slices(tmp_path)
    cases = load("brats_slices", tmp_path, "train")
    assert [case.name for case in cases] == ["001_080", "001_081", "001_082"]
    assert {case.group for case in cases} == {"001"}
    entry = CATALOG["brats_slices"]
    loaded = LoadedCases(cases, Reading(entry.labels, 4, entry.intensity))
    assert len(loaded) == 3
    assert loaded[0]["y0"][3].sum() == 1
    with pytest.raises(DataError, match=r"split test .* is empty"):
        load("brats_slices", tmp_path, "test")


def test_slices_and_volumes_of_synapse_257_lie_alike(tmp_path):
    official.synapse_257(tmp_path)
    entry = CATALOG["synapse_257"]
    reading = Reading(entry.labels, entry.channels, entry.intensity)
    slices, volumes = (
        LoadedCases(load("synapse_257", tmp_path, split), reading) for split in ("train", "test")
    )
    for name in ("image", "y0"):
        np.testing.assert_array_equal(slices[0][name].numpy(), volumes[0][name].numpy())
    assert all(case.has_spacing for case in load("synapse_257", tmp_path, "test"))


def test_patients_of_one_clinic_can_be_chosen(tmp_path):
    official.lgg_flair(tmp_path)
    home = SPLITTING.model_copy(update={"only": "^TCGA_CS"})
    whole = {"redraw": True, "fractions": (0.0, 0.0, 1.0)}
    elsewhere = SPLITTING.model_copy(update={"only": "^TCGA_HT", **whole})
    ours = [
        case
        for split in SPLITS
        for case in load_split("lgg_flair", tmp_path, split, splitting=home)
    ]
    theirs = load_split("lgg_flair", tmp_path, "test", splitting=elsewhere)
    assert len(ours) == len(theirs) == 10
    assert {case.group for case in ours} == {f"TCGA_CS_A{patient}B" for patient in range(5)}
    assert {case.group for case in theirs} == {f"TCGA_HT_A{patient}B" for patient in range(5)}
    nobody = SPLITTING.model_copy(update={"only": "^TCGA_XX"})
    message = r"splitting\.only '\^TCGA_XX' finds none of 10 patients \(TCGA_.*Change it"
    with pytest.raises(DataError, match=message):
        load_split("lgg_flair", tmp_path, "train", splitting=nobody)
    with pytest.raises(ValueError, match=r"only '\(' is no regular expression"):
        Splitting(only="(")


def test_a_folder_a_rater_gives_several_masks(tmp_path):
    for rater in ("anna", "ben"):
        for number in range(3):
            mask = official.MASK.astype(np.uint8)
            official.write_picture(tmp_path / "masks" / rater / f"{number}.png", mask)
    for number in range(3):
        official.write_picture(tmp_path / "images" / f"{number}.png", official.picture(number))
    (case, *_) = load("folder", tmp_path, "train")
    assert [mask.parent.name for mask in case.masks] == ["anna", "ben"]
    (tmp_path / "masks" / "ben" / "1.png").unlink()
    with pytest.raises(DataError, match=r"no partner in .*ben: 1\.png"):
        load("folder", tmp_path, "train")


REAL = {
    "brats_slices": ("BraTS_slices", "train", 6),
    "ms_lesions": ("MS_lesions", None, 2),
}


@pytest.mark.parametrize("name", REAL)
def test_real_volumes_are_found(data_root, name):
    folder, split, count = REAL[name]
    if not (data_root / folder).is_dir():
        pytest.skip(f"{folder} is not in {data_root}")
    shares = Splitting(fractions=(1, 0, 0))
    cases = CATALOG[name].list_cases(data_root / folder, split or "train", shares)
    assert len(cases) == count
    assert all(len(case.image) == 4 for case in cases)


def test_drive_without_test_masks_trains_and_validates_and_says_what_is_missing(tmp_path):
    names = {"training": range(21, 41), "test": range(1, 21)}
    for part, numbers in names.items():
        for number in numbers:
            stem = f"{number:02d}"
            for file in (
                f"images/{stem}_{part}.tif",
                f"1st_manual/{stem}_manual1.gif",
                f"mask/{stem}_{part}_mask.gif",
            ):
                (tmp_path / part / file).parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (8, 8), 255).save(tmp_path / part / file)
    assert len(load("drive", tmp_path, "test")) == 20
    whole = {split: load("drive", tmp_path, split) for split in ("train", "validation")}
    shutil.rmtree(tmp_path / "test" / "1st_manual")
    assert {split: load("drive", tmp_path, split) for split in whole} == whole
    with pytest.raises(MissingSplit, match="the masks of the test images are missing"):
        load("drive", tmp_path, "test")
