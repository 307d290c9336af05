"""A volume's prediction as NIfTI, on the grid of the file that it was made of.

Axes, affine, qform and sform are those of a source that is NIfTI. Labels have the values of the
masks, so that other tools can judge them: regions that lie in each other are painted over each
other, the largest first, as nnU-Net does; those that overlap otherwise become a file each. The
header names the values, as TotalSegmentator's does. Soft
maps have 16 bits that are scaled: they read as probabilities, to 0.00001, and as bits.
"""

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from hidiff.images import first_file, name_values, open_nifti
from hidiff.prediction.endings import ENDINGS
from hidiff.prediction.prediction import Prediction
from hidiff.prediction.writers.common import Files, PredictionFormat, plane_stems

if TYPE_CHECKING:  # imported when a NIfTI is written: all others do without it
    import nibabel


def nifti_files(prediction: Prediction, uncertainty: bool) -> Files:
    """Write labels, probability where it was kept, and uncertainty where it is asked for."""
    header = _header(prediction)
    labels, values = prediction.labels, prediction.classes.written_values
    if values is not None:
        names = dict(zip(values, prediction.classes.class_names, strict=True))
        yield ".nii.gz", _writes(prediction.classes.to_file(labels), with_names(header, names))
    else:
        planes = plane_stems(prediction.classes.plane_names)
        for plane, bits in zip(planes, labels, strict=True):
            yield f"_labels_{plane}.nii.gz", _writes(bits, header)
    yield from soft_nifti_files(prediction, uncertainty)


def soft_nifti_files(prediction: Prediction, uncertainty: bool) -> Files:
    """Write probability where it was kept, and uncertainty where it is asked for; no labels."""
    probability = prediction.probability
    if probability is None and not uncertainty:
        return
    header = _header(prediction)
    planes = plane_stems(prediction.classes.plane_names)
    if probability is not None:
        for plane, values in zip(planes, probability, strict=True):
            yield f"_probability_{plane}.nii.gz", _writes(values, header)
    if uncertainty:
        maps = prediction.uncertainty
        endings = [f"_uncertainty_{plane}" for plane in planes]
        each_plane = maps.ndim > len(prediction.geometry.native_shape)
        named = zip(endings, maps, strict=True) if each_plane else [("_uncertainty", maps)]
        for ending, values in named:
            yield f"{ending}.nii.gz", _writes(values, header)


def _writes(
    values: Shaped[np.ndarray, "x y z *time"], header: "nibabel.Nifti1Header"
) -> Callable[[Path], None]:
    return lambda path: _write_nifti(path, values, header)


def _header(prediction: Prediction) -> "nibabel.Nifti1Header":
    """Return the head of the source, where that is NIfTI, else one made from the grid."""
    import nibabel as nib

    grid = prediction.geometry.grid
    assert grid is not None  # pictures cannot become NIfTI (Geometry.outputs)
    file = Path() if prediction.source is None else first_file(prediction.source)
    if file.name.lower().endswith((".nii", ".nii.gz")):
        header = open_nifti(file).header.copy()
        header["intent_code"], header["cal_min"], header["cal_max"] = 0, 0, 0
        header["intent_name"] = b""
    else:
        header = nib.Nifti1Header()
        header.set_xyzt_units("mm")
        header.set_data_shape(grid.shape)
        header.set_qform(grid.affine, code="scanner")
        header.set_sform(grid.affine, code="scanner")
    header.set_data_shape(prediction.geometry.native_shape)
    return header


def with_names(header: "nibabel.Nifti1Header", names: Mapping[int, str]) -> "nibabel.Nifti1Header":
    """Return a header whose first extension names the values of the labels."""
    from nibabel.nifti1 import Nifti1Extension

    header = header.copy()
    named = Nifti1Extension("comment", name_values(names).encode())
    header.extensions[:] = [named, *header.extensions]
    return header


def _write_nifti(
    path: Path, values: Shaped[np.ndarray, "x y z *time"], header: "nibabel.Nifti1Header"
) -> None:
    """Write labels as they are, floats as 16 bits, which nibabel scales to their range."""
    import nibabel as nib

    header = header.copy()
    soft = values.dtype.kind == "f"
    header.set_data_dtype(np.uint16 if soft else values.dtype)
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    image = kind(values.astype(np.float32) if soft else values, None, header)
    # no time, and no name, in the archive: the same labels make the same file
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
        image.to_stream(packed)


NIFTI = PredictionFormat(ENDINGS["nifti"], nifti_files)
