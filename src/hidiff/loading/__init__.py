"""Cases as tensors: loaded, cached, cut into patches and dealt out in batches.

`hidiff.loading.transforms` is not among the names here: it imports MONAI, which takes seconds, and
only training needs it.
"""

from hidiff.loading.augmentation import PRESETS, Augmentation
from hidiff.loading.dataset import (
    LoadedCases,
    TrainingPatches,
    collate,
    count_cache,
    load_case,
    load_image,
    most_raters,
    resize_image,
)
from hidiff.loading.draws import Draws
from hidiff.loading.settings import DATA_VARIABLE, DataSettings
from hidiff.loading.slices import (
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

__all__ = [
    "DATA_VARIABLE",
    "PRESETS",
    "Augmentation",
    "DataSettings",
    "Draws",
    "LoadedCases",
    "LoadedVolumes",
    "SlicedVolume",
    "Slicing",
    "TrainingPatches",
    "collate",
    "count_cache",
    "count_volume_cache",
    "load_case",
    "load_image",
    "load_volume",
    "load_volume_mask",
    "most_raters",
    "read_slice",
    "resize_image",
    "resize_slices",
    "show_slice",
]
