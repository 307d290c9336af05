"""Small DICOM series, made of the numbers alone."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DSfloat

from hidiff.images import Grid

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def make_slices(values: Int[np.ndarray, "x y z"], grid: Grid) -> list[Dataset]:
    """A file per slice of values on a grid whose axes are at right angles."""
    affine = LPS @ grid.affine
    across, down, _ = grid.spacing_mm
    study, series, frame = (generate_uid() for _ in range(3))
    slices = []
    for z in range(grid.shape[2]):
        head = Dataset()
        head.file_meta = FileMetaDataset()
        head.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        head.file_meta.MediaStorageSOPClassUID = head.SOPClassUID = CTImageStorage
        head.SOPInstanceUID = head.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        head.StudyInstanceUID, head.SeriesInstanceUID, head.FrameOfReferenceUID = (
            study, series, frame,
        )  # fmt: skip
        head.PatientID, head.PatientName, head.PatientBirthDate, head.PatientSex = "1", "A", "", ""
        head.StudyDate, head.StudyTime, head.StudyID, head.AccessionNumber = "", "", "1", ""
        head.ReferringPhysicianName, head.PositionReferenceIndicator = "", ""
        head.Modality, head.SeriesDescription, head.SeriesNumber = "CT", "abdomen", 3
        head.InstanceNumber = int(np.random.default_rng(z).integers(1000))  # says nothing
        directions = np.concatenate([affine[:3, 0] / across, affine[:3, 1] / down])
        head.ImageOrientationPatient = decimals(directions)
        head.ImagePositionPatient = decimals(affine[:3, 3] + z * affine[:3, 2])
        head.PixelSpacing = decimals([down, across])
        [head.SliceThickness] = decimals(grid.spacing_mm[2:])
        head.Rows, head.Columns = grid.shape[1], grid.shape[0]
        head.SamplesPerPixel, head.PhotometricInterpretation = 1, "MONOCHROME2"
        head.BitsAllocated, head.BitsStored, head.HighBit, head.PixelRepresentation = 16, 16, 15, 1
        head.RescaleSlope, head.RescaleIntercept = 1, 0
        head.PixelData = np.ascontiguousarray(values[:, :, z].T, dtype="<i2").tobytes()
        slices.append(head)
    return slices


def decimals(numbers: Iterable[float]) -> list[DSfloat]:
    """In the 16 letters that DICOM has for a number."""
    return [DSfloat(float(number), auto_format=True) for number in numbers]


def write_slices(folder: Path, slices: list[Dataset]) -> Path:
    """Into a folder, in an order of names that says nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(slices):
        name = np.random.default_rng(number).integers(10**6)
        each.save_as(folder / f"IM{name}_{number}", enforce_file_format=True)
    return folder
