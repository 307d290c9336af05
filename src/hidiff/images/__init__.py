"""Images: from files to arrays on their grids."""

from hidiff.images.dicom import dicom_slices
from hidiff.images.files import (
    DataError,
    ImageFiles,
    MaskFiles,
    first_file,
    is_hidden,
    visible_files,
)
from hidiff.images.formats import (
    FORMATS,
    find_format,
    find_mixture,
    format_of,
    image_stem,
    name_images,
    read_field_of_view,
    read_geometry,
    read_image,
    read_mask,
)
from hidiff.images.geometry import Geometry, PictureGeometry, VolumeGeometry
from hidiff.images.grid import Grid, from_slices, to_slices
from hidiff.images.image import Format, Image
from hidiff.images.intensity import Intensity, normalise
from hidiff.images.label_names import name_values, read_label_names
from hidiff.images.mask_values import PictureTraits, picture_traits
from hidiff.images.nifti import open_nifti
from hidiff.images.nrrd import read_class_names
from hidiff.images.opening import GivenImage, name_of, open_image
from hidiff.images.priors import (
    PriorFiles,
    Priors,
    check_prior,
    find_prior,
    prior_files,
    prior_folder,
    read_prior,
    soften,
)
from hidiff.images.value_range import check_range, rescale
from hidiff.images.view import find_view

__all__ = [
    "FORMATS",
    "DataError",
    "Format",
    "Geometry",
    "GivenImage",
    "Grid",
    "Image",
    "ImageFiles",
    "Intensity",
    "MaskFiles",
    "PictureGeometry",
    "PictureTraits",
    "PriorFiles",
    "Priors",
    "VolumeGeometry",
    "check_prior",
    "check_range",
    "dicom_slices",
    "find_format",
    "find_mixture",
    "find_prior",
    "find_view",
    "first_file",
    "format_of",
    "from_slices",
    "image_stem",
    "is_hidden",
    "name_images",
    "name_of",
    "name_values",
    "normalise",
    "open_image",
    "open_nifti",
    "picture_traits",
    "prior_files",
    "prior_folder",
    "read_class_names",
    "read_field_of_view",
    "read_geometry",
    "read_image",
    "read_label_names",
    "read_mask",
    "read_prior",
    "rescale",
    "soften",
    "to_slices",
    "visible_files",
]
