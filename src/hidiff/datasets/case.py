"""One case of a data set: where its image and its mask lie, and whose they are."""

from dataclasses import dataclass
from pathlib import Path

from hidiff.images import DataError, ImageFiles, MaskFiles, PriorFiles


class MissingSplit(DataError):
    """A split without a case, or without its folder: that of the tests may be missing."""


@dataclass(frozen=True)
class Case:
    """An image and what belongs to it.

    `name` is unique within the data set: draws and result rows depend on it. `group` is the
    patient (or eye's owner, or slab of a volume): cases of one group never lie in two splits.
    """

    name: str
    image: ImageFiles
    mask: MaskFiles | None
    field_of_view: Path | str | None
    group: str
    has_spacing: bool = True
    """True if a volume's file has the true spacing; ACDC was published without"""
    prior: PriorFiles | None = None
    """another model's result, which is to be refined"""

    @property
    def masks(self) -> tuple[Path | str, ...]:
        """The masks of all raters; empty without a mask."""
        if self.mask is None:
            return ()
        return self.mask if isinstance(self.mask, tuple) else (self.mask,)
