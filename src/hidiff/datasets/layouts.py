"""The layouts of data sets' folders: a function each, from files to the cases of a split."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hidiff.datasets.case import Case, MissingSplit
from hidiff.datasets.channels import join_channels
from hidiff.datasets.find import (
    find_files,
    find_folders,
    find_images,
    find_masks,
    find_part,
    pair,
)
from hidiff.datasets.sets.brain import SLAB
from hidiff.datasets.sets.clinicdb import group_frames
from hidiff.datasets.sets.lidc import LIDC_PATIENT
from hidiff.datasets.sets.listed import list_listed
from hidiff.datasets.sets.msd import list_msd
from hidiff.datasets.sets.nnunet import list_nnunet
from hidiff.datasets.sets.synapse import SYNAPSE_PATIENT
from hidiff.datasets.splits import Split, Splitting, hold_out, read_lists, split_by_group
from hidiff.images.files import DataError
from hidiff.images.sequences import BRATS, BRATS_2023, MS_LESIONS

LGG_PATIENT = r"^(TCGA_[A-Z]+_\w+?)_\d{8}_\d+$"
Layout = Callable[[Path, Split, Splitting], list[Case]]


def list_drive(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List DRIVE by its official training/ and test/; validation is held out of training.

    Masks are the first observer's.
    """
    part = "test" if split == "test" else "training"
    folder = find_part(root, part)
    if split == "test" and not (folder / "1st_manual").is_dir():
        raise MissingSplit(
            f"{folder} has no 1st_manual/: the masks of the test images are missing, as in DRIVE's "
            "current release. Training and validation do without; to evaluate, add the masks, or "
            "hold cases out of training (hidiff evaluate RUN --split validation)."
        )
    images = find_files(folder / "images", rf"(\d+)_{part}")
    masks = find_files(folder / "1st_manual", r"(\d+)_manual1")
    fields = find_files(folder / "mask", rf"(\d+)_{part}_mask")
    cases = pair(images, masks, fields, group_of=str)
    return cases if split == "test" else _hold_out(cases, split, splitting, 4)


