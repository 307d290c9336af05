"""One case of a data set: where its image and its mask lie, and whose they are."""

from dataclasses import dataclass
from pathlib import Path

# One file, or a file for each channel (MRI of several sequences).
ImageFiles = Path | str | tuple[Path | str, ...]
# One file, or a file for each of several raters, who all looked at the same image.
MaskFiles = Path | str | tuple[Path | str, ...]


def first_file(files: ImageFiles | MaskFiles) -> Path:
    """The file of an image or mask; of several that of the first channel, or rater."""
    return Path(files[0] if isinstance(files, tuple) else files)


class DataError(ValueError):
    """A file or a folder that is not as it should be; the message names it and says what to do."""


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
