"""A volume's prediction as files, on the grid of the file that it was made of."""

import gzip
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from hidiff.images import ImageFiles, first_file, is_dicom_volume, open_nifti
from hidiff.labels import Labels
from hidiff.prediction.volume import VolumePrediction
from hidiff.prediction.writers.dicom_seg import write_dicom_seg
from hidiff.prediction.writers.picture import file_names
from hidiff.weights import atomic_write

if TYPE_CHECKING:  # imported when a NIfTI is written: all others do without it
    import nibabel

# What follows the stem, and what writes the file.
Files = Iterator[tuple[str, Callable[[Path], None]]]


def write_volume(
    prediction: VolumePrediction,
    folder: Path | str,
    *,
    stem: str,
    source: ImageFiles,
    labels: Labels,
    formats: Sequence[str] = (),
    uncertainty: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Write `{stem}.nii.gz` and its kin into `folder`; the paths written.

    | format | labels                         | probability              | uncertainty            |
    |--------|--------------------------------|--------------------------|------------------------|
    | nifti  | the masks' own values          | 16 bit, a file per plane | 16 bit, a file per map |
    | dicom  | DICOM SEG, a segment per class |                          |                        |
    | npz    | one file with every array, as it is, in the order of the source's axes             |

    Left out, the format is dicom beside DICOM, else nifti. NIfTI takes axes, affine, qform and
    sform from a `source` that is NIfTI. Its labels have the values of the masks, so that other
    tools can judge them: regions that lie in each other are painted over each other, the largest
    first, as nnU-Net does; those that overlap otherwise become a file each. Its 16 bits are scaled:
    they read as probabilities, to 0.00001, and as bits. Probabilities are written if they were
    kept. Files appear whole or not at all, and none if one is in the way (FileExistsError), unless
    `overwrite`.
    """
    unknown = [name for name in formats if name not in VOLUME_FORMATS]
    if unknown:
        raise ValueError(
            f"the format {unknown[0]!r} is none of {', '.join(VOLUME_FORMATS)}. Choose among these."
        )
    sources = {Path(file).resolve() for file in (source if isinstance(source, tuple) else [source])}
    files = {
        Path(folder) / f"{stem}{ending}": write
        for format in formats or [usual_format(source)]
        for ending, write in VOLUME_FORMATS[format](prediction, source, labels, uncertainty)
    }
    for path in files:
        if path.resolve() in sources:
            raise ValueError(f"{path} is the image itself. Write its masks to another folder.")
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"{path} exists already. Pass overwrite=True to replace it, or write elsewhere."
            )
    for path, write in files.items():
        with atomic_write(path) as temporary:
            write(temporary)
    return list(files)


def usual_format(source: ImageFiles) -> str:
    """What is written where nothing is asked for."""
    return "dicom" if is_dicom_volume(source) else "nifti"


def as_nifti(
    prediction: VolumePrediction, source: ImageFiles, labels: Labels, uncertainty: bool
) -> Files:
    """Labels, and what else was asked for, as NIfTI with the head of the source."""
    header = _header(prediction, source)

    def write(values: Shaped[np.ndarray, "x y z"]) -> Callable[[Path], None]:
        return lambda path: _write_nifti(path, values, header)

    planes = file_names(labels.plane_names)
    if labels.written_values is not None:
        values = labels.to_file(prediction.labels)
        yield ".nii.gz", write(prediction.in_file(values))
    else:
        for plane, bits in zip(planes, prediction.labels, strict=True):
            yield f"_labels_{plane}.nii.gz", write(prediction.in_file(bits))
    if prediction.probability is not None:
        for plane, probability in zip(planes, prediction.probability, strict=True):
            yield f"_probability_{plane}.nii.gz", write(prediction.in_file(probability))
    if uncertainty:
        maps = prediction.uncertainty
        each = zip(planes, maps, strict=True) if maps.ndim == 4 else [("", maps)]
        for plane, bits in each:
            ending = f"_uncertainty_{plane}" if plane else "_uncertainty"
            yield f"{ending}.nii.gz", write(prediction.in_file(bits))


def as_dicom(
    prediction: VolumePrediction, source: ImageFiles, labels: Labels, uncertainty: bool
) -> Files:
    """Labels as one DICOM SEG. Raises ValueError for a source that is no DICOM."""
    if not is_dicom_volume(source):
        raise ValueError(
            f"{first_file(source)} is no DICOM, but DICOM SEG refers to the DICOM that it belongs "
            "to. Use the format nifti."
        )
    yield (
        ".dcm",
        lambda path: write_dicom_seg(
            path, prediction.in_file(prediction.labels), labels.class_names, first_file(source)
        ),
    )


def as_npz(
    prediction: VolumePrediction, source: ImageFiles, labels: Labels, uncertainty: bool
) -> Files:
    """Every array in one compressed archive, probabilities in float16; and the affine (RAS+)."""
    names = ["labels", "prior_labels", "uncertainty", "probability", "prior"]
    arrays = {name: getattr(prediction, name) for name in names}
    turned: dict[str, Any] = {
        name: prediction.in_file(each) for name, each in arrays.items() if each is not None
    }

    def write(path: Path) -> None:
        with open(path, "wb") as file:
            np.savez_compressed(file, affine=prediction.grid.affine, **turned)

    yield ".npz", write


VOLUME_FORMATS: dict[str, Callable[[VolumePrediction, ImageFiles, Labels, bool], Files]] = {
    "nifti": as_nifti,
    "dicom": as_dicom,
    "npz": as_npz,
}


def _header(prediction: VolumePrediction, source: ImageFiles) -> "nibabel.Nifti1Header":
    """Return the source's header, where it is NIfTI, else one made from the grid."""
    import nibabel as nib

    file = first_file(source)
    if file.name.lower().endswith((".nii", ".nii.gz")):
        header = open_nifti(file).header.copy()
        header["intent_code"], header["cal_min"], header["cal_max"] = 0, 0, 0
        header["intent_name"] = b""
    else:
        header = nib.Nifti1Header()
        header.set_xyzt_units("mm")
        header.set_data_shape(prediction.grid.shape)
        header.set_qform(prediction.grid.affine, code="scanner")
        header.set_sform(prediction.grid.affine, code="scanner")
    header.set_data_shape(prediction.grid.shape)
    return header


def _write_nifti(
    path: Path, values: Shaped[np.ndarray, "x y z"], header: "nibabel.Nifti1Header"
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
