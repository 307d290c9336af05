"""The report on a data set: what was counted, and what there is to know or to mend."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

LOST_SPACING = (
    "the spacing looks lost: all voxels are 1 x 1 x 1 mm, as in files that were written without "
    "one. Distances in mm and the shape of patches rest on it: copy it from the originals, "
    "unless the images were resampled to it"
)


@dataclass(frozen=True)
class Finding:
    """Something to know: `stop` is no go, `warning` is for a second look, `note` says what is."""

    level: Literal["stop", "warning", "note"]
    text: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class MaskValue:
    """A value of the mask files, and how much of it there is."""

    value: int | float
    share: float
    """share of the pixels of all masks"""
    masks: int
    """that hold it"""


@dataclass
class DataReport:
    """The description and the faults of a data set."""

    place: str
    cases: dict[str, int] = field(default_factory=dict)
    """split -> cases"""
    groups: dict[str, int] = field(default_factory=dict)
    """split -> patients"""
    sizes: dict[str, int] = field(default_factory=dict)
    """rows x columns -> images; the voxels of volumes, as they lie in their files"""
    spacings: dict[str, int] = field(default_factory=dict)
    """mm between voxels -> volumes"""
    channels: dict[int, int] = field(default_factory=dict)
    """channels -> images"""
    types: dict[str, int] = field(default_factory=dict)
    """type of number -> images"""
    mask_types: dict[str, int] = field(default_factory=dict)
    """type of number -> masks"""
    values: list[MaskValue] = field(default_factory=list)
    """values of the masks, the most frequent first"""
    reading: str = ""
    """the meaning that the masks' values will have"""
    findings: list[Finding] = field(default_factory=list)

    @property
    def go(self) -> bool:
        """True if training can begin."""
        return not any(finding.level == "stop" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return plain numbers and words for a program."""
        return {"go": self.go, **asdict(self)}
