"""An image that is open: its correction session, slice by slice as viewers show it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from hidiff.images import ImageFiles, visible_files
from hidiff.serve.archive import SESSION, bundle, zip_of
from hidiff.serve.refusal import Refusal, one_line
from hidiff.serve.remarks import caught_warnings
from hidiff.serve.slices import View, share_to_bytes, view_of

if TYPE_CHECKING:
    from hidiff.correction import Session
    from hidiff.experiment import Model
    from hidiff.serve.store import Entry

MOST_PLANES = 8  # bits of a byte
ML = 1000.0  # cubic millimetres


class Opened:
    """One session. The slices of a volume are segmented when they are first needed."""

    def __init__(self, session: "Session", model: "Model", remarks: list[str]):
        self.session = session
        self.classes = model.labels
        self.geometry = session.image.geometry
        self.view: View = view_of(session.image, model.recipe.data.intensity)
        self.notice = model.notice
        self.remarks = remarks
        self.candidates: dict[int, tuple[int, UInt8[np.ndarray, "h w"]]] = {}
        """number of a candidate -> its slice, and its labels there"""
        if self.classes.kind == "regions" and self.classes.num_planes > MOST_PLANES:
            raise ValueError(
                f"the model has {self.classes.num_planes} overlapping regions, but "
                f"{MOST_PLANES} at most are shown. Use hidiff predict."
            )
        depth = self.geometry.shape[0]
        self._codes = np.zeros(self.geometry.shape, np.uint8)
        self._counts = np.zeros((depth, len(self.classes.class_names)), np.int64)
        self._known = np.zeros(depth, bool)
        self._now = self._describe_masks()

    def describe(self) -> dict[str, Any]:
        """Return everything that a viewer needs to show it; waits for nobody."""
        view = self.view
        return {
            **self._now,
            "kind": self.classes.kind,
            "shape": self.geometry.shape,
            "spacing_mm": self.geometry.spacing_mm,
            "is_volume": self.geometry.grid is not None,
            "is_ct": view.is_ct,
            "channels": len(view.values),
            "first_slice": self.geometry.shape[0] // 2,
            "window": {
                "low": view.low,
                "high": view.high,
                "lowest": view.lowest,
                "highest": view.highest,
            },
            "warnings": self.remarks,
            "notice": self.notice,
        }

    def masks_now(self) -> dict[str, Any]:
        """Return what changes with every correction, and keep it for `describe`."""
        self._now = self._describe_masks()
        return self._now

    def _describe_masks(self) -> dict[str, Any]:
        spacing = self.geometry.spacing_mm
        pixel_ml = None if spacing is None else float(np.prod(spacing)) / ML
        locked, locks_pixels = self.locks()
        return {
            "revision": self.session.revision,
            "can_undo": self.session.can_undo,
            "can_redo": self.session.can_redo,
            "locks_pixels": locks_pixels,
            "segmented": int(self._known.sum()),
            "labels": [
                {
                    "name": name,
                    "pixels": int(count),
                    "ml": None if pixel_ml is None else float(count) * pixel_ml,
                    "locked": name in locked,
                }
                for name, count in zip(
                    self.classes.class_names, self._counts.sum(axis=0), strict=True
                )
            ],
        }

    def locks(self) -> tuple[set[str], bool]:
        """Return the locked classes, and whether there are locked pixels."""
        labels: set[str] = set()
        pixels = False
        for entry in self.session.marks:
            if entry["action"] == "unlock":
                labels, pixels = set(), False
            elif entry["action"] == "lock":
                pixels = pixels or "pixels" in entry
                labels |= {entry["label"]} if "label" in entry else set()
        return labels, pixels

    # Slices

    def check_slice(self, number: int) -> None:
        """Raise Refusal for a slice that there is not."""
        depth = self.geometry.shape[0]
        if not 0 <= number < depth:
            raise Refusal(404, f"there are the slices 0 to {depth - 1}, but {number} was named.")

    def codes(self, number: int, share: float = 1.0) -> UInt8[np.ndarray, "h w"]:
        """Return labels of a slice: 0 and the number of the class; of regions a bit each.

        `share` below 1 blends the probability with the prior; 0 is the prior.
        """
        self.check_slice(number)
        if share < 1:
            return encode(self.classes.decode(self._blend(number, share)), self.classes.kind)
        if not self._known[number]:
            self._take_slice(number)
        return self._codes[number]

    def probability(
        self, number: int, label: str | None, share: float = 1.0
    ) -> UInt8[np.ndarray, "h w"]:
        """Return a class's probability in a slice, 255 for 1."""
        self.check_slice(number)
        names = self.classes.plane_names
        label = self.classes.class_names[0] if label is None else label
        if label not in names:
            raise Refusal(404, f"there is no such class, only {', '.join(names)}.")
        return share_to_bytes(self._blend(number, share)[names.index(label)])

    def uncertainty(self, number: int) -> UInt8[np.ndarray, "h w"]:
        """Return the uncertainty of a slice, of regions the highest, 255 for the most possible."""
        self.check_slice(number)
        bits = self.session.slice_maps(number)["uncertainty"].astype(np.float32)
        bits = bits if bits.ndim == 2 else bits.max(axis=0)
        exclusive = self.classes.kind == "exclusive"
        most = np.log2(self.classes.num_planes) if exclusive else 1.0
        return share_to_bytes(bits / np.float32(most))

    def locked(self, number: int) -> UInt8[np.ndarray, "h w"]:
        """Return the locked pixels of a slice as 255."""
        self.check_slice(number)
        return self.session.locked_area(number).astype(np.uint8) * np.uint8(255)

    def next_unknown(self, near: int) -> int | None:
        """Return the slice nearest to `near` that is not segmented yet; None if all are."""
        unknown = np.flatnonzero(~self._known)
        return int(unknown[np.abs(unknown - near).argmin()]) if len(unknown) else None

    def take_changes(self) -> list[tuple[int, int]] | None:
        """Bring labels and counts up to date after a change; return the box that differs."""
        changed = self.session.changed
        if changed is None or not changed.mask.any():
            return None
        for number in changed.slices:
            self._take_slice(number)
        ends = [(each.start, each.stop) for each in changed.box]
        return ends if len(ends) == 3 else [(0, 1), *ends]

    def in_box(self, box: list[tuple[int, int]]) -> UInt8[np.ndarray, "d h w"]:
        """Return the labels in a box."""
        return self._codes[tuple(slice(*ends) for ends in box)]

    def _take_slice(self, number: int) -> None:
        codes = encode(self.session.slice_maps(number)["labels"], self.classes.kind)
        self._codes[number] = codes
        self._counts[number] = count(codes, self._counts.shape[1], self.classes.kind)
        self._known[number] = True
        self.masks_now()

    def _blend(self, number: int, share: float) -> Float[np.ndarray, "k h w"]:
        maps = self.session.slice_maps(number)
        refined, prior = (maps[name].astype(np.float32) for name in ("probability", "prior"))
        return refined if share == 1 else prior + np.float32(share) * (refined - prior)

    # Files

    def masks(self, folder: Path) -> tuple[bytes, str]:
        """Return the masks in the format of the image: a file, or a zip of several."""
        return bundle(self.write(folder / "masks"), self.session.name)

    def write(self, folder: Path) -> list[Path]:
        """Write the masks into a folder, over those of an earlier time."""
        return list(self.session.write(folder, overwrite=True))

    def save(self, folder: Path) -> tuple[bytes, str]:
        """Return the session with its image as a zip, which can be uploaded again."""
        path = folder / f"{self.session.name or 'image'}{SESSION}"
        self.session.save(path)
        files = [path, *self._image_files()]
        return zip_of(files, pack=False), f"{path.stem}_session.zip"

    def _image_files(self) -> list[Path]:
        given = self.session.image.path
        assert given is not None
        paths = [Path(each) for each in (given if isinstance(given, tuple) else (given,))]
        return visible_files(paths[0]) if paths[0].is_dir() else paths


