"""Images and masks: from files to batches of tensors."""

from hidiff.data.brain import BRAIN_LABELS, write_brain
from hidiff.data.case import Case, DataError
from hidiff.data.catalog import CATALOG, CatalogEntry, load_split
from hidiff.data.dataset import (
    LoadedCases,
    TrainingPatches,
    collate,
    count_cache,
    load_case,
    load_image,
    resize_image,
)
from hidiff.data.draws import Draws
from hidiff.data.intensity import Intensity, normalise
from hidiff.data.read import read_field_of_view, read_image, read_mask, read_open_picture
from hidiff.data.settings import DATA_VARIABLE, DataSettings
from hidiff.data.splits import Splitting, hold_out, split_by_group
from hidiff.data.synthetic import SYNTHETIC_LABELS, write_synthetic
from hidiff.data.transforms import PRESETS, Augmentation, training_transform

__all__ = [
    "BRAIN_LABELS",
    "CATALOG",
    "DATA_VARIABLE",
    "PRESETS",
    "SYNTHETIC_LABELS",
    "Augmentation",
    "Case",
    "CatalogEntry",
    "DataError",
    "DataSettings",
    "Draws",
    "Intensity",
    "LoadedCases",
    "Splitting",
    "TrainingPatches",
    "collate",
    "count_cache",
    "hold_out",
    "load_case",
    "load_image",
    "load_split",
    "normalise",
    "read_field_of_view",
    "read_image",
    "read_mask",
    "read_open_picture",
    "resize_image",
    "split_by_group",
    "training_transform",
    "write_brain",
    "write_synthetic",
]
