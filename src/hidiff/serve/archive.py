"""Files to hand over: one as it is, several as a zip."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path


def zip_of(paths: Sequence[Path], errors: str = "") -> bytes:
    """Return a zip of files, with errors.txt if there were any."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
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
