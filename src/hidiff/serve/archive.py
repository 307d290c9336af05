"""Zips: files to hand over, and archives that were uploaded."""

import io
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from hidiff.serve.refusal import Refusal

SESSION = ".session"  # the ending of a saved session
MIB = 2**20


def zip_of(paths: Sequence[Path], errors: str = "", pack: bool = True) -> bytes:
    """Return a zip of files, with errors.txt if there were any."""
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if pack else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for path in paths:
            archive.write(path, path.name)
        if errors:
            archive.writestr("errors.txt", errors + "\n")
    return buffer.getvalue()


def bundle(paths: Sequence[Path], name: str) -> tuple[bytes, str]:
    """Return the content and the name of a file, or of a zip of several."""
    if len(paths) == 1:
        return paths[0].read_bytes(), paths[0].name
    return zip_of(paths), f"{name}_masks.zip"


def check_size(path: Path, most_bytes: int, most_files: int) -> None:
    """Raise Refusal for a zip that unpacks to more than is allowed, or that does not read."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise Refusal(422, f"{path.name} does not read as a zip. Send it again.") from error
    # reading an entry never gives more bytes than its head says
    if sum(entry.file_size for entry in entries) > most_bytes or len(entries) > most_files:
        raise Refusal(
            413,
            f"{path.name} holds more than {most_bytes // MIB} MiB or {most_files} files, which is "
            "the most.",
        )


def unpack(path: Path, folder: Path, names: Sequence[str]) -> list[Path]:
    """Write the files of a zip into a folder under these names, one each; folders are left out."""
    files = []
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            for entry, name in zip(entries, names, strict=True):
                with archive.open(entry) as content, (folder / name).open("xb") as file:
                    shutil.copyfileobj(content, file, MIB)
                files.append(folder / name)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise Refusal(
            422, f"{path.name} does not unpack: it may be cut off or encrypted."
        ) from error
    return files
