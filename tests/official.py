"""Tiny data sets in the layouts of their publishers, as the tests write them."""

from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
from PIL import Image

SHAPE = (12, 20)
MASK = np.zeros(SHAPE, dtype=bool)
MASK[3:6, 4:15] = True
ORGANS = np.where(MASK, 5, 0).astype(np.uint8)


def write_picture(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def write_volume(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, -1.0, 2.0, 1.0])), path)


def picture(number: int) -> np.ndarray:
    image = np.full((*SHAPE, 3), number % 50, dtype=np.uint8)
    image[MASK] = 200
    return image


def synapse(root: Path, patients: int = 4) -> None:
    """TransUNet's: slices of patients 5 and up in npz, volumes of patients 1 and 2 in h5, lists."""
    (root / "train_npz").mkdir(parents=True)
    (root / "test_vol_h5").mkdir()
    (root / "lists" / "lists_Synapse").mkdir(parents=True)
    image = MASK.astype(np.float32)
    names = [
        f"case{patient:04d}_slice{z:03d}" for patient in range(5, 5 + patients) for z in (0, 1)
    ]
    for name in names:
        np.savez(root / "train_npz" / f"{name}.npz", image=image, label=ORGANS.astype(np.float32))
    volumes = ["case0001", "case0002"]
    for name in volumes:
        with h5py.File(root / "test_vol_h5" / f"{name}.npy.h5", "w") as file:
            file["image"] = np.stack([image, image / 2, 0 * image])
            file["label"] = np.stack([ORGANS, 0 * ORGANS, 0 * ORGANS]).astype(np.float32)
    lists = root / "lists" / "lists_Synapse"
    (lists / "train.txt").write_text("\n".join(names) + "\n")
    (lists / "test_vol.txt").write_text("\n".join(volumes) + "\n")


def synapse_257(root: Path, patients: int = 4) -> None:
    """Slices of patients 5 and up in PNG, volumes of patients 1 and 2 in NIfTI."""
    image = MASK * np.uint8(200)
    for patient in range(5, 5 + patients):
        for z in (0, 2):
            name = f"case{patient:04d}_slice{z:03d}.png"
            write_picture(root / "train" / "images" / name, image)
            write_picture(root / "train" / "masks" / name, ORGANS)
    for name in ("case0001.nii.gz", "case0002.nii.gz"):
        for kind, plane in (("images", image), ("masks", ORGANS)):
            write_volume(root / "test" / kind / name, np.stack([plane.T] * 3, axis=-1))


def lgg_flair(root: Path, patients: int = 5) -> None:
    """Two slices of each patient of two sites; the second slice has no tumour."""
    for site in ("CS", "HT"):
        for patient in range(patients):
            for number in (1, 12):
                name = f"TCGA_{site}_A{patient}B_20010{patient + 1}02_{number:03d}.png"
                mask = MASK * np.uint8(255 if number == 1 else 0)
                write_picture(root / "images" / name, picture(number)[..., 0])
                write_picture(root / "masks" / name, mask)


def brats(root: Path, patients: int = 10) -> None:
    for number in range(patients):
        name = f"BraTS2021_{number:05d}"
        for brightness, channel in enumerate(("t1", "t1ce", "t2", "flair"), start=1):
            values = np.zeros((6, 5, 3), dtype=np.int16)
            values[1:4, 1:4] = 100 * brightness
            values[2, 2, 1] += 50
            write_volume(root / name / f"{name}_{channel}.nii.gz", values)
        seg = np.zeros((6, 5, 3), dtype=np.uint8)
        seg[1, 1], seg[2, 2], seg[3, 3] = 1, 2, 4
        write_volume(root / name / f"{name}_seg.nii.gz", seg)


def brats_slices(root: Path) -> None:
    for number in range(80, 83):
        folder = root / "training" / f"{number - 79:06d}"
        for channel in ("t1", "t1ce", "t2", "flair", "seg"):
            values = np.zeros((6, 5), dtype=np.int16)
            values[2, 2] = 4 if channel == "seg" else number
            values[3, 3] = 0 if channel == "seg" else 7
            write_volume(folder / f"brats_train_001_{channel}_{number:03d}_w.nii.gz", values)


def ms_lesions(root: Path, patients: int = 10) -> None:
    for number in range(patients):
        for channel in ("t1", "t1post", "t2", "flair", "lesions"):
            values = np.zeros((6, 5, 3), dtype=np.uint8)
            values[2, 2] = 1 if channel == "lesions" else 90
            values[3, 3] = 0 if channel == "lesions" else 30
            write_volume(root / f"patient{number:02d}" / f"{channel}.nii.gz", values)


def cvc_tiff(root: Path, inner: str = "", ending: str = "tif", frames: int = 110) -> None:
    for frame in range(1, frames + 1, 4):
        write_picture(root / inner / "Original" / f"{frame}.{ending}", picture(frame))
        mask = np.repeat(MASK[..., None] * np.uint8(255), 3, axis=2)
        write_picture(root / inner / "Ground Truth" / f"{frame}.{ending}", mask)


def cvc_png(root: Path) -> None:
    cvc_tiff(root, "PNG", "png")
    (root / "metadata.csv").write_text("frame_id,sequence_id\n")


def kvasir_seg(root: Path) -> None:
    for number in range(10):
        write_picture(root / "images" / f"cju{number}.jpg", picture(number), quality=95)
        mask = np.repeat(MASK[..., None] * np.uint8(255), 3, axis=2)
        write_picture(root / "masks" / f"cju{number}.jpg", mask, quality=90)
    (root / "kvasir_bboxes.json").write_text("{}")


def lidc(root: Path, patients: int = 10) -> None:
    """Two nodules a patient; the third rater marks nothing, the fourth a pixel more."""
    raters = np.zeros((2 * patients, 4, 16, 16), dtype=np.uint8)
    raters[:, [0, 1, 3], 4:8, 4:8] = 1
    raters[:, 3, 9, 9] = 1
    image = np.where(raters[:, 0] > 0, 200, 20).astype(np.uint8)
    image[:, 0, 0] = np.arange(2 * patients)
    ids = [(3 + 7 * patient, nodule, nodule) for patient in range(patients) for nodule in (0, 1)]
    root.mkdir(parents=True)
    np.savez(
        root / "nodules_4raters.npz",
        image=image,
        mask_packed=np.packbits(raters, axis=-1),
        ids=np.array(ids, dtype=np.int32),
    )