def encode(labels: np.ndarray, kind: str) -> UInt8[np.ndarray, "*slices h w"]:
    """Return labels as a byte a pixel; of regions plane k becomes bit k."""
    if kind != "regions":
        return np.ascontiguousarray(labels, dtype=np.uint8)
    codes = np.zeros(labels.shape[1:], np.uint8)
    for number, plane in enumerate(labels):
        codes |= (plane > 0).astype(np.uint8) << np.uint8(number)
    return codes


def count(codes: UInt8[np.ndarray, "h w"], num_classes: int, kind: str) -> Int[np.ndarray, " k"]:
    """Return the pixels of each class."""
    if kind == "regions":
        return np.array([np.count_nonzero(codes & (1 << k)) for k in range(num_classes)])
    return np.bincount(codes.ravel(), minlength=num_classes + 1)[1:]


def open_files(entry: "Entry", model: "Model", image: ImageFiles, cache_mb: int) -> Opened:
    """Read an image and segment the slice that is shown first."""
    entry.put(step="Reading the image", progress=None)
    return _start(entry, model, cache_mb, lambda: model.correct(image))


def open_saved(
    entry: "Entry", model: "Model", saved: Path, image: ImageFiles, cache_mb: int
) -> Opened:
    """Go on with a saved session; the image that its file names is on no account opened."""
    from hidiff.experiment import open_session

    entry.put(step="Reading the session", progress=None)
    return _start(entry, model, cache_mb, lambda: open_session(saved, model=model, image=image))


def _start(entry: "Entry", model: "Model", cache_mb: int, start: Callable[[], "Session"]) -> Opened:
    with caught_warnings() as caught:
        session = start()
        session.limit_cache(cache_mb)
        opened = Opened(session, model, [one_line(line, entry.folder) for line in caught])
        entry.put(step="Segmenting", progress=None, name=session.name or entry.name)
        entry.near = opened.geometry.shape[0] // 2
        opened.codes(entry.near)
    return opened
