"""LIDC: crops of lung nodules in CT, each outlined by four radiologists; one archive to a folder.

The crops of 128x128 come in one npz: `image` (uint8), `mask_packed` (np.packbits of four masks a
crop, on the last axis) and `ids` (patient, nodule, slice). Which radiologist is the first differs
from scan to scan: the numbers of the raters mean nothing.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from hidiff.datasets.case import Case
from hidiff.datasets.sets.synthetic import write_lists
from hidiff.datasets.splits import SPLITS, split_by_group
from hidiff.images.files import DataError

LIDC_FILE = "nodules_4raters.npz"
LIDC_PATIENT = r"^(patient-\d+)"
_SHARES = (0.7, 0.1, 0.2)
_SEED = 0  # of the patients' order


def write_lidc(source: Path, folder: Path) -> None:
    """Write images/, masks/rater-1/ to rater-4/, and lists of 70, 10 and 20 % of the patients."""
    image, raters, ids = read_lidc(source / LIDC_FILE if source.is_dir() else source)
    numbers = range(1, raters.shape[1] + 1)
    for name in ("images", *(f"masks/rater-{number}" for number in numbers)):
        (folder / name).mkdir(parents=True)
    cases = []
    for pixels, masks, (patient, nodule, cut) in zip(image, raters, ids.tolist(), strict=True):
        name = f"patient-{patient:04d}_nodule-{nodule}_slice-{cut:03d}"
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
        for number, mask in zip(numbers, masks, strict=True):
            file = folder / "masks" / f"rater-{number}" / f"{name}.png"
            Image.fromarray(255 * mask).save(file)
        cases.append(Case(name, "", None, None, f"patient-{patient:04d}"))
    splits = split_by_group(cases, _SHARES, _SEED)
    write_lists(folder, {split: sorted(case.name for case in splits[split]) for split in SPLITS})


def read_lidc(
    file: Path,
) -> tuple[UInt8[np.ndarray, "n h w"], UInt8[np.ndarray, "n r h w"], Integer[np.ndarray, "n 3"]]:
    """Return images, the raters' masks as bits, and (patient, nodule, slice)."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            image, packed, ids = (archive[key] for key in ("image", "mask_packed", "ids"))
        raters = np.unpackbits(packed, axis=-1, count=image.shape[-1])
    except Exception as error:  # numpy and zlib have one for each way a file can be wrong
        raise DataError(
            f"{file} does not read as LIDC ({error}). Wanted is {LIDC_FILE} with the arrays image, "
            "mask_packed and ids."
        ) from None
    if image.dtype != np.uint8 or (len(image), *image.shape[1:]) != (
        len(raters),
        *raters.shape[2:],
    ):
        raise DataError(
            f"{file} holds images of {image.dtype} {image.shape} and masks of {raters.shape}, but "
            "uint8 (n, h, w) and (n, raters, h, w) are wanted. Copy it again."
        )
    return image, raters, ids
