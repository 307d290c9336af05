"""The meaning of file names: a case of its own, or one channel of a case, as in nnU-Net.

A name that ends in four digits is ambiguous: CASE_0000 and CASE_0001 may be two channels or two
patients. So the number of channels that the model or the data set wants decides.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CHANNEL = re.compile(r"(.+)_(\d{4})")
# nnU-Net's folders, where every name ends in the number of a channel
NUMBERED_FOLDERS = ("imagesTr", "imagesTs", "imagesVal")


@dataclass(frozen=True)
class NamedFiles:
    """The name of one case, its files in the order of the channels, and the missing files."""

    stem: str
    files: tuple[Path, ...]
    missing: tuple[str, ...] = ()

    @property
    def image(self) -> Path | tuple[Path, ...]:
        """Return the one file, or a file for each channel."""
        first, *others = self.files
        return self.files if others else first


def name_cases(
    files: Sequence[Path],
    channels: int,
    *,
    stem_of: Callable[[Path], str],
    holds_all: Callable[[Path], bool] = lambda path: False,
) -> list[NamedFiles]:
    """Return the cases that files are, in the order of their first files.

    Files are the channels of one case only if several channels are wanted and their numbers are
    exactly 0000 to `channels` - 1. Numbers that begin at 0000 and leave a gap make a case that
    lacks channels. Every other file is a case of its own, under its whole name; only where nnU-Net
    named the files for one channel is the number 0000 dropped. `holds_all` says of a file that it
    is a whole image by itself, as a colour picture is.
    """
    numbered: dict[tuple[Path, str], dict[int, Path]] = {}
    alone: list[Path] = []
    for file in files:
        match = CHANNEL.fullmatch(stem_of(file))
        number = int(match.group(2)) if match else 0
        case = numbered.setdefault((file.parent, match.group(1)), {}) if match else {}
        if match is None or number in case:
            alone.append(file)
        else:
            case[number] = file
    cases: dict[Path, NamedFiles] = {file: NamedFiles(stem_of(file), (file,)) for file in alone}
    of_one_channel = _folders_of_one_channel(numbered, alone)
    for (folder, name), of_case in numbered.items():
        members = [of_case[number] for number in sorted(of_case)]
        lacking = sorted(set(range(channels)) - of_case.keys())
        from_zero = channels > 1 and 0 in of_case and not any(map(holds_all, members))
        if from_zero and (lacking or len(of_case) == channels):
            missing = tuple(f"{name}_{number:04d}" for number in lacking)
            cases[members[0]] = NamedFiles(name, tuple(members), missing)
            continue
        drops = list(of_case) == [0] and folder in of_one_channel
        for file in members:
            cases[file] = NamedFiles(name if drops else stem_of(file), (file,))
    return [cases[file] for file in files if file in cases]


def _folders_of_one_channel(
    numbered: dict[tuple[Path, str], dict[int, Path]], alone: Sequence[Path]
) -> set[Path]:
    """Return the folders whose files carry nnU-Net's number of the only channel.

    Each file is looked at once, however many there are.
    """
    numbers: dict[Path, list[bool]] = {}
    for (folder, _), of_case in numbered.items():
        numbers.setdefault(folder, []).append(set(of_case) == {0})
    others = {file.parent for file in alone}
    return {
        folder
        for folder, only_zero in numbers.items()
        if folder.name in NUMBERED_FOLDERS
        or (len(only_zero) > 1 and all(only_zero) and folder not in others)
    }
