"""The data sets we know by name: where their files lie, what they hold, who split them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hidiff.data.brain import BRAIN_LABELS, SLAB, write_brain
from hidiff.data.case import Case, DataError
from hidiff.data.read import ARRAYS, PICTURES
from hidiff.data.splits import SPLITS, Split, Splitting, hold_out, read_lists, split_by_group
from hidiff.data.synthetic import SYNTHETIC_LABELS, write_synthetic
from hidiff.labels import Labels

DEFAULT_SPLITTING = Splitting()


@dataclass(frozen=True)
class CatalogEntry:
    """One data set. Labels and channels are None where only the user knows them."""

    title: str
    modality: str
    labels: Labels | None
    channels: int | None
    has_field_of_view: bool
    terms: str
    citation: str
    list_cases: Callable[[Path, Split, Splitting], list[Case]]


def load_split(
    name: str, root: Path | str, split: Split | str, *, splitting: Splitting = DEFAULT_SPLITTING
) -> list[Case]:
    """The cases of one split of a data set, sorted by name.

    `root` is the data set's own folder. The sets we make ourselves (brain, synthetic) are written
    there when it is missing or empty.
    """
    if name not in CATALOG:
        raise DataError(
            f"data set {name!r} is not known, but one of {', '.join(CATALOG)} is wanted. "
            "For your own images use folder."
        )
    if split not in SPLITS:
        raise DataError(f"split {split!r} is not known: use one of {', '.join(SPLITS)}.")
    root = Path(root)
    if name in WRITERS and not (root.is_dir() and any(root.iterdir())):
        WRITERS[name](root)
    if not root.is_dir():
        raise DataError(
            f"no folder at {root.absolute()}, but {CATALOG[name].title} is wanted there. "
            "Download it from its publisher (its terms are in the catalog), or mend the path."
        )
    cases = CATALOG[name].list_cases(root, split, splitting)
    if not cases:
        raise DataError(
            f"the split {split} of {root} is empty. Check splitting.fractions or "
            f"splitting.validation_cases, or list its cases in {split}.txt (data set folder)."
        )
    return sorted(cases, key=lambda case: case.name)


def _drive(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """training/ and test/ are official; validation is held out of training. First observer."""
    part = "test" if split == "test" else "training"
    images = find_files(root / part / "images", rf"(\d+)_{part}")
    masks = find_files(root / part / "1st_manual", r"(\d+)_manual1")
    fields = find_files(root / part / "mask", rf"(\d+)_{part}_mask")
    cases = pair(images, masks, fields, group_of=str)
    return cases if split == "test" else _hold_out(cases, split, splitting)


def _chase_db1(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """The usual split: the first 20 train, the last 8 test; a child's two eyes stay together."""
    images = find_files(root / "images", r"(Image_\d+[LR])")
    masks = find_files(root / "1st_manual", r"(Image_\d+[LR])_1stHO")
    fields = find_files(root / "mask", r"(Image_\d+[LR])") if (root / "mask").is_dir() else None
    cases = pair(images, masks, fields, group_of=lambda key: key[:-1])
    if len(cases) != 28:
        raise DataError(
            f"{root} holds {len(cases)} images, but CHASE_DB1 has 28, and its split counts on "
            "them all. Copy the missing files."
        )
    return cases[20:] if split == "test" else _hold_out(cases[:20], split, splitting)


