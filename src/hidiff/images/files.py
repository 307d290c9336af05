"""The files of an image or a mask, and the error that names one of them."""

from pathlib import Path

# One file, or a file for each channel (MRI of several sequences).
ImageFiles = Path | str | tuple[Path | str, ...]
# One file, or a file for each of several raters, who all annotated the same image.
MaskFiles = Path | str | tuple[Path | str, ...]


class DataError(ValueError):
    """A file or a folder that is not as it should be; the message names it and says what to do."""


def first_file(files: ImageFiles | MaskFiles) -> Path:
    """Return the file of an image or mask; for several files that of the first channel or rater."""
    return Path(files[0] if isinstance(files, tuple) else files)
