"""Names of the values of a label map: from its own header, or from a table beside it."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hidiff.images.files import DataError
from hidiff.images.nifti import open_nifti
from hidiff.images.nrrd import read_class_names
from hidiff.images.slicer_segments import ENDING
from hidiff.labels import BACKGROUND, Labels

Names = dict[str, tuple[int, ...]]
"""classes, and the values that mean them"""

LEVELS = 3  # the folder of a file, and the two above: nnU-Net's fold_0/validation lies two deep
MOST_BYTES = 2**22  # of a table
CARET = "CaretExtension"  # root of the table of names in a NIfTI's header


def read_label_names(path: Path) -> Names:
    """Return the classes that a label map's file or folder names; none where nothing does.

    The header comes first (NIfTI as TotalSegmentator writes it, segmentations of 3D Slicer), then
    labels.json, labels.csv or nnU-Net's dataset.json in the file's folder or the two above it.
    """
    name = path.name.lower()
    found: Names = {}
    if name.endswith((".nii", ".nii.gz")):
        found = _names_in_header(path)
    elif name.endswith(ENDING):
        found = _by_name((text, value) for value, text in read_class_names(path).items())
    if found:
        return found
    table = find_beside(path, tuple(_TABLES))
    return {} if table is None else _TABLES[table.name](table)


def find_beside(path: Path, names: Iterable[str]) -> Path | None:
    """Return the nearest file of these names in a file's folder or the two above; None without."""
    names = tuple(names)
    for folder in list(path.absolute().parents)[:LEVELS]:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    return None


def plain(name: str) -> str:
    """Return a name in lower case, with one underscore for all that is no letter or digit."""
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")


def match_names(labels: Labels, names: Mapping[str, Any], source: object) -> dict[str, str]:
    """Return the name that each class has in a file; none if the file names none of them.

    Upper case, spaces and dashes do not count. Raises DataError if it names only some.
    """
    known = {plain(name): name for name in names}
    found = {each: known[plain(each)] for each in labels.class_names if plain(each) in known}
    missing = [each for each in labels.class_names if each not in found]
    if found and missing:
        raise DataError(
            f"{source} names {_few(names)}, but not {_few(missing)}. Add the missing classes, or "
            "set data.priors.values to the values of every class."
        )
    return found


def _few(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if names[6:] else "")


def _names_in_header(path: Path) -> Names:
    """Return the table of names in a NIfTI's extended header; none of one without."""
    for extension in open_nifti(path).header.extensions:
        content = extension.get_content()
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
        if CARET in text:
            return _read_caret(path, text)
    return {}


def name_values(names: Mapping[int, str]) -> str:
    """Return the table of names for a NIfTI's header, in the form that TotalSegmentator reads."""
    table = ElementTree.Element("LabelTable")
    for value, name in names.items():
        label = ElementTree.SubElement(table, "Label", {"Key": str(value), "Alpha": "1"})
        label.text = name
    root = ElementTree.Element(CARET)
    ElementTree.SubElement(root, "VolumeInformation", {"Index": "0"}).append(table)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False)


def _read_caret(path: Path, text: str) -> Names:
    try:
        if "<!" in text.replace("<![CDATA[", ""):
            raise ValueError("it declares entities")
        root = ElementTree.fromstring(text.strip().strip("\0").strip())
        labels = [(each.text or "", int(each.attrib["Key"])) for each in root.iter("Label")]
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise DataError(
            f"{path} has names of labels in its header that do not read ({error}). Write the file "
            "again without them, and put a table labels.json beside it."
        ) from None
    return _by_name(labels)


def _by_name(pairs: Iterable[tuple[str, int]]) -> Names:
    names: Names = {}
    for name, value in pairs:
        if value != 0 and name:
            names[name] = (*names.get(name, ()), value)
    return names


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} does not read as JSON ({error}). Mend it, or take it out."
        ) from None


def _read_table(path: Path) -> Names:
    """Read {"liver": 5} or {"5": "liver"}."""
    return _from_mapping(path, _read_json(path))


def _read_dataset(path: Path) -> Names:
    """Read the labels of nnU-Net's dataset.json, and those of its first version."""
    content = _read_json(path)
    labels = content.get("labels") if isinstance(content, dict) else None
    return {} if labels is None else _from_mapping(path, labels)


def _from_mapping(path: Path, table: Any) -> Names:
    try:
        names: Names = {}
        for key, value in dict(table).items():
            if isinstance(value, str):
                key, value = value, int(key)
            values = (
                tuple(int(each) for each in value) if isinstance(value, list) else (int(value),)
            )
            if plain(str(key)) not in (BACKGROUND, "ignore") and values != (0,):
                names[str(key)] = values
        return names
    except (TypeError, ValueError) as error:
        raise DataError(
            f'{path} is no table of labels ({error}): {{"liver": 5, "spleen": 1}} is wanted. Mend '
            "it, or take it out."
        ) from None


def _read_csv(path: Path) -> Names:
    """Read lines of a value and a name, in either order; a line without a number is a title."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} does not read as text ({error}). Save it as UTF-8.") from None
    pairs = []
    for row in csv.reader(lines, delimiter=";" if lines and ";" in lines[0] else ","):
        cells = [cell.strip() for cell in row]
        numbers = [cell for cell in cells if cell.isdecimal()]
        texts = [cell for cell in cells if cell and not cell.isdecimal()]
        if numbers and texts:
            pairs.append((texts[0], int(numbers[0])))
    return _by_name(pair for pair in pairs if plain(pair[0]) != BACKGROUND)


_TABLES: dict[str, Callable[[Path], Names]] = {
    "labels.json": _read_table,
    "labels.csv": _read_csv,
    "dataset.json": _read_dataset,
}
