"""Files from strangers: into a private folder under harmless names, and out as one image."""

import contextlib
import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from hidiff.images import (
    FORMATS,
    DataError,
    ImageFiles,
    find_format,
    first_file,
    is_hidden,
    name_images,
)
from hidiff.serve.archive import SESSION, check_size, unpack
from hidiff.serve.refusal import Refusal
from hidiff.serve.settings import MIB, ServeSettings

ZIP = ".zip"
BESIDE = (".raw", ".zraw")  # voxels of a header (.mhd, .nhdr), which a reader finds beside it
# HDF5 is unpacked by a large library in C: docs/security.md.
REFUSED = (".h5", ".hdf5")
LONGEST_NAME = 100
BYTES_EACH = 4  # values are floats in memory


@runtime_checkable
class Upload(Protocol):
    """A file as a request brings it."""

    filename: str | None
    file: BinaryIO


def safe_name(name: str | None, number: int) -> str:
    """Return a name without folders and odd characters; `number` names a file without one."""
    last = re.split(r"[\\/]", name or "")[-1]
    kept = re.sub(r"[^\w.() +-]", "_", last).strip(". ")
    if len(kept) > LONGEST_NAME:
        kept = kept[:60] + kept[-(LONGEST_NAME - 60) :]
    return kept or f"file{number}"


def keep_uploads(uploads: Sequence[Upload], folder: Path, settings: ServeSettings) -> list[Path]:
    """Write the files of a request into a folder; a zip that comes alone is unpacked there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = _safe_names([upload.filename for upload in uploads])
    kept = []
    for upload, name in zip(uploads, names, strict=True):
        with (folder / name).open("xb") as file:
            shutil.copyfileobj(upload.file, file, MIB)
        kept.append(folder / name)
    if len(kept) == 1 and kept[0].suffix.lower() == ZIP:
        kept = _unpack(kept[0], settings)
    for file in kept:
        if file.suffix.lower() == SESSION:
            check_size(file, settings.max_unpacked_bytes, settings.max_files)
    return [file for file in kept if not is_hidden(file)]


def _unpack(path: Path, settings: ServeSettings) -> list[Path]:
    check_size(path, settings.max_unpacked_bytes, settings.max_files)
    with zipfile.ZipFile(path) as archive:
        inside = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    folder = path.with_name("unpacked")
    folder.mkdir(mode=0o700)
    files = unpack(path, folder, _safe_names(inside))
    path.unlink()
    return files


def _safe_names(given: Sequence[str | None]) -> list[str]:
    """Return a harmless name for each file, no two alike."""
    names: list[str] = []
    taken: set[str] = set()
    for number, each in enumerate(given):
        name = safe_name(each, number)
        while name.lower() in taken:
            name = f"{number}_{name}"
        taken.add(name.lower())
        names.append(name)
    return names


def find_image(
    files: Sequence[Path], channels: int, settings: ServeSettings, source: str
) -> ImageFiles:
    """Return the one image that uploaded files are: a file, a file per channel, a DICOM series."""
    cases = find_images(files, channels, settings, source)
    if len(cases) > 1:
        raise Refusal(
            422,
            f"{len(cases)} images came, but one at a time is opened. Send one picture, one volume "
            "or the slices of one DICOM series.",
        )
    return cases[0]


def find_images(
    files: Sequence[Path], channels: int, settings: ServeSettings, source: str
) -> list[ImageFiles]:
    """Return the images that uploaded files are, checked for the size that they unpack to.

    `source` is the data set that the model was trained on: see `name_images`.
    """
    images = [file for file in files if file.suffix.lower() not in (*BESIDE, SESSION)]
    if not images:
        raise Refusal(422, "no image came. Send a picture, a volume or a DICOM series.")
    for file in images:
        _check_kind(file)
    dicom = [file for file in images if _is_dicom(file)]
    if len(dicom) > 1:
        others = [file for file in images if file not in dicom]
        folder = dicom[0].parent
        if others:  # a DICOMDIR, a text beside the slices
            for file in others:
                file.unlink()
        found: list[ImageFiles] = [folder]
    else:
        cases = name_images(list(images), channels, source)
        lacking = next((case for case in cases if case.missing), None)
        if lacking is not None:
            raise Refusal(
                422,
                f"the model takes {channels} channels, but {', '.join(lacking.missing[:5])} did "
                "not come. Send all files of the image together.",
            )
        found = [case.image for case in cases]
    _check_unpacked(found, channels, settings)
    return found


def _is_dicom(file: Path) -> bool:
    format = find_format(file)
    return format is not None and "dicom" in format.outputs


def _check_kind(file: Path) -> None:
    if file.suffix.lower() in REFUSED:
        raise Refusal(
            415, f"{file.name}: HDF5 is not read from uploads. Send NIfTI, NRRD, npy or DICOM."
        )
    if find_format(file) is None and not file.name.upper().startswith("DICOMDIR"):
        raise Refusal(
            415,
            f"{file.name} is no kind of image that is read: {', '.join(FORMATS)}, .npy, .npz or "
            "DICOM.",
        )


def _check_unpacked(images: Sequence[ImageFiles], channels: int, settings: ServeSettings) -> None:
    total = 0
    for image in images:
        path = first_file(image)
        format = find_format(path)
        if format is None:
            raise DataError(f"{path} is no image of a known kind. Convert it.")
        with contextlib.suppress(DataError):  # of a damaged file its reader says so
            total += format.count_values(path) * channels * BYTES_EACH
        if total > settings.max_unpacked_bytes:
            raise Refusal(
                413,
                f"{path.name} unpacks to more than {settings.max_unpacked} MiB, which is the most. "
                "Cut it in pieces.",
            )
