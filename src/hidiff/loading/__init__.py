"""Cases as tensors: loaded, cached, cut into patches and dealt out in batches.

`hidiff.loading.transforms` is not among the names here: it imports MONAI, which takes seconds, and
only training needs it.
"""

from hidiff.loading.augmentation import PRESETS, Augmentation
from hidiff.loading.crop import At, Crop, place_crop, stretch
from hidiff.loading.dataset import LoadedCases, TrainingPatches, collate, count_cache
from hidiff.loading.draws import Draws
from hidiff.loading.planes import PLANES, Item, PlaneRule, read_item, segmentor_input
from hidiff.loading.reading import (
    CaseFiles,
    Reading,
    Slicing,
    counts_some,
    load_image,
    most_raters,
    normalise_image,
    show_slice,
)
from hidiff.loading.resize import resize_image
from hidiff.loading.settings import DATA_VARIABLE, DataSettings

__all__ = [
    "DATA_VARIABLE",
    "PLANES",
    "PRESETS",
    "At",
    "Augmentation",
    "CaseFiles",
    "Crop",
    "DataSettings",
    "Draws",
    "Item",
    "LoadedCases",
    "PlaneRule",
    "Reading",
    "Slicing",
    "TrainingPatches",
    "collate",
    "count_cache",
    "counts_some",
    "load_image",
    "most_raters",
    "normalise_image",
    "place_crop",
    "read_item",
    "resize_image",
    "segmentor_input",
    "show_slice",
    "stretch",
]
