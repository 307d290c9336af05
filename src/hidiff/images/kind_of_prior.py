"""The kind of another model's result, told by its values: probabilities, or a hard mask."""

from pathlib import Path
from typing import Literal

import numpy as np

from hidiff.images.files import DataError, ImageFiles, first_file, visible_files
from hidiff.images.formats import find_format
from hidiff.images.nnunet_results import is_nnunet_result
from hidiff.images.pictures import ARRAYS, read_array
from hidiff.images.segmentation_objects import find_seg, read_seg

Kind = Literal["probability", "mask"]
MOST_VALUES = 16  # a picture of more different values is no hard mask


def guess_kind(prior: ImageFiles) -> Kind:
    """Return the kind of a prior: fractions are probabilities, whole numbers are a hard mask.

    A picture of few grey values is a hard mask too.
    """
    path = first_file(prior)
    if isinstance(prior, tuple) or is_nnunet_result(path):
        return "probability"
    if (seg := find_seg(path)) is not None:
        return "probability" if read_seg(seg, "axial")[2] else "mask"
    if path.is_dir():
        files = [file for file in visible_files(path) if find_format(file) is not None]
        if not files:
            raise DataError(f"{path} holds no file of a prior. Put a file per class there.")
        return guess_kind(files[0])
    return "probability" if _are_fractions(path) else "mask"


def _are_fractions(path: Path) -> bool:
    format = find_format(path)
    if format is None or path.suffix.lower() in ARRAYS:
        values = read_array(path)
    else:
        values = format.read(path, "image", "axial").values
    if values.dtype.kind == "f":
        return not np.array_equal(values, np.rint(values))
    is_picture = format is not None and format.plural == "pictures"
    return is_picture and len(np.unique(values)) > MOST_VALUES
