"""The table of formats that predictions are written in, and the function that writes them."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from hidiff.images import format_of
from hidiff.prediction.prediction import Prediction
from hidiff.prediction.writers.common import PredictionFormat
from hidiff.prediction.writers.dicom_seg import DICOM
from hidiff.prediction.writers.nifti import NIFTI
from hidiff.prediction.writers.npz import NPZ
from hidiff.prediction.writers.picture import PNG, TIFF
from hidiff.weights import atomic_write

# The names are those of Geometry.outputs, which says what each kind of image can become.
WRITERS: dict[str, PredictionFormat] = {
    "png": PNG,
    "tiff": TIFF,
    "npz": NPZ,
    "nifti": NIFTI,
    "dicom": DICOM,
}


def write_prediction(
    prediction: Prediction,
    folder: Path | str,
    *,
    stem: str | None = None,
    formats: Sequence[str] = (),
    uncertainty: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Write `{stem}_labels.png`, `{stem}.nii.gz` and their kin into `folder`; return the paths.

    | format | labels                        | probability              | uncertainty             |
    |--------|-------------------------------|--------------------------|-------------------------|
    | png    | 0 and 255, or own values      | 16 bit, a file per plane | 16 bit, a file per map  |
    | tiff   | as png, a page per plane      | float32, a page per plane | float32, bits          |
    | nifti  | the masks' own values         | 16 bit, a file per plane | 16 bit, a file per map  |
    | dicom  | DICOM SEG, a segment a class  | as nifti, beside the SEG | as nifti, beside the SEG |
    | npz    | one file with every array of the prediction, as it is                             |

    Left out, the stem is the prediction's name, and the format the usual one of its image: png of
    pictures, dicom beside DICOM, nifti of other volumes. Probabilities are written where they were
    kept; `uncertainty` is for nifti and dicom, the others always have it. All files appear, or none
    if one cannot be written, or if one is in the way (FileExistsError) and `overwrite` is False.
    """
    stem = prediction.name if stem is None else stem
    if not stem or Path(stem).name != stem:
        raise ValueError(f"the stem is {stem!r}, but must be a file name without folders.")
    files = {
        Path(folder) / f"{stem}{ending}": write
        for name in _check_formats(prediction, formats)
        for ending, write in WRITERS[name].files(prediction, uncertainty)
    }
    _check_free(prediction, files, overwrite)
    # The stack renames the last file first, so that labels, which come first, appear when all else
    # is in its place: a case whose process is killed has no labels, or everything.
    with ExitStack() as stack:
        for path, write in files.items():
            write(stack.enter_context(atomic_write(path)))
    return list(files)


def _check_formats(prediction: Prediction, formats: Sequence[str]) -> Sequence[str]:
    source = prediction.source
    known = (prediction.geometry if source is None else format_of(source)).outputs
    formats = (formats,) if isinstance(formats, str) else formats
    for name in formats:
        if name not in known:
            raise ValueError(
                f"the format {name!r} is none of {', '.join(known)}, which this image can become. "
                "Choose among these."
            )
    return formats or known[:1]


def _check_free(prediction: Prediction, files: Iterable[Path], overwrite: bool) -> None:
    source = prediction.source
    images = source if isinstance(source, tuple) else (source,)
    sources = {Path(file).resolve() for file in images if file is not None}
    for path in files:
        if path.resolve() in sources:
            raise ValueError(f"{path} is the image itself. Write its masks to another folder.")
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"{path} exists already. Pass overwrite=True to replace it, or write elsewhere."
            )
