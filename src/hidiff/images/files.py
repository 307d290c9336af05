"""The files of an image or a mask, those that are none, and the error that names one of them."""

from pathlib import Path

# One file, or a file for each channel (MRI of several sequences).
ImageFiles = Path | str | tuple[Path | str, ...]
# One file, or a file for each of several raters, who all annotated the same image.
MaskFiles = Path | str | tuple[Path | str, ...]


class DataError(ValueError):
    """A file or a folder that is not as it should be; the message names it and says what to do."""


def first_file(files: ImageFiles | MaskFiles) -> Path:
    """Return the file of an image or mask; for several files that of the first channel or rater."""
    first = files[0] if isinstance(files, tuple) else files
    return first if isinstance(first, Path) else Path(first)  # parsing a path again takes time


# Written by the file managers of Windows and macOS, and by disk stations; compared in lower case.
SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir")


def is_hidden(path: Path) -> bool:
    """Return whether a file or folder is hidden or the system's own, so that no layout lists it.

    A Mac's archive holds a `._NAME` beside each file: it begins with a dot as hidden files do.
    """
    return path.name.startswith(".") or path.name.lower() in SYSTEM_FILES


def visible_files(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted by name, without hidden files and the system's own."""
    return [path for path in sorted(folder.iterdir()) if not is_hidden(path)]
