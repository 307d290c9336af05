"""Images and masks: from files to batches of tensors."""

from hidiff.data.augmentation import PRESETS, Augmentation
from hidiff.data.brain import BRAIN_LABELS, write_brain
from hidiff.data.case import (
    Case,
    DataError,
    ImageFiles,
    MaskFiles,
    MissingSplit,
    first_file,
)
from hidiff.data.catalog import CATALOG, CatalogEntry, Contents, load_split
from hidiff.data.dataset import (
    LoadedCases,
    TrainingPatches,
    collate,
    count_cache,
    load_case,
    load_image,
    most_raters,
    resize_image,
)
from hidiff.data.dicom import dicom_files, is_dicom
from hidiff.data.draws import Draws
from hidiff.data.grid import Grid, from_slices, to_slices
from hidiff.data.intensity import Intensity, normalise
from hidiff.data.nifti import open_nifti
from hidiff.data.prepare import PREPARERS, Prepared, prepare
from hidiff.data.prior import Priors, check_prior, find_prior, read_prior
from hidiff.data.read import (
    read_field_of_view,
    read_files,
    read_image,
    read_mask,
    read_open_picture,
)
from hidiff.data.record import SPLITS_FILE, record_splits, write_splits
from hidiff.data.settings import DATA_VARIABLE, DataSettings, check_sides
from hidiff.data.slices import (
    LoadedVolumes,
    SlicedVolume,
    Slicing,
    count_volume_cache,
    load_volume,
    load_volume_mask,
    read_slice,
    resize_slices,
    show_slice,
)
from hidiff.data.splits import Splitting, fold_of, hold_out, split_by_group
from hidiff.data.synthetic import SYNTHETIC_LABELS, write_synthetic
from hidiff.data.transforms import training_transform
from hidiff.data.view import find_view
from hidiff.data.volume import is_dicom_volume, is_volume, read_grid, volume_stem

__all__ = [
    "BRAIN_LABELS",
    "CATALOG",
    "DATA_VARIABLE",
    "PREPARERS",
    "PRESETS",
    "SPLITS_FILE",
    "SYNTHETIC_LABELS",
    "Augmentation",
    "Case",
    "CatalogEntry",
    "Contents",
    "DataError",
    "DataSettings",
    "Draws",
    "Grid",
    "ImageFiles",
    "Intensity",
    "LoadedCases",
    "LoadedVolumes",
    "MaskFiles",
    "MissingSplit",
    "Prepared",
    "Priors",
    "SlicedVolume",
    "Slicing",
    "Splitting",
    "TrainingPatches",
    "check_prior",
    "check_sides",
    "collate",
    "count_cache",
    "count_volume_cache",
    "dicom_files",
    "find_prior",
    "find_view",
    "first_file",
    "fold_of",
    "from_slices",
    "hold_out",
    "is_dicom",
    "is_dicom_volume",
    "is_volume",
    "load_case",
    "load_image",
    "load_split",
    "load_volume",
    "load_volume_mask",
    "most_raters",
    "normalise",
    "open_nifti",
    "prepare",
    "read_field_of_view",
    "read_files",
    "read_grid",
    "read_image",
    "read_mask",
    "read_open_picture",
    "read_prior",
    "read_slice",
    "record_splits",
    "resize_image",
    "resize_slices",
    "show_slice",
    "split_by_group",
    "to_slices",
    "training_transform",
    "volume_stem",
    "write_brain",
    "write_splits",
    "write_synthetic",
]
