"""Counts of a data set's images and masks, and what is wrong with them."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hidiff.datasets.case import Case
from hidiff.images import (
    Geometry,
    Image,
    Intensity,
    first_file,
    format_of,
    normalise,
    picture_traits,
    read_field_of_view,
    read_image,
    read_mask,
)
from hidiff.images.voxels import Nan
from hidiff.inspection.findings import LOST_SPACING, Finding
from hidiff.inspection.mask_values import MaskValues
from hidiff.inspection.neighbours import Neighbours
from hidiff.inspection.remarks import Remarks
from hidiff.labels import Labels


class Tally:
    """Counts of everything seen so far."""

    def __init__(
        self,
        labels: Labels | None,
        channels: int | None,
        intensity: Intensity | None,
        ignore: tuple[int, ...] = (),
        nan: Nan = "refused",
    ) -> None:
        self.labels = labels
        self.ignore = labels.ignore if labels else ignore
        self.wanted_channels = channels
        self.intensity = intensity
        self.nan: Nan = nan
        self.sizes: Counter[str] = Counter()
        self.spacings: Counter[str] = Counter()
        self.channels: Counter[int] = Counter()
        self.types: Counter[str] = Counter()
        self.mask_types: Counter[str] = Counter()
        self.values = MaskValues()
        self.cuts: Counter[float | None] = Counter()
        self.class_masks: Counter[str] = Counter()
        self.num_masks = 0
        self.problems: list[tuple[str, str]] = []  # file, what is wrong
        self.empty: list[str] = []
        self.see_through: list[str] = []  # files whose alpha channel is not opaque everywhere
        self.turned_alone: list[str] = []  # images that EXIF turns, but not their masks
        self.undecided: Counter[str] = Counter()  # mask -> pixels with an ignored value
        self.lost_spacing = True  # as long as every volume is 1 x 1 x 1 mm
        self.neighbours = Neighbours()
        self.remarks = Remarks()
        self.seen: dict[bytes, list[tuple[str, str]]] = {}  # content -> (split, file)

    def look_at(self, case: Case, split: str) -> None:
        """Take a case in: its image, every rater's mask, and its field of view."""
        image = self._try(first_file(case.image), lambda: self._count_image(case, split))
        if image is None:  # without its size and grid no mask can be judged
            return
        geometry = image.geometry
        turned = picture_traits(first_file(case.image)).turned
        if any(picture_traits(path).turned != turned for path in case.masks):
            self.turned_alone.append(first_file(case.image).name)
        for path in map(Path, case.masks):
            self._try(path, lambda path=path: self._read_mask(path, geometry, case))
        if case.field_of_view is not None:
            path = Path(case.field_of_view)
            self._try(path, lambda: read_field_of_view(path, geometry, case.image))
        with contextlib.suppress(ValueError):  # a file that does not read is a problem already
            self.remarks.look_at(case, geometry)

    def _try(self, path: Path | str, look: Callable[[], Any]) -> Any:
        try:
            return look()
        except ValueError as error:  # DataError too
            text = str(error)
            self.problems.append(
                (Path(path).name, text if str(path) in text else f"{path}: {text}")
            )
            return None

    def _count_image(self, case: Case, split: str) -> Image:
        image = read_image(case.image, None, nan=self.nan)
        geometry, values = image.geometry, image.values
        self.sizes["x".join(map(str, geometry.native_shape))] += 1
        self.channels[len(values)] += 1
        self.types[str(values.dtype)] += 1
        content = hashlib.blake2b(repr((values.shape, str(values.dtype))).encode())
        content.update(np.ascontiguousarray(values).data)
        name = first_file(case.image).name
        if picture_traits(first_file(case.image)).alpha:
            self.see_through.append(name)
        self.neighbours.add(case.name, values)
        self.seen.setdefault(content.digest(), []).append((split, name))
        if image.grid is not None:
            sides = "x".join(f"{side:.3g}" for side in image.grid.spacing_mm)
            self.spacings[f"{sides} mm" if case.has_spacing else "unknown"] += 1
            cubes = np.allclose(image.grid.spacing_mm, 1.0, atol=1e-6)
            self.lost_spacing = self.lost_spacing and cubes and case.has_spacing
        if self.wanted_channels is not None:
            image = format_of(case.image).join([image], self.wanted_channels)
        if self.intensity is not None:
            normalise(image.values.astype(np.float32), self.intensity)
        return image

    def _read_mask(self, path: Path, geometry: Geometry, case: Case) -> None:
        self._count_mask(path, read_mask(path, geometry, case.image))

    def _count_mask(self, path: Path, mask: np.ndarray) -> None:
        self.num_masks += 1
        self.mask_types[str(mask.dtype)] += 1
        traits = self.values.add(path, mask)
        if traits.alpha:
            self.see_through.append(path.name)
        ignored = np.isin(mask, self.ignore)
        if ignored.any():
            self.undecided[path.name] = int(ignored.sum())
        if not mask[~ignored].any():
            self.empty.append(path.name)
        if self.labels is None:
            return
        planes = self.labels.encode_bool(mask, lossy=traits.lossy)[self.labels.class_planes]
        self.class_masks.update(
            name for name, plane in zip(self.labels.class_names, planes, strict=True) if plane.any()
        )
        if self.labels.kind == "one_class":
            self.cuts[self.labels.cut(mask, lossy=traits.lossy)] += 1

    def findings(self) -> list[Finding]:
        found = [Finding("stop", text, (name,)) for name, text in self.problems]
        found += self._of_channels()
        found += self._of_repeats()
        found += self.remarks.findings()
        if self.intensity is None and len(self.spacings) > 1:
            text = (
                f"voxels have {len(self.spacings)} sizes: set data.spacing_mm, as the recipe of "
                "hidiff train FOLDER does."
            )
            found.append(Finding("note", text))
        if self.empty and len(self.empty) == self.num_masks:
            found.append(Finding("stop", "every mask is empty: there is nothing to learn."))
        elif self.empty:
            text = f"{len(self.empty)} of {self.num_masks} masks are empty. Fine, if it is so."
            found.append(Finding("note", text, tuple(self.empty)))
        found += self._of_doubts()
        for name in self.labels.class_names if self.labels else ():
            if self.num_masks and not self.class_masks[name]:
                text = f"the class {name} is in no mask. Check its values in labels.classes."
                found.append(Finding("warning", text))
        return found

    def _of_doubts(self) -> list[Finding]:
        """Return what is read in one of several ways, or left out."""
        found = []
        if self.see_through:
            text = (
                f"{len(self.see_through)} files have an alpha channel that is not opaque "
                "everywhere. It is left out: look that nothing was drawn in it."
            )
            found.append(Finding("warning", text, tuple(self.see_through)))
        if self.turned_alone:
            text = (
                f"{len(self.turned_alone)} images are turned by a camera's orientation (EXIF), or "
                "their masks are, but not both. Look that the masks were drawn on the turned image."
            )
            found.append(Finding("warning", text, tuple(self.turned_alone)))
        if self.undecided:
            share = sum(self.undecided.values()) / max(sum(self.values.pixels.values()), 1)
            text = (
                f"{len(self.undecided)} of {self.num_masks} masks have pixels that are ignored "
                f"(labels.ignore: {', '.join(map(str, self.ignore))}), {share:.2%} of all: neither "
                "losses nor metrics count them."
            )
            found.append(Finding("warning", text, tuple(self.undecided)))
        if self.spacings and self.lost_spacing:
            found.append(Finding("warning", f"{LOST_SPACING}."))
        if self.values.lossy:
            text = (
                f"{len(self.values.lossy)} masks are JPEG, which leaves noise: each is cut at half "
                "of white. Save masks as PNG."
            )
            found.append(Finding("warning", text, tuple(self.values.lossy)))
        return found

    def _of_channels(self) -> list[Finding]:
        deep = sorted(kind for kind in self.types if kind not in ("uint8", "bool"))
        found = []
        if self.intensity is None and deep and not self.spacings:
            text = (
                f"some images are {', '.join(deep)}: say what white is (full_scale: 65535 "
                "for 16 bits), or use intensity.kind: zscore."
            )
            found.append(Finding("note", text))
        if self.wanted_channels is None and not set(self.channels) <= {1, 3}:
            usual = self.channels.most_common(1)[0][0]
            level = "stop" if len(self.channels) > 1 else "note"
            text = f"images have {sorted(self.channels)} channels: set data.channels to {usual}"
            found.append(
                Finding(level, text + (", and take the others out." if level == "stop" else "."))
            )
        return found

    def _of_repeats(self) -> list[Finding]:
        found = []
        for places in self.seen.values():
            names = tuple(f"{split}: {name}" for split, name in places)
            if len({split for split, _ in places}) > 1:
                text = "the same image is in two splits: scores would be too good. Keep one."
                found.append(Finding("stop", text, names))
            elif len(places) > 1:
                found.append(Finding("warning", "the same image comes more than once.", names))
        return found
