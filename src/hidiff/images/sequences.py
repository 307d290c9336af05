"""Files of one case that are named by the MRI sequence of each channel, as BraTS names them.

Only a model that was trained on such a data set says which sequence is which channel, so only for
its models are names read in this way.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from hidiff.images.names import NamedFiles

# Endings of the stems, in the order of the channels, and that of the mask at the end.
BRATS = ("_t1", "_t1ce", "_t2", "_flair", "_seg")
BRATS_2023 = ("-t1n", "-t1c", "-t2w", "-t2f", "-seg")
MS_LESIONS = ("t1", "t1post", "t2", "flair", "lesions")  # whole stems: the folder names the case
# data set -> the ways in which its files are named; both BraTS have the same sequences
SEQUENCES = {
    "brats": (BRATS, BRATS_2023),
    "brats2023": (BRATS, BRATS_2023),
    "ms_lesions": (MS_LESIONS,),
}


def join_sequences(
    files: Sequence[Path], source: str, stem_of: Callable[[Path], str]
) -> tuple[list[NamedFiles], list[Path]]:
    """Return the cases of files named by sequence, and all other files.

    `source` is the data set that the model was trained on. A case's mask belongs to neither.
    """
    if source not in SEQUENCES:
        return [], list(files)
    found: dict[tuple[Path, str, tuple[str, ...]], dict[str, Path]] = {}
    others = []
    for file in files:
        key = _find_key(file, stem_of(file), source)
        if key is None:
            others.append(file)
        else:
            case, endings, ending = key
            found.setdefault((file.parent, case, endings), {})[ending] = file
    cases = []
    for (folder, case, endings), members in found.items():
        *channels, mask = endings
        if members.keys() <= {mask}:
            others += members.values()
            continue
        missing = tuple(f"{case}{ending}" for ending in channels if ending not in members)
        images = tuple(members[ending] for ending in channels if ending in members)
        cases.append(NamedFiles(case or folder.name, images, missing))
    return cases, others


def _find_key(file: Path, stem: str, source: str) -> tuple[str, tuple[str, ...], str] | None:
    """Return the case that a file belongs to, the names it follows, and its own ending."""
    for endings in SEQUENCES.get(source, ()):
        for ending in endings:
            case = stem.removesuffix(ending)
            if case != stem and bool(case) == (endings is not MS_LESIONS):
                return case, endings, ending
    return None
