"""The images that the server was started with: which are done, and which are most doubtful."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidiff.images import ImageFiles, find_format, name_images, visible_files
from hidiff.prediction.endings import file_names, stems_of
from hidiff.serve.refusal import Refusal


@dataclass(eq=False)
class Case:
    """One image of the folder."""

    id: str
    name: str
    files: ImageFiles
    missing: tuple[str, ...] = ()
    """files that its channels lack: it is listed, but opening it is refused"""
    doubt: float | None = None
    """doubt in its masks, 0 to 1 (see Prediction.doubt), once it was predicted"""
    failed: bool = False


class Folder:
    """The images given at the start, and where their masks go.

    `source` is the data set that the model was trained on: see `name_images`.
    """

    def __init__(self, places: Sequence[Path], channels: int, output: Path, source: str):
        self.output = output
        named = name_images(_find_files(places), channels, source)
        self.cases = {
            str(number): Case(str(number), case.stem, case.image, tuple(case.missing))
            for number, case in enumerate(named)
        }
        self.done: set[str] = set()
        self.look_for_masks()

    def get(self, key: str) -> Case:
        """Return a whole image by its id."""
        if key not in self.cases:
            raise Refusal(404, "there is no such image in the folder.")
        case = self.cases[key]
        if case.missing:
            raise Refusal(
                422,
                f"{case.name} lacks {', '.join(case.missing[:5])}, which the model takes. Add the "
                "missing files, and start the server again.",
            )
        return case

    def look_for_masks(self) -> None:
        """Find out which images have masks in the output folder."""
        names = file_names(self.output)
        self.done = set().union(*(stems_of(names, format) for format in ("png", "nifti", "dicom")))

    def describe(self) -> list[dict[str, Any]]:
        """Return the images in the order of their names."""
        return [
            {
                "id": case.id,
                "name": case.name,
                "done": case.name in self.done,
                "doubt": case.doubt,
            }
            for case in self.cases.values()
        ]

    def unranked(self) -> Case | None:
        """Return an image whose doubt is not known yet and that is not done."""
        for case in self.cases.values():
            known = case.doubt is not None or case.failed or case.missing
            if not known and case.name not in self.done:
                return case
        return None


class Ranking(threading.Thread):
    """Predict the images of the folder one after another, while nobody waits for the server."""

    def __init__(self, folder: Folder, predict: Any, is_idle: Any):
        super().__init__(name="ranking", daemon=True)
        self.folder, self.predict, self.is_idle = folder, predict, is_idle
        self.ended = threading.Event()

    def run(self) -> None:
        """Go on until every image is ranked or the server ends."""
        while not self.ended.wait(0.5):
            case = self.folder.unranked()
            if case is None:
                return
            if not self.is_idle():
                continue
            try:
                case.doubt = self.predict(case)
            except Exception:
                case.failed = True  # whoever opens it learns why


def _find_files(places: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for place in places:
        if place.is_file() or (place.is_dir() and find_format(place) is not None):
            files.append(place)
        elif place.is_dir():
            found = [file for file in visible_files(place) if find_format(file) is not None]
            if not found:
                raise FileNotFoundError(
                    f"{place} holds no image and no volume. Folders below it are not searched: "
                    "name them too."
                )
            files += found
        else:
            raise FileNotFoundError(f"nothing lies at {place}. Check the path.")
    return list(dict.fromkeys(files))
