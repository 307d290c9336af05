"""One case of a data set: where its image and its mask lie, and whose they are."""

from dataclasses import dataclass
from pathlib import Path


class DataError(ValueError):
    """A file or a folder that is not as it should be; the message names it and says what to do."""


@dataclass(frozen=True)
class Case:
    """An image and what belongs to it.

    `name` is unique within the data set: draws and result rows depend on it. `group` is the
    patient (or eye's owner, or slab of a volume): cases of one group never lie in two splits.
    """

    name: str
    image: Path | str
    mask: Path | str | None
    field_of_view: Path | str | None
    group: str
