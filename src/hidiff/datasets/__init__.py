"""Data sets: which cases there are, and which split each one is in."""

from hidiff.datasets.case import Case, MissingSplit
from hidiff.datasets.catalog import CATALOG, CatalogEntry, Contents
from hidiff.datasets.listing import load_split
from hidiff.datasets.record import SPLITS_FILE, record_splits, write_splits
from hidiff.datasets.sets.brain import BRAIN_LABELS, write_brain
from hidiff.datasets.sets.prepare import PREPARERS, Prepared, prepare
from hidiff.datasets.sets.synthetic import SYNTHETIC_LABELS, write_synthetic
from hidiff.datasets.splits import Splitting, fold_of, hold_out, split_by_group

__all__ = [
    "BRAIN_LABELS",
    "CATALOG",
    "PREPARERS",
    "SPLITS_FILE",
    "SYNTHETIC_LABELS",
    "Case",
    "CatalogEntry",
    "Contents",
    "MissingSplit",
    "Prepared",
    "Splitting",
    "fold_of",
    "hold_out",
    "load_split",
    "prepare",
    "record_splits",
    "split_by_group",
    "write_brain",
    "write_splits",
    "write_synthetic",
]
