"""Tags that a DICOM SEG needs of its series: filled in where they are missing, empty or wrong.

Tools that hide the patient delete or empty tags, or write words where dates belong. One rule for
each tag stands here: the type-2 tags of the standard may be empty, so they are written empty;
identifiers are made up; sizes come from the geometry.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hidiff.extras import import_extra
from hidiff.images import DataError
from hidiff.images.dicom_series import Slice, read_head

# Tags that may be empty by the standard (type 2), and that highdicom asks for.
MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime", "ReferringPhysicianName", "PositionReferenceIndicator",
)  # fmt: skip
# Tags that highdicom copies as they are: a value that does not fit its type is left out.
COPIED = (*MAY_BE_EMPTY, "PatientAge", "PatientSize", "PatientWeight", "PatientBirthTime")
STUDY_UIDS = ("StudyInstanceUID", "SeriesInstanceUID")
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


class Source(NamedTuple):
    """One file that a SEG refers to."""

    head: Any
    """its header as highdicom can use it"""
    instance: str
    sop_class: str
    """its own class, which highdicom may not know"""


def complete_headers(series: Path, slices: Sequence[Slice]) -> list[Source]:
    """Return the headers of the files of slices, completed; warn of what was filled in."""
    first_slices = {slice.file: slice for slice in reversed(slices)}
    files = list(dict.fromkeys(slice.file for slice in slices))
    heads = [read_head(file) for file in files]
    changes: dict[str, None] = {}
    originals = []
    for file, head in zip(files, heads, strict=True):
        _name_instance(head, changes)
        own = str(head.SOPClassUID)
        _choose_class(file, head, changes)
        originals.append(own or str(head.SOPClassUID))
        _empty_tags(head, changes)
    _make_uids(heads, changes)
    _fill_geometry(series, slices, [first_slices[file] for file in files], heads, changes)
    if changes:
        warnings.warn(
            f"{series}: its DICOM SEG has tags that the series lacks or has wrong: "
            f"{'; '.join(changes)}.",
            stacklevel=2,
        )
    return [
        Source(head, str(head.SOPInstanceUID), sop_class)
        for head, sop_class in zip(heads, originals, strict=True)
    ]


def _name_instance(head: Any, changes: dict[str, None]) -> None:
    """Give a header its own identifiers: from the file's meta header, or made from its content."""
    meta = head.file_meta
    head.SOPClassUID = head.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or ""
    instance = head.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID")
    if not instance:
        place = [str(head.get(name)) for name in ("ImagePositionPatient", "InstanceNumber")]
        instance = _make_uid("SOPInstanceUID", str(head.get("SeriesInstanceUID")), *place)
        changes["SOPInstanceUID made up"] = None
    head.SOPInstanceUID = instance


def _choose_class(file: Path, head: Any, changes: dict[str, None]) -> None:
    """Give highdicom a class of image that it knows, with the same modules of patient and study."""
    known = import_extra("highdicom._standard_utils", "dicom", file).get_sop_class_iod_map()
    modality = str(head.get("Modality") or "")
    if str(head.SOPClassUID) not in known:
        own = f"{head.SOPClassUID} is unknown" if head.SOPClassUID else "is missing"
        changes[f"the SOP class {own}: the tags of a usual image are copied"] = None
        has_place = head.get("ImagePositionPatient") is not None
        usual = MR if modality == "MR" else CT if has_place else SECONDARY_CAPTURE
        head.SOPClassUID = usual
    if not modality:
        head.Modality = "OT"
        changes["Modality written as OT (other)"] = None


def _empty_tags(head: Any, changes: dict[str, None]) -> None:
    """Write tags empty that are missing, or whose value is none of their type."""
    validate = import_extra("pydicom.valuerep", "dicom").validate_value
    config = import_extra("pydicom.config", "dicom")
    for name in COPIED:
        if name not in head:
            if name in MAY_BE_EMPTY:
                setattr(head, name, None)
                changes[f"{name} written empty"] = None
            continue
        try:
            element = head[name]
            for value in element.value if element.VM > 1 else [element.value]:
                if value not in (None, ""):
                    text = str(value)
                    validate(element.VR, text, config.RAISE)
        except Exception:  # pydicom has several for a value that is none of its type
            del head[name]
            setattr(head, name, None)
            changes[f"{name} written empty, as its value is none"] = None


def _make_uids(heads: Sequence[Any], changes: dict[str, None]) -> None:
    """Make identifiers of study and series up, the same for all SEGs of a series."""
    first = heads[0]
    for name in STUDY_UIDS:
        if not first.get(name):
            made = _make_uid(name, str(first.SOPInstanceUID))
            for head in heads:
                setattr(head, name, made)
            changes[f"{name} made up"] = None
    instances = [str(head.SOPInstanceUID) for head in heads]
    if len(set(instances)) < len(instances):
        raise DataError(
            "no DICOM SEG can be made: several slices have the same SOPInstanceUID, so that "
            "masks cannot name their slice. Use the format nifti."
        )


def _fill_geometry(
    series: Path,
    slices: Sequence[Slice],
    firsts: Sequence[Slice],
    heads: Sequence[Any],
    changes: dict[str, None],
) -> None:
    """Fill in the frame of reference and the thickness of slices that have a place."""
    if heads[0].get("ImagePositionPatient") is None and firsts[0].frame is None:
        if heads[0].get("FrameOfReferenceUID") is not None:
            del heads[0].FrameOfReferenceUID  # means nothing without a place
        return
    frames = {str(head.get("FrameOfReferenceUID") or "") for head in heads} - {""}
    made = min(frames) if frames else _make_uid("FrameOfReferenceUID", heads[0].SeriesInstanceUID)
    if any(str(head.get("FrameOfReferenceUID") or "") != made for head in heads):
        source = "taken from another slice" if frames else "made up"
        changes[f"FrameOfReferenceUID {source}"] = None
    for head, slice in zip(heads, firsts, strict=True):
        head.FrameOfReferenceUID = made
        if slice.frame is None and not head.get("SliceThickness"):
            head.SliceThickness = _thickness(slices)
            changes[f"SliceThickness written as {float(head.SliceThickness):g} mm"] = None


def _thickness(slices: Sequence[Slice]) -> Any:
    """Return the distance between slices as a number of DICOM; of a single slice 1 mm."""
    number = import_extra("pydicom.valuerep", "dicom").DSfloat
    between = float(slices[0].head.get("SpacingBetweenSlices") or 1)
    if len(slices) > 1:
        first, last = (
            np.array(each.head.ImagePositionPatient, dtype=float)
            for each in (slices[0], slices[-1])
        )
        between = float(np.linalg.norm(last - first)) / (len(slices) - 1)
    return number(round(abs(between), 6), auto_format=True)


def _make_uid(*sources: str) -> Any:
    generate_uid = import_extra("pydicom.uid", "dicom").generate_uid
    return generate_uid(entropy_srcs=list(sources))
