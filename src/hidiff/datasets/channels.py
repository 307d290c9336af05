"""Images of a folder whose channels are files of their own, told by the names of their masks."""

from collections.abc import Mapping
from pathlib import Path

from hidiff.images.files import DataError, ImageFiles
from hidiff.images.names import CHANNEL, name_cases

MOST_NAMED = 5  # missing files in one message


def join_channels(images: Mapping[str, Path], cases: Mapping[str, object]) -> dict[str, ImageFiles]:
    """Return the images by the names of their cases, those of the masks.

    Where every mask has an image of its whole name, each file is an image. Else files CASE_0000,
    CASE_0001, ... are the channels of the mask CASE, as many as the case with the highest number
    has. Raises DataError, naming the file, if one of another case is missing.
    """
    if images.keys() >= cases.keys():
        return dict(images)
    numbers = [
        int(match.group(2))
        for match in map(CHANNEL.fullmatch, images)
        if match is not None and match.group(1) in cases
    ]
    channels = max(numbers, default=0) + 1
    stems = {file: stem for stem, file in images.items()}
    named = name_cases(list(images.values()), channels, stem_of=stems.__getitem__)
    missing = [name for case in named for name in case.missing if case.stem in cases]
    if missing:
        more = f" and {len(missing) - MOST_NAMED} more" if missing[MOST_NAMED:] else ""
        raise DataError(
            f"{next(iter(images.values())).parent} lacks {', '.join(missing[:MOST_NAMED])}{more}, "
            f"but other cases have {channels} channels. Add the missing files, or take the cases "
            "out."
        )
    joined: dict[str, ImageFiles] = {}
    for case in named:
        match = CHANNEL.fullmatch(case.stem)
        # one channel each, under nnU-Net's number: the mask says that it is one
        only = match is not None and match.group(2) == "0000" and match.group(1) in cases
        joined[match.group(1) if match is not None and only else case.stem] = case.image
    return joined