def list_chase_db1(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List CHASE_DB1: the first 20 train, the last 8 test; a child's two eyes stay together."""
    images = find_files(root / "images", r"(Image_\d+[LR])")
    masks = find_files(root / "1st_manual", r"(Image_\d+[LR])_1stHO")
    fields = find_files(root / "mask", r"(Image_\d+[LR])") if (root / "mask").is_dir() else None
    cases = pair(images, masks, fields, group_of=lambda key: key[:-1])
    if len(cases) != 28:
        raise DataError(
            f"{root} holds {len(cases)} images, but CHASE_DB1 has 28, and its split counts on "
            "them all. Copy the missing files."
        )
    return cases[20:] if split == "test" else _hold_out(cases[:20], split, splitting, 4)


def list_kvasir_seg(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List images/ and masks/ as published, or both in each of train/, validation/ and test/."""
    if (root / "images").is_dir():
        return list_folder(root, split, splitting)
    folder = find_part(root, split)
    images = find_files(folder / "images", "(.+)")
    masks = find_files(folder / "masks", "(.+)")
    return [
        Case(f"{split}_{case.name}", case.image, case.mask, None, f"{split}_{case.group}")
        for case in pair(images, masks, None, group_of=str)
    ]


def list_cvc_clinicdb(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List Original/ and Ground Truth/ of the TIFF or the PNG release; groups are sequences."""
    inner = next((root / name for name in ("PNG", "TIF") if (root / name).is_dir()), root)
    images = find_files(inner / "Original", r"(\d+)")
    masks = find_files(inner / "Ground Truth", r"(\d+)")
    sequences = group_frames(root, [int(key) for key in images])
    cases = pair(images, masks, None, group_of=lambda key: sequences[int(key)])
    return _share_out(root, cases, splitting)[split]


def list_folder(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List images/, masks/ and perhaps fields_of_view/ by stem; split by lists, else by seed."""
    images = find_images(root / "images")
    masks = find_masks(root / "masks")
    images = join_channels(images, masks)
    has_fields = (root / "fields_of_view").is_dir()
    fields = find_images(root / "fields_of_view") if has_fields else None
    cases = pair(images, masks, fields, group_of=splitting.group_of)
    return _share_out(root, cases, splitting)[split]


def list_cases_file(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List the files, the patient and the split of every case as cases.json names them."""
    return list_listed(root)[split]


def list_nnunet_split(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List nnU-Net's folders.

    imagesTs/ with labelsTs/ is the test set; the rest is split by lists or by seed.
    """
    cases = list_nnunet(root, "Tr", splitting.group_of)
    if read_lists(root, cases) is not None or not (root / "labelsTs").is_dir():
        return _share_out(root, cases, splitting)[split]
    if split == "test":
        return list_nnunet(root, "Ts", splitting.group_of)
    train, validation, _ = splitting.fractions
    shares = (train / (train + validation), validation / (train + validation), 0.0)
    return split_by_group(cases, shares, splitting.seed)[split]


def list_msd_split(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List the cases under "training" in dataset.json, shared out by lists, or by seed."""
    return _share_out(root, list_msd(root, splitting.group_of), splitting)[split]


def list_acdc(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List ACDC: patients 1 to 70 train, 71 to 80 validate, 81 to 100 test."""
    cases = list_nnunet(root, "Tr", group_of=lambda name: name.partition("_")[0], has_spacing=False)
    first, last = {"train": (1, 70), "validation": (71, 80), "test": (81, 100)}[split]
    return [case for case in cases if first <= int(case.group.removeprefix("patient")) <= last]


def list_lidc(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List a folder with lists, whose groups are the patients."""
    return list_folder(root, split, splitting.model_copy(update={"group": LIDC_PATIENT}))


def list_brain(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List a folder with lists, whose groups are the slabs."""
    return list_folder(root, split, splitting.model_copy(update={"group": SLAB}))


def list_synapse(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List Synapse.

    The folders images/ and masks/ hold training slices, test/ holds volumes of other patients.
    """
    cases = _list_synapse(root, root / "test", split, splitting)
    return [replace(case, has_spacing=False) for case in cases] if split == "test" else cases


def list_synapse_257(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List train/images/ and train/masks/ with slices, and test/ with volumes in mm."""
    return _list_synapse(root / "train", root / "test", split, splitting)


def _list_synapse(train: Path, test: Path, split: Split, splitting: Splitting) -> list[Case]:
    if split == "test":
        folder = find_part(test.parent, test.name)
        images, masks = (find_images(folder / kind) for kind in ("images", "masks"))
        return pair(images, masks, None, group_of=str)
    images, masks = (find_files(train / kind, "(.+)") for kind in ("images", "masks"))
    patient_of = splitting.model_copy(update={"group": SYNAPSE_PATIENT}).group_of
    cases = pair(images, masks, None, group_of=patient_of)
    return _hold_out(cases, split, splitting, max(1, len(cases) // 10))


def list_lgg(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List images/ and masks/ by patient; a patient's name begins with the site."""
    return list_folder(root, split, splitting.model_copy(update={"group": LGG_PATIENT}))


def list_brats(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List a folder for each scan: BraTS2021_00000/BraTS2021_00000_t1.nii.gz and so on.

    BraTS 2023 and later call them BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1n.nii.gz, where the
    last number counts the scans of one patient.
    """
    cases = []
    for place in find_folders(root, r"BraTS.*\d"):
        later = re.fullmatch(r"(BraTS-\w+-\d+)-\d+", place.name)
        patient = later.group(1) if later else place.name
        stems = [place.name + ending for ending in (BRATS_2023 if later else BRATS)]
        cases.append(_case_of(place, stems, place.name, patient))
    return _share_out(root, cases, splitting)[split]


def list_brats_slices(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List training/000001/brats_train_001_t1_080_w.nii.gz and so on: 2-D, all of one patient."""
    cases = []
    for place in find_folders(root / "training", r"\d+") if split == "train" else ():
        parts = [stem.split("_") for stem in find_images(place)]
        patient, number = (parts[0][2], parts[0][4]) if len(parts[0]) == 6 else ("", "")
        stems = [f"brats_train_{patient}{name}_{number}_w" for name in BRATS]
        cases.append(_case_of(place, stems, f"{patient}_{number}", patient))
    return cases


def list_ms_lesions(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """List patient07/t1.nii.gz and so on: one folder for each patient."""
    places = find_folders(root, r"patient\d+")
    cases = [_case_of(place, MS_LESIONS, place.name, place.name) for place in places]
    return _share_out(root, cases, splitting)[split]


def _case_of(place: Path, stems: Sequence[str], name: str, group: str) -> Case:
    """Make a case of the files with these stems: its channels, then its mask."""
    found = find_images(place)
    missing = [f"{stem}.nii.gz" for stem in stems if stem not in found]
    if missing:
        raise DataError(
            f"{place} holds no {', '.join(missing)}, but {', '.join(stems)} are wanted. Add what "
            "is missing, or take the folder out."
        )
    *channels, mask = (found[stem] for stem in stems)
    return Case(name, tuple(channels), mask, None, group)


def _share_out(root: Path, cases: Sequence[Case], splitting: Splitting) -> dict[Split, list[Case]]:
    """Split by the lists in the folder, else by the seed."""
    splits = read_lists(root, cases)
    if splits is None:
        splits = split_by_group(splitting.select(cases), splitting.fractions, splitting.seed)
    return splits


def _hold_out(cases: list[Case], split: Split, splitting: Splitting, usual: int) -> list[Case]:
    """Train or validation, where the data set has no split between the two."""
    count = usual if splitting.validation_cases is None else splitting.validation_cases
    kept, held = hold_out(cases, count, splitting.seed)
    return held if split == "validation" else kept
