"""Enhanced DICOM: one file of many frames, whose places are in functional groups."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hidiff.extras import import_extra
from hidiff.images.files import DataError

# Element of a frame -> the group that holds it.
GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}
PER_FRAME, SHARED = "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"


def split_frames(file: Path, head: Any) -> Iterator[tuple[Any, int | None]]:
    """Yield the header of every frame with its number; of a plain file the header itself.

    Raises DataError for frames that do not say where they lie, such as those of a film.
    """
    frames = int(head.get("NumberOfFrames") or 1)
    groups = head.get(PER_FRAME) or []
    if not groups:
        if frames > 1:
            raise DataError(
                f"{file} is multi-frame DICOM of {frames} frames that do not say where they lie "
                "(a film), but slices of a volume are wanted. Write its frames as single images."
            )
        yield head, None
        return
    if len(groups) != frames:
        raise DataError(
            f"{file} has {frames} frames, but says of {len(groups)} where they lie. Convert it "
            "again from the scanner's files."
        )
    shared = (head.get(SHARED) or [{}])[0]
    plain = {each.keyword: each.value for each in head if each.keyword not in (PER_FRAME, SHARED)}
    for number, own in enumerate(groups):
        yield _frame_head(plain, own, shared), number


def _frame_head(plain: dict[str, Any], own: Any, shared: Any) -> Any:
    """Return what a frame's header would be if it were a file of its own."""
    frame = import_extra("pydicom", "dicom").Dataset()
    for keyword, value in plain.items():
        setattr(frame, keyword, value)
    for keyword, group in GROUPS.items():
        for holder in (own, shared):
            items = holder.get(group)
            if items and items[0].get(keyword) is not None:
                setattr(frame, keyword, items[0].get(keyword))
                break
    return frame