def _kvasir_seg(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """train/, validation/ and test/, each with images/ and masks/; names begin with the split."""
    images = find_files(root / split / "images", "(.+)")
    masks = find_files(root / split / "masks", "(.+)")
    return [
        Case(f"{split}_{case.name}", case.image, case.mask, None, f"{split}_{case.group}")
        for case in pair(images, masks, None, group_of=str)
    ]


def _folder(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """images/, masks/, perhaps fields_of_view/, matched by stem; split by lists, else by seed."""
    images = find_files(root / "images", "(.+)")
    masks = find_files(root / "masks", "(.+)")
    has_fields = (root / "fields_of_view").is_dir()
    fields = find_files(root / "fields_of_view", "(.+)") if has_fields else None
    cases = pair(images, masks, fields, group_of=splitting.group_of)
    splits = read_lists(root, cases)
    if splits is None:
        splits = split_by_group(cases, splitting.fractions, splitting.seed)
    return splits[split]


def _brain(root: Path, split: Split, splitting: Splitting) -> list[Case]:
    """A folder with lists, whose groups are the slabs."""
    return _folder(root, split, splitting.model_copy(update={"group": SLAB}))


def find_files(folder: Path, pattern: str) -> dict[str, Path]:
    """Image and array files of a folder, by the (key) that the pattern finds in their stem.

    Hidden files and those of other kinds are passed over.
    """
    if not folder.is_dir():
        raise DataError(
            f"no folder at {folder.absolute()}. Check the path: it must lead to the data set's "
            "own folder, unpacked as its publisher packed it."
        )
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        match = re.fullmatch(pattern, file.stem)
        if file.name.startswith(".") or file.suffix.lower() not in PICTURES + ARRAYS or not match:
            continue
        key = match.group(1)
        if key in found:
            raise DataError(
                f"{folder} holds both {found[key].name} and {file.name}, but one of them is "
                "wanted. Take one out."
            )
        found[key] = file
    if not found:
        raise DataError(f"{folder} holds no image of a name like {pattern}. Check the path.")
    return found


def pair(
    images: dict[str, Path],
    masks: dict[str, Path],
    fields: dict[str, Path] | None,
    *,
    group_of: Callable[[str], str],
) -> list[Case]:
    """Cases by key; a file without its partner is an error that names it."""
    _check_same_keys(images, masks)
    if fields is not None:
        _check_same_keys(images, fields)
    return [
        Case(
            name=key,
            image=images[key],
            mask=masks[key],
            field_of_view=None if fields is None else fields[key],
            group=group_of(key),
        )
        for key in sorted(images)
    ]


def _check_same_keys(images: dict[str, Path], partners: dict[str, Path]) -> None:
    ours, theirs = next(iter(images.values())).parent, next(iter(partners.values())).parent
    for left, right, where in ((images, partners, theirs), (partners, images, ours)):
        alone = [left[key] for key in sorted(left.keys() - right.keys())]
        if alone:
            names = ", ".join(file.name for file in alone[:5]) + (", ..." if alone[5:] else "")
            raise DataError(
                f"{len(alone)} files of {alone[0].parent} have no partner in {where}: {names}. "
                "Add the missing ones, or take these out."
            )


def _hold_out(cases: list[Case], split: Split, splitting: Splitting) -> list[Case]:
    count = 4 if splitting.validation_cases is None else splitting.validation_cases
    kept, held = hold_out(cases, count, splitting.seed)
    return held if split == "validation" else kept


# Data sets that are made here, at the folder that is asked for.
WRITERS: dict[str, Callable[[Path], None]] = {
    "brain": write_brain,
    "synthetic": write_synthetic,
}

_VESSEL = Labels(kind="one_class", classes={"vessel": (1, 255)})

CATALOG: dict[str, CatalogEntry] = {
    "drive": CatalogEntry(
        title="DRIVE",
        modality="retinal photograph",
        labels=_VESSEL,
        channels=3,
        has_field_of_view=True,
        terms="research",
        citation="Staal et al., Ridge-based vessel segmentation in color images of the retina, "
        "IEEE Transactions on Medical Imaging 23(4), 2004",
        list_cases=_drive,
    ),
    "chase_db1": CatalogEntry(
        title="CHASE_DB1",
        modality="retinal photograph",
        labels=_VESSEL,
        channels=3,
        has_field_of_view=True,
        terms="CC BY 4.0",
        citation="Fraz et al., An ensemble classification-based approach applied to retinal blood "
        "vessel segmentation, IEEE Transactions on Biomedical Engineering 59(9), 2012",
        list_cases=_chase_db1,
    ),
    "kvasir_seg": CatalogEntry(
        title="Kvasir-SEG",
        modality="endoscopy",
        labels=Labels(kind="one_class", classes={"polyp": (255,)}, threshold=127),
        channels=3,
        has_field_of_view=False,
        terms="research and education",
        citation="Jha et al., Kvasir-SEG: a segmented polyp dataset, MultiMedia Modeling 2020",
        list_cases=_kvasir_seg,
    ),
    "folder": CatalogEntry(
        title="a folder of images and masks",
        modality="any",
        labels=None,
        channels=None,
        has_field_of_view=False,
        terms="yours",
        citation="",
        list_cases=_folder,
    ),
    "brain": CatalogEntry(
        title="slices of the MNI152 brain, out of nilearn's wheel",
        modality="MRI, T1",
        labels=BRAIN_LABELS,
        channels=1,
        has_field_of_view=False,
        terms="ICBM 152: free to use, copy and distribute with its copyright notice",
        citation="Fonov et al., Unbiased average age-appropriate atlases for pediatric studies, "
        "NeuroImage 54(1), 2011",
        list_cases=_brain,
    ),
    "synthetic": CatalogEntry(
        title="drawn curves and discs",
        modality="drawing",
        labels=SYNTHETIC_LABELS["one_class"],
        channels=3,
        has_field_of_view=False,
        terms="none",
        citation="",
        list_cases=_folder,
    ),
}
