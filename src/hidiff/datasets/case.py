"""One case of a data set: where its image and its mask lie, and whose they are."""

from dataclasses import dataclass
from pathlib import Path

from hidiff.images import DataError, ImageFiles, MaskFiles


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
    """volumes: whether the file's spacing is the true one; ACDC's, as it is passed on, is lost"""
    prior: Path | str | None = None
    """another model's result, to be refined"""

    @property
    def masks(self) -> tuple[Path | str, ...]:
        """The mask of every rater; none where there is no mask."""
        if self.mask is None:
            return ()
        return self.mask if isinstance(self.mask, tuple) else (self.mask,)


def mask_of(case: Case) -> Path | str:
    """The mask of a volume, where it is one and all there is beside the image, else DataError."""
    if case.mask is None:
        raise DataError(
            f"case {case.name} has no mask, but training and evaluation want one. Add it, or "
            "use hidiff predict."
        )
    if isinstance(case.mask, tuple):
        raise DataError(
            f"case {case.name} has {len(case.mask)} masks, but of volumes one is read. Several "
            "raters are for pictures: give one mask a volume."
        )
    if case.field_of_view is not None:
        raise DataError(
            f"case {case.name} has a field of view, {case.field_of_view}, but of volumes none is "
            "read. Take it out."
        )
    return case.mask
