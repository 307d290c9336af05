"""DICOM SEG: the segments of another model, as masks or as probabilities."""

from pathlib import Path

import numpy as np

from hidiff.extras import import_extra
from hidiff.images.dicom import is_dicom
from hidiff.images.dicom_series import as_data_errors, read_head
from hidiff.images.files import DataError, visible_files
from hidiff.images.geometry import VolumeGeometry
from hidiff.images.grid import Grid, Plane
from hidiff.images.image import Image
from hidiff.images.voxels import check_affine, check_memory, ras_of_lps

SEG = "1.2.840.10008.5.1.4.1.1.66.4"  # the class of a Segmentation Object


def find_seg(path: Path) -> Path | None:
    """Return the DICOM SEG that a file is, or the only one that a folder holds; None for others."""
    if path.is_dir():
        files = [file for file in visible_files(path) if file.is_file()]
        return find_seg(files[0]) if len(files) == 1 else None
    if not is_dicom(path):
        return None
    head = read_head(path, ["SOPClassUID"])
    return path if str(head.get("SOPClassUID", "")) == SEG else None


def read_seg(path: Path, plane: Plane) -> tuple[Image, list[str], bool]:
    """Return the segments of a file, their names, and whether they are fractions.

    A file holds only the slices that show something, so its grid may be smaller than the image's.
    """
    highdicom = import_extra("highdicom", "dicom", path)
    with as_data_errors(path):
        segmentation = highdicom.seg.segread(path)
        kind = str(segmentation.SegmentationType)
        if kind not in ("BINARY", "FRACTIONAL"):
            raise DataError(
                f"{path} is a DICOM SEG of type {kind}, but BINARY or FRACTIONAL is wanted. "
                "Convert it to one of them, or to NIfTI."
            )
        numbers = list(segmentation.segment_numbers)
        names = [str(segmentation.get_segment_description(n).segment_label) for n in numbers]
        count = int(segmentation.Rows) * int(segmentation.Columns)
        check_memory(path, count * max(int(segmentation.NumberOfFrames), len(numbers)))
        fractional = kind == "FRACTIONAL"
        dtype = np.float32 if fractional else np.uint8
        volume = segmentation.get_volume(combine_segments=False, dtype=dtype)
        affine = ras_of_lps(np.asarray(volume.affine, dtype=np.float64))
        check_affine(path, affine)
        values = np.moveaxis(np.asarray(volume.array), -1, 0)
    x, y, z = values.shape[1:]
    geometry = VolumeGeometry(Grid((x, y, z), affine), plane)
    return Image(geometry.from_native(values), geometry, path), names, fractional
