"""A session as one file: a zip of JSON and arrays, without pickles, written whole or not at all."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hidiff._version import __version__
from hidiff.correction.history import History, Patch, Step
from hidiff.correction.maps import SessionMaps
from hidiff.correction.origin import Origin, hash_image, hash_weights
from hidiff.correction.record import Entry, Placed
from hidiff.correction.settings import CorrectionSettings
from hidiff.marks import Area, Click, Mark, Stroke
from hidiff.weights import atomic_write

FORMAT = "hidiff-session-1"
HEADER = "session.json"


def save_session(
    path: Path,
    maps: SessionMaps,
    history: History,
    settings: CorrectionSettings,
    origin: Origin,
    revision: int,
) -> Path:
    """Write a session; return its path. Raises OSError, and leaves no file, if there is no room."""
    arrays = _Arrays()
    opened = maps.opened
    header = {
        "format": FORMAT,
        "hidiff_version": __version__,
        "name": opened.name,
        "origin": asdict(origin),
        "weights_sha256": hash_weights(maps.predictor),
        "image_sha256": hash_image(opened.opened),
        "settings": settings.model_dump(mode="json"),
        "prediction": maps.settings.model_dump(mode="json"),
        "refine": maps.refine,
        "revision": revision,
        "is_known": arrays.keep(maps.is_known),
        "maps": {name: arrays.keep(values) for name, values in maps.prediction.maps.items()},
        "mask": None if maps.mask is None else arrays.keep(maps.mask),
        "prior": None if opened.prior is None else arrays.keep(opened.prior.numpy()),
        "position": history.position,
        "steps": [
            {
                **_dump_entry(step.entry, arrays),
                "patches": [_dump_patch(patch, arrays) for patch in step.patches],
            }
            for step in history.steps
        ],
    }
    with atomic_write(path) as temporary:
        arrays.write(temporary, header)
    return path


@dataclass(frozen=True)
class SavedSession:
    """The content of a session's file."""

    path: Path
    header: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    @property
    def origin(self) -> Origin:
        """The files and options with which the session was opened."""
        came = self.header["origin"]
        affine = came["affine"]
        return Origin(
            tuple(came["model_paths"]),
            tuple(came["image_paths"]),
            None if came["spacing_mm"] is None else tuple(came["spacing_mm"]),
            None if affine is None else tuple(tuple(row) for row in affine),
            None if came["value_range"] is None else tuple(came["value_range"]),
            None if came.get("at") is None else tuple(came["at"]),
        )

    @property
    def history(self) -> History:
        """Every step, undone steps too."""
        steps = [
            Step(
                _load_entry(step, self.arrays),
                [_load_patch(p, self.arrays) for p in step["patches"]],
            )
            for step in self.header["steps"]
        ]
        return History(steps, int(self.header["position"]))

    def array(self, name: str) -> np.ndarray | None:
        """Return the array that an entry of the header names."""
        key = self.header[name]
        return None if key is None else self.arrays[key]


def read_session(path: Path | str) -> SavedSession:
    """Read a session's file. Raises ValueError, naming it, for one that is no whole session."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is not a file. Give one that Session.save wrote.")
    try:
        with zipfile.ZipFile(path) as file:
            header = json.loads(file.read(HEADER))
            if header.get("format") != FORMAT:
                raise ValueError(f"its format is {header.get('format')!r}, not {FORMAT!r}")
            arrays = {
                name.removesuffix(".npy"): _read_array(file.read(name))
                for name in file.namelist()
                if name != HEADER
            }
        saved = SavedSession(path, header, arrays)
        _ = saved.history, saved.origin
    except (OSError, MemoryError):
        raise
    # zipfile, zlib, json and numpy each raise errors of their own for bytes that do not hold
    except Exception as error:
        raise ValueError(
            f"{path} does not read as a session ({type(error).__name__}: {error}). It may be cut "
            "short or of another kind: copy it again."
        ) from error
    return saved


class _Arrays:
    """Arrays that wait to be written, each once."""

    def __init__(self) -> None:
        self.kept: dict[str, np.ndarray] = {}

    def keep(self, values: np.ndarray) -> str:
        """Return the name that an array will have in the file."""
        name = f"array{len(self.kept)}"
        self.kept[name] = values
        return name

    def write(self, path: Path, header: Mapping[str, Any]) -> None:
        """Write the header and every array."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            file.writestr(HEADER, json.dumps(header, indent=1))
            for name, values in self.kept.items():
                with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(
                        member, np.ascontiguousarray(values), allow_pickle=False
                    )


def _read_array(content: bytes) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


def _dump_patch(patch: Patch, arrays: _Arrays) -> dict[str, Any]:
    return {
        "number": patch.number,
        "rows": [patch.rows.start, patch.rows.stop],
        "columns": [patch.columns.start, patch.columns.stop],
        "values": {name: arrays.keep(values) for name, values in patch.values.items()},
    }


def _load_patch(dumped: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Patch:
    rows, columns = (slice(*dumped[name]) for name in ("rows", "columns"))
    values = {name: arrays[key] for name, key in dumped["values"].items()}
    return Patch(dumped["number"], rows, columns, values)


def _dump_entry(entry: Entry, arrays: _Arrays) -> dict[str, Any]:
    return {
        "action": entry.action,
        "placed": [[each.number, _dump_mark(each.mark, arrays)] for each in entry.placed],
        "lock_label": entry.lock_label,
        "lock_areas": [[number, arrays.keep(area)] for number, area in entry.lock_areas.items()],
        "odds": entry.odds,
        "chosen_slices": list(entry.chosen_slices),
    }


def _load_entry(dumped: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Entry:
    return Entry(
        dumped["action"],
        tuple(Placed(number, _load_mark(mark, arrays)) for number, mark in dumped["placed"]),
        dumped["lock_label"],
        {number: arrays[key] for number, key in dumped["lock_areas"]},
        dumped["odds"],
        tuple(dumped["chosen_slices"]),
    )


def _dump_mark(mark: Mark, arrays: _Arrays) -> dict[str, Any]:
    dumped: dict[str, Any] = {"plane": mark.plane, "add": mark.add, "exact": mark.exact}
    if isinstance(mark, Click):
        return dumped | {"point": mark.point, "radius": mark.radius}
    if isinstance(mark, Stroke):
        return dumped | {"points": mark.points, "radius": mark.radius}
    assert isinstance(mark, Area)
    return dumped | {"mask": arrays.keep(mark.mask)}


def _load_mark(dumped: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Mark:
    says = {name: dumped[name] for name in ("plane", "add", "exact")}
    if "point" in dumped:
        row, column = dumped["point"]
        return Click(**says, point=(row, column), radius=dumped["radius"])
    if "points" in dumped:
        points = tuple((row, column) for row, column in dumped["points"])
        return Stroke(**says, points=points, radius=dumped["radius"])
    return Area(**says, mask=arrays[dumped["mask"]])
