"""The entries of the catalog of data sets."""

from dataclasses import dataclass

from hidiff.datasets.layouts import Layout
from hidiff.images.intensity import Intensity
from hidiff.labels import Labels


@dataclass(frozen=True)
class Contents:
    """The number of cases, groups and raters of a whole data set, over all its splits."""

    cases: int
    groups: int
    """patients, or what else stays together"""
    raters: int = 1


@dataclass(frozen=True)
class CatalogEntry:
    """One data set. What only the user knows (labels, channels, intensity) is None."""

    title: str
    modality: str
    layout: str
    """layout of the folder that training reads"""
    split: str
    labels: Labels | None
    channels: int | None
    terms: str
    list_cases: Layout
    intensity: Intensity | None = None
    augmentation: str = ""
    """a preset's name, or what the recipe spells out"""
    holds: Contents | None = None
    citation: str = ""
    recipe: str = ""
    """that comes with HiDiff"""
    fields_of_view: bool = False
    """True if its cases may have one"""

    @property
    def classes(self) -> str:
        """The names of the classes, such as "RV, MYO, LV"; "yours" if only the user knows them."""
        return ", ".join(self.labels.class_names) if self.labels else "yours"
