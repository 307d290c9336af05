"""Images: from files to arrays on their grids."""

from hidiff.images.dicom import dicom_files, is_dicom
from hidiff.images.files import DataError, ImageFiles, MaskFiles, first_file
from hidiff.images.grid import Grid, from_slices, to_slices
from hidiff.images.intensity import Intensity, normalise
from hidiff.images.nifti import open_nifti
from hidiff.images.pictures import (
    read_field_of_view,
    read_files,
    read_image,
    read_mask,
    read_open_picture,
)
from hidiff.images.priors import Priors, check_prior, find_prior, read_prior
from hidiff.images.view import find_view
from hidiff.images.volume import is_dicom_volume, is_volume, read_grid, volume_stem

__all__ = [
    "DataError",
    "Grid",
    "ImageFiles",
    "Intensity",
    "MaskFiles",
    "Priors",
    "check_prior",
    "dicom_files",
    "find_prior",
    "find_view",
    "first_file",
    "from_slices",
    "is_dicom",
    "is_dicom_volume",
    "is_volume",
    "normalise",
    "open_nifti",
    "read_field_of_view",
    "read_files",
    "read_grid",
    "read_image",
    "read_mask",
    "read_open_picture",
    "read_prior",
    "to_slices",
    "volume_stem",
]
