"""Files of DICOM: which they are, what their headers say, and whether they make one series."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hidiff.extras import import_extra
from hidiff.images.dicom_frames import split_frames
from hidiff.images.files import DataError, visible_files

# What places a slice; read of every file before any of its pixels.
PLACING = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
HEADS = (
    *PLACING, "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "NumberOfFrames",
    "SamplesPerPixel", "PhotometricInterpretation", "SliceThickness", "SpacingBetweenSlices",
    "ImagerPixelSpacing", "NominalScannedPixelSpacing", "RescaleSlope", "RescaleIntercept",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "BitsStored", "HighBit",
)  # fmt: skip
ENDINGS = (".dcm", ".dicom", ".ima")
GREYS = ("MONOCHROME1", "MONOCHROME2")
# A file without the mark at byte 128 begins with an element of one of these groups.
FIRST_GROUPS = (0x0002, 0x0008)


class Slice(NamedTuple):
    """One slice of a volume, and where it is kept."""

    file: Path
    head: Any
    """a data set of pydicom with the elements of HEADS"""
    frame: int | None = None
    """number of the frame, from 0, in a file of several"""

    @property
    def name(self) -> str:
        """Return the file's name, with the number of the frame where there are several."""
        return self.file.name + ("" if self.frame is None else f" (frame {self.frame + 1})")


def _files_in(folder: Path) -> list[Path]:
    """Return the files of a folder without its index, which holds no image."""
    return [file for file in visible_files(folder) if file.is_file() and file.name != "DICOMDIR"]


def is_dicom(path: Path) -> bool:
    """Return whether a file holds DICOM, or a folder any such file.

    The mark at byte 128 says so. Files that were written without the 128 bytes before it are known
    by their first element. Folders also count if they hold files of DICOM's endings.
    """
    if path.is_dir():
        files = _files_in(path)
        return any(file.suffix.lower() in ENDINGS or is_dicom(file) for file in files)
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        start = file.read(132)
    return start[128:] == b"DICM" or _begins_with_element(start)


def _begins_with_element(start: bytes) -> bool:
    """Return whether bytes are the tag, type (VR) and length of a first element of DICOM."""
    if len(start) < 12:
        return False
    for order in ("little", "big"):
        group, element = (int.from_bytes(start[at : at + 2], order) for at in (0, 2))
        if group in FIRST_GROUPS and element <= 0x0100:
            explicit = start[4:6].isalpha() and start[4:6].isupper()
            length = int.from_bytes(start[4:8], "little")
            return explicit or (order == "little" and length <= 128)
    return False


@contextlib.contextmanager
def as_data_errors(path: Path) -> Iterator[None]:
    """Turn any error of pydicom about a malformed header into a DataError that names the file."""
    try:
        yield
    except (DataError, ImportError):
        raise
    except Exception as error:  # pydicom reads a number only when asked for it, and has many errors
        raise DataError(
            f"{path} has a head that does not hold ({type(error).__name__}: {error}). Copy it "
            "again, or take it out."
        ) from None


def read_slices(path: Path) -> list[Slice]:
    """Read the headers of a file, or of a folder's files, by name; checked to be one series."""
    found: list[Slice] = []
    for file in _find_files(path):
        head = read_head(file, list(HEADS))
        found += [Slice(file, *each) for each in split_frames(file, head)]
    if not found:
        raise DataError(f"{path} holds no DICOM file. Check the path.")
    found = _drop_copies(found)
    projection = len(found) == 1 and found[0].head.get("ImagePositionPatient") is None
    for slice in found:
        _check_slice(slice, projection)
    _check_one_series(path, found)
    return found


def read_head(file: Path, tags: list[str] | None = None) -> Any:
    """Read the header of one file, all of it or some tags. Files without the mark are read too."""
    dcmread = import_extra("pydicom", "dicom", file).dcmread
    try:
        _check_packing(file)
        return dcmread(file, specific_tags=tags, stop_before_pixels=True, force=True)
    except DataError:
        raise
    except Exception as error:  # pydicom has one for each way to be wrong
        raise DataError(
            f"{file} cannot be read as DICOM ({error}). Copy it again, or take it out."
        ) from None


def _find_files(path: Path) -> list[Path]:
    """Return the DICOM files of a folder, or the file itself.

    Raises DataError for a file that is named like a slice but is not DICOM, because the volume
    would miss a slice. Texts and files with other endings are skipped.
    """
    if not path.is_dir():
        return [path] if path.is_file() else []
    files = _files_in(path)
    known = [file for file in files if is_dicom(file)]
    for file in files:
        unknown = file.suffix == "" and not _is_text(file)
        if file not in known and (file.suffix.lower() in ENDINGS or unknown):
            raise DataError(
                f"{file} cannot be read as DICOM: it begins like no such file. It may be cut off: "
                "copy it again, or take it out."
            )
    return known


