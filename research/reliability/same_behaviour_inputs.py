"""Inputs of the behaviour guard: drawn photographs, crops, volumes and a DICOM series.

Only sums, products and random integers are used, which every processor rounds alike, so the files
are the same everywhere.
"""

from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

UID_ROOT = "2.25.20230"  # root of the fixed identifiers of the DICOM series
SPACING_MM = (1.5, 1.25, 3.0)
SIZE = (72, 64, 6)  # voxels of a volume


def write_inputs(folder: Path) -> None:
    """Write eyes/, crops/, curves/, organs/ and series/ below `folder`."""
    write_eyes(folder / "eyes")
    write_crops(folder / "crops")
    write_curves(folder / "curves")
    write_organs(folder / "organs")
    write_series(folder / "series")


def write_eyes(folder: Path) -> None:
    """Write five photographs of drawn vessels, seen through a round lens on black.

    A small lit field with a vessel lies apart in a corner, which only the lit view leaves out.
    """
    folder.mkdir(parents=True)
    for number in range(5):
        draws = np.random.default_rng(number)
        height, width = (240, 256) if number % 2 else (250, 300)
        rows, columns = np.mgrid[:height, :width]
        radius = 108 - 4 * number
        lens = (rows - height // 2) ** 2 + (columns - width // 2) ** 2 < radius**2
        start = np.array([height // 2, width // 2 - 60.0])
        vessels = np.zeros((height, width), dtype=bool)
        for vessel in range(12):
            end = draws.integers(0, (height, width))
            vessels |= draw_curve((height, width), start, end, 1 + vessel % 2, draws)
        vessels |= (rows > height - 40) & (abs(columns - width + 22) < 2)
        brightness = 130 + 40 * smooth_field((height, width), 4, draws) - 55 * vessels
        noise = draws.integers(-6, 7, (height, width, 3))
        colour = brightness[..., None] * np.array([1.2, 0.75, 0.4]) + noise
        lit = lens | ((rows > height - 40) & (columns > width - 44))
        photograph = np.where(lit[..., None], colour, draws.integers(0, 4, (height, width, 3)))
        save_picture(folder / f"eye-{number}.png", photograph)


def write_crops(folder: Path) -> None:
    """Write five grey crops with a bright nodule in the middle; two are larger than a window."""
    lists = [f"crop-{number}" for number in range(5)]
    for number, name in enumerate(lists):
        draws = np.random.default_rng(100 + number)
        size = (160, 192) if number > 2 else (128, 128)
        nodule = draw_ellipse(size, (size[0] // 2, size[1] // 2), (7 + 2 * number, 12 - number))
        ground = 50 + 30 * smooth_field(size, 6, draws)
        vessel = draw_curve(size, np.zeros(2), np.array(size), 2, draws)
        image = np.where(nodule, 190, ground + 80 * vessel) + draws.integers(-12, 13, size)
        save_picture(folder / "images" / f"{name}.png", image)
        save_picture(folder / "masks" / f"{name}.png", 255 * nodule)


def write_curves(folder: Path) -> None:
    """Write ten pictures of bright curves with masks, fields of view, priors and lists."""
    size = (80, 96)
    names = [f"curve-{number}" for number in range(10)]
    for number, name in enumerate(names):
        draws = np.random.default_rng(200 + number)
        curve = np.zeros(size, dtype=bool)
        for width in (2, 3, 4):
            start, end = (draws.integers(0, size) for _ in range(2))
            curve |= draw_curve(size, start, end, width, draws)
        field = draw_ellipse(size, (40, 48), (44, 50))
        ground = 80 + 25 * smooth_field(size, 4, draws)
        noise = draws.integers(-10, 11, (*size, 3))
        image = (ground + 110 * curve)[..., None] * np.array([1.1, 0.9, 0.7]) + noise
        doubt = (1 + smooth_field(size, 8, draws)) / 8
        prior = np.where(curve, 1 - doubt, doubt).astype(np.float32)
        save_picture(folder / "images" / f"{name}.png", image * field[..., None])
        save_picture(folder / "masks" / f"{name}.png", 255 * curve)
        save_picture(folder / "fields_of_view" / f"{name}.png", 255 * field)
        (folder / "priors").mkdir(exist_ok=True)
        np.savez(folder / "priors" / f"{name}.npz", probability=prior[None])
    write_lists(folder, names[:5], names[5:7], names[7:])


def write_organs(folder: Path) -> None:
    """Write five NIfTI volumes of an organ with a lesion, their masks (1 and 4), and lists."""
    names = [f"organ-{number}" for number in range(5)]
    # x to the left, y to the back, z up, at a place of its own
    affine = np.diag([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2], 1.0])
    affine[:3, 3] = (40.5, 30.25, -12)
    for number, name in enumerate(names):
        values, mask = draw_organ(300 + number)
        for kind, voxels in (("images", values), ("masks", mask)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(voxels, affine), folder / kind / f"{name}.nii.gz")
    write_lists(folder, names[:3], names[3:4], names[4:])


def write_series(folder: Path) -> None:
    """Write one CT series with fixed identifiers, a file a slice."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir(parents=True)
    values, _ = draw_organ(400)
    for z in range(values.shape[2]):
        head = Dataset()
        head.file_meta = FileMetaDataset()
        head.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        head.file_meta.MediaStorageSOPClassUID = head.SOPClassUID = CTImageStorage
        head.file_meta.MediaStorageSOPInstanceUID = head.SOPInstanceUID = UID(
            f"{UID_ROOT}.4.{z + 1}"
        )
        head.StudyInstanceUID, head.SeriesInstanceUID = f"{UID_ROOT}.1", f"{UID_ROOT}.2"
        head.FrameOfReferenceUID = f"{UID_ROOT}.3"
        head.PatientID, head.PatientName, head.PatientBirthDate, head.PatientSex = "1", "A", "", ""
        head.StudyDate, head.StudyTime, head.StudyID, head.AccessionNumber = "", "", "1", ""
        head.ReferringPhysicianName, head.PositionReferenceIndicator = "", ""
        head.Modality, head.SeriesDescription, head.SeriesNumber = "CT", "abdomen", 3
        head.InstanceNumber = z + 1
        head.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        head.ImagePositionPatient = [-40.5, -30.25, -12 + SPACING_MM[2] * z]
        head.PixelSpacing = [SPACING_MM[1], SPACING_MM[0]]
        head.SliceThickness = SPACING_MM[2]
        head.Rows, head.Columns = values.shape[1], values.shape[0]
        head.SamplesPerPixel, head.PhotometricInterpretation = 1, "MONOCHROME2"
        head.BitsAllocated, head.BitsStored, head.HighBit, head.PixelRepresentation = 16, 16, 15, 1
        head.RescaleSlope, head.RescaleIntercept = 1, 0
        head.PixelData = np.ascontiguousarray(values[:, :, z].T, dtype="<i2").tobytes()
        head.save_as(folder / f"slice-{z}.dcm", enforce_file_format=True)


def draw_organ(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return raw values (x, y, z) and a mask: 1 organ, 4 lesion."""
    draws = np.random.default_rng(seed)
    mask = np.zeros(SIZE, dtype=np.uint8)
    centre = draws.integers(26, 38, 2)
    for z in range(SIZE[2]):
        organ = draw_ellipse(SIZE[:2], centre, (21 - z, 15 + z))
        lesion = draw_ellipse(SIZE[:2], centre + 4, (9 - z, 7))
        mask[..., z] = np.where(lesion & organ, 4, organ)
    values = 150 * (mask == 1) + 420 * (mask == 4) + draws.integers(-60, 61, SIZE)
    return values.astype(np.int16), mask


def draw_curve(
    size: tuple[int, int],
    start: np.ndarray,
    end: np.ndarray,
    width: int,
    draws: np.random.Generator,
) -> np.ndarray:
    """Return True along a parabola from `start` to `end` through a random bend, `width` wide."""
    t = np.linspace(0, 1, 4 * max(size))[:, None]
    bend = draws.integers(0, size)
    points = (1 - t) * (1 - t) * start + 2 * t * (1 - t) * bend + t * t * end
    rows, columns = np.rint(points).astype(int).T
    canvas = np.zeros((size[0] + 16, size[1] + 16), dtype=bool)
    for row in range(width):
        for column in range(width):
            canvas[rows + row + 8, columns + column + 8] = True
    return canvas[8:-8, 8:-8]


def draw_ellipse(size: tuple[int, ...], centre, radii) -> np.ndarray:
    """Return True inside an ellipse with half-axes `radii`."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    # whole numbers only: (y/a)^2 + (x/b)^2 < 1, times (ab)^2
    (y, x), (a, b) = (rows - centre[0], columns - centre[1]), (max(int(r), 1) for r in radii)
    return (y * b) ** 2 + (x * a) ** 2 < (a * b) ** 2


def smooth_field(size: tuple[int, int], cells: int, draws: np.random.Generator) -> np.ndarray:
    """Return a slow random change in -1..1, linear between `cells` x `cells` knots."""
    knots = draws.integers(-1000, 1001, (cells + 1, cells + 1)) / 1000
    rows, columns = (np.arange(side) * cells / side for side in size)
    top, left = rows.astype(int), columns.astype(int)
    down, right = (rows - top)[:, None], columns - left
    above = knots[top][:, left] * (1 - right) + knots[top][:, left + 1] * right
    below = knots[top + 1][:, left] * (1 - right) + knots[top + 1][:, left + 1] * right
    return above * (1 - down) + below * down


def save_picture(path: Path, values: np.ndarray) -> None:
    """Write values, cut to 0..255, as an 8-bit PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8)).save(path)


def write_lists(folder: Path, train: list[str], validation: list[str], test: list[str]) -> None:
    """Write train.txt, validation.txt and test.txt."""
    for split, names in {"train": train, "validation": validation, "test": test}.items():
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
