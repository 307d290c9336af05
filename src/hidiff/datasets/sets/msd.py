"""The Medical Segmentation Decathlon's layout, which MONAI's examples use too: one dataset.json.

http://medicaldecathlon.com; "training" is a list of {"image": ..., "label": ...}.
"""

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from hidiff.datasets.case import Case
from hidiff.datasets.sets.nnunet import DATASET_FILE
from hidiff.images.files import DataError, is_hidden
from hidiff.images.formats import image_stem
from hidiff.labels import BACKGROUND, Labels


def is_msd(root: Path) -> bool:
    """Return True if a folder's dataset.json is of the Decathlon's kind, rather than nnU-Net's."""
    file = root / DATASET_FILE
    content = _content(file) if file.is_file() else {}
    return isinstance(content.get("training"), list) and "channel_names" not in content


def read_msd_labels(root: Path) -> Labels:
    """Return the classes that "labels" names: exclusive ones, or a single one."""
    file = root / DATASET_FILE
    values = _content(file).get("labels")
    try:
        named = {str(name): int(value) for value, name in dict(values or {}).items()}
        classes = {name: (value,) for name, value in named.items() if name.lower() != BACKGROUND}
        ignore = classes.pop("ignore", ())  # nnU-Net's word for it
        kind = "exclusive" if len(classes) > 1 else "one_class"
        return Labels.model_validate({"kind": kind, "classes": classes, "ignore": ignore})
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{file} has the labels {values}, which do not hold ({error}). Wanted is "
            '{"0": "background", "1": "liver"}.'
        ) from None


def read_msd_channels(root: Path) -> tuple[str, ...]:
    """Return the modalities in order; one without a name, if the file names none."""
    modality = _content(root / DATASET_FILE).get("modality", {"0": "image"})
    if not isinstance(modality, dict) or not modality:
        raise DataError(
            f'{root / DATASET_FILE} has the modality {modality!r}, but {{"0": "CT"}} is wanted.'
        )
    return tuple(str(name) for name in modality.values())


def list_msd(root: Path, group_of: Callable[[str], str] = str) -> list[Case]:
    """List the cases of "training"; those of "test" have no masks, and are for `hidiff predict`."""
    file = root / DATASET_FILE
    cases = []
    for entry in _content(file).get("training", []):
        if not isinstance(entry, dict) or not {"image", "label"} <= entry.keys():
            raise DataError(
                f'{file} lists {entry!r} under "training", but {{"image": ..., "label": ...}} is '
                "wanted."
            )
        image, mask = (_inside(file, entry[key]) for key in ("image", "label"))
        if is_hidden(image):  # listed by a script that went through a Mac's archive
            continue
        name = image_stem(image)
        cases.append(Case(name, image, mask, None, group_of(name)))
    if not cases:
        raise DataError(f'{file} lists no case under "training". Mend it, or give another folder.')
    return cases


def _inside(file: Path, listed: Any) -> Path:
    """Return the path of a listed file, which must lie inside the data set's own folder."""
    place = PurePosixPath(str(listed))
    if place.is_absolute() or ".." in place.parts:
        raise DataError(
            f"{file} lists {listed!r}, which leads out of its folder. Copy the file into it."
        )
    found = file.parent / place
    if not found.is_file():
        raise DataError(f"{found} is not there, but {file} lists it. Add it, or take it out.")
    return found


def _content(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} does not read as JSON ({error}). Mend it.") from None
    if not isinstance(content, dict):
        raise DataError(f"{file} holds a {type(content).__name__}, but an object is wanted.")
    return content