def _is_text(file: Path) -> bool:
    """Return whether a file is a text, such as the licence that archives put beside a series."""
    with open(file, "rb") as opened:
        start = opened.read(512)
    return bool(start) and b"\0" not in start


def _check_packing(file: Path) -> None:
    """Raise DataError for a file that is packed as a whole: pydicom unpacks it without an end."""
    uids = import_extra("pydicom.uid", "dicom", file)
    reader = import_extra("pydicom.filereader", "dicom", file)
    with open(file, "rb") as opened:
        reader.read_preamble(opened, force=True)
        meta = reader.read_dataset(opened, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
        syntax = meta.get("TransferSyntaxUID")
    if syntax == uids.DeflatedExplicitVRLittleEndian:
        raise DataError(
            f"{file} is deflated DICOM, which is not read, as a small file may hold more than the "
            "memory holds. Unpack it, e.g. with dcmconv."
        )


def _drop_copies(found: Sequence[Slice]) -> list[Slice]:
    """Leave out files that are copies of another, by instance, place and pixels, and warn."""
    kept: dict[tuple[str, str], Slice] = {}
    others: list[Slice] = []
    copies: list[str] = []
    for slice in found:
        instance = str(slice.head.get("SOPInstanceUID") or "")
        key = instance, str(slice.head.get("ImagePositionPatient"))
        if slice.frame is not None or not instance or key not in kept:
            others.append(slice)
            kept.setdefault(key, slice)
        elif _same_pixels(slice.file, kept[key].file):
            copies.append(slice.name)
        else:
            others.append(slice)
    if copies:
        names = ", ".join(copies[:5]) + (", ..." if copies[5:] else "")
        warnings.warn(
            f"{found[0].file.parent} holds {len(copies)} slices twice; the copies are left out: "
            f"{names}.",
            stacklevel=2,
        )
    return others


def _same_pixels(left: Path, right: Path) -> bool:
    dcmread = import_extra("pydicom", "dicom", left).dcmread
    first, second = (dcmread(file, force=True) for file in (left, right))
    return first.get("PixelData") == second.get("PixelData")


def _check_slice(slice: Slice, projection: bool) -> None:
    """Raise DataError for a slice without a place, unless it is a projection, or in colour."""
    head = slice.head
    wanted = ("Rows", "Columns") if projection else PLACING
    lacking = [name for name in wanted if head.get(name) in (None, "")]
    if lacking:
        raise DataError(
            f"{slice.file} lacks {' and '.join(lacking)}, so nobody knows where its pixels lie. "
            "Take it out, or convert the series with a tool that knows its scanner. Projections "
            "(CR, DX, mammography) are read one file at a time: give the file, not its folder."
        )
    photometric = str(head.get("PhotometricInterpretation") or "MONOCHROME2").strip()
    if int(head.get("SamplesPerPixel") or 1) != 1 or photometric not in GREYS:
        raise DataError(
            f"{slice.file} is in colour ({photometric}), but one number a pixel is wanted "
            f"({' or '.join(GREYS)}). Take it out, or convert it."
        )
    stored, high = head.get("BitsStored"), head.get("HighBit")
    if stored and high is not None and int(high) != int(stored) - 1:
        raise DataError(
            f"{slice.file} keeps {stored} bits of a number below bit {high}, but they are read as "
            f"the lowest ones (HighBit {int(stored) - 1}). Write it again, e.g. with dcmconv."
        )


def _check_one_series(path: Path, found: Sequence[Slice]) -> None:
    """Raise DataError for slices of two series, two sizes or two directions."""
    names = {
        str(each.head.get("SeriesInstanceUID")): str(
            each.head.get("SeriesDescription") or "without a name"
        )
        for each in found
    }
    if len(names) > 1:
        raise DataError(
            f"{path} holds {len(names)} series ({', '.join(names.values())}), but one is wanted. "
            "Give each a folder of its own."
        )
    first = found[0]
    for slice in found[1:]:
        for name in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient"):
            came, wanted = (
                np.atleast_1d(each.head.get(name)).astype(float) for each in (slice, first)
            )
            if not np.allclose(came, wanted, atol=1e-3):
                raise DataError(
                    f"{path} holds slices of several {name}: {came.tolist()} in {slice.name}, "
                    f"{wanted.tolist()} in {first.name}. Take out those that are no slices of "
                    "the volume (a scout view, another plane)."
                )
    polarities = {str(each.head.get("PhotometricInterpretation") or "") for each in found}
    if "MONOCHROME1" in polarities and len(polarities) > 1:
        raise DataError(
            f"{path} holds slices of both MONOCHROME1 and MONOCHROME2, where white means the "
            "opposite. Give each kind a folder of its own."
        )
