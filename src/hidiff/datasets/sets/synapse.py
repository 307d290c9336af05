"""Synapse (BTCV) as TransUNet prepared it: slices to train on, volumes to be judged; to a folder.

https://github.com/Beckschen/TransUNet: train_npz/case0005_slice000.npz (image, label),
test_vol_h5/case0001.npy.h5 (image, label: slices first), lists/lists_Synapse/train.txt and
test_vol.txt. Values are HU cut to -125..275 and scaled to 0..1; the voxels' size is not kept.
"""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num, UInt8

from hidiff.images.files import DataError
from hidiff.labels import Labels

SYNAPSE_LABELS = Labels(
    kind="exclusive",
    classes={
        "aorta": (1,),
        "gallbladder": (2,),
        "left_kidney": (3,),
        "right_kidney": (4,),
        "liver": (5,),
        "pancreas": (6,),
        "spleen": (7,),
        "stomach": (8,),
    },
)
SYNAPSE_PATIENT = r"^(case\d+)_slice"
# Slices lie in the arrays as they are looked at: columns to the left, rows to the back (RAS+).
_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_synapse(source: Path, folder: Path) -> None:
    """Write images/ and masks/ of slices (npy), test/images/ and test/masks/ of volumes (NIfTI)."""
    import nibabel as nib  # deferred: prediction imports the catalog and needs none of it

    slices = _listed(source, "train.txt") or _stems(source / "train_npz", ".npz")
    volumes = _listed(source, "test_vol.txt") or _stems(source / "test_vol_h5", ".npy.h5")
    for place in ("images", "masks", "test/images", "test/masks"):
        (folder / place).mkdir(parents=True)
    for name in slices:
        image, label = read_slice(source / "train_npz" / f"{name}.npz")
        np.save(folder / "images" / f"{name}.npy", image)
        np.save(folder / "masks" / f"{name}.npy", label)
    for name in volumes:
        arrays = read_test_volume(source / "test_vol_h5" / f"{name}.npy.h5")
        for kind, array in zip(("images", "masks"), arrays, strict=True):
            file = folder / "test" / kind / f"{name}.nii.gz"
            nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), _AFFINE), file)


def read_slice(file: Path) -> tuple[Float[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]:
    """Return image and label of a training slice."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            image, label = archive["image"], archive["label"]
    except Exception as error:  # numpy and zlib have one for each way a file can be wrong
        raise _unreadable(file, error) from None
    return _checked(file, image, label, 2)


def read_test_volume(file: Path) -> tuple[Float[np.ndarray, "d h w"], UInt8[np.ndarray, "d h w"]]:
    """Return image and label of a test volume, slices first."""
    import h5py  # deferred, like nibabel above

    try:
        with h5py.File(file, "r") as archive:
            image, label = (np.asarray(archive[key]) for key in ("image", "label"))
    except Exception as error:  # h5py has several too
        raise _unreadable(file, error) from None
    return _checked(file, image, label, 3)


def _checked(
    file: Path, image: Num[np.ndarray, "*space"], label: Num[np.ndarray, "*other"], sides: int
) -> tuple[np.ndarray, np.ndarray]:
    classes = label.astype(np.uint8)
    if image.ndim != sides or image.shape != label.shape or not np.array_equal(classes, label):
        raise DataError(
            f"{file} holds an image of {image.shape} and a label of {label.shape}, but the same "
            f"{sides} sides are wanted, and whole numbers in the label. Copy it again."
        )
    return image.astype(np.float32), classes


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(
        f"{file} does not read ({error}). Wanted are the arrays image and label, as TransUNet "
        "has them. Copy it again."
    )


def _listed(source: Path, name: str) -> list[str]:
    """Return the names in a list of TransUNet, wherever in lists/ it lies; empty without a list."""
    for place in (source / "lists" / "lists_Synapse", source / "lists", source):
        if (place / name).is_file():
            names = (place / name).read_text(encoding="utf-8-sig").split()
            for listed in names:
                if not re.fullmatch(r"[\w.-]*\w", listed):
                    raise DataError(f"{place / name} lists {listed!r}, but wants plain file names.")
            return [listed.removesuffix(".npz").removesuffix(".npy.h5") for listed in names]
    return []


def _stems(folder: Path, ending: str) -> list[str]:
    return sorted(file.name.removesuffix(ending) for file in folder.glob(f"*{ending}"))
