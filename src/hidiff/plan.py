"""A data folder's fingerprint -> a proposed recipe, and why: `hidiff train FOLDER`.

Rules of thumb, as nnU-Net's planner has them: what is known of the data decides, and what the
machine allows is the limit. Every choice is said with its reason, and can be changed in the recipe.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from jaxtyping import Float

from hidiff.datasets import CATALOG, Case, Splitting
from hidiff.datasets.sets.msd import is_msd, read_msd_channels, read_msd_labels
from hidiff.datasets.sets.nnunet import is_nnunet, read_dataset
from hidiff.datasets.splits import SPLITS
from hidiff.images import DataError
from hidiff.images.grid import PLANES, Plane
from hidiff.inspection.fingerprint import Fingerprint, take_fingerprint
from hidiff.labels import Labels
from hidiff.recipe import Recipe, make_recipe

# Slices further apart than so many times their pixels show little of one another.
THICK = 3.0
# Spacings that differ by more than this share between cases are brought to one.
SPREAD = 0.1
# Of all pixels: where the classes cover more than this, images are looked at whole.
LARGE_SHARE = 0.03
HOUNSFIELD = -200.0  # values below this are of CT: air is -1000


class Machine(NamedTuple):
    """What a training may use."""

    cores: int
    memory_gib: float
    gpu_gib: float
    """0 where there is none"""


class Choice(NamedTuple):
    """A setting that the plan chose, and why."""

    setting: str
    value: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """A proposed recipe, with the reasons for it."""

    recipe: Recipe
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Layout:
    """A data folder, recognised: what its own files say of it."""

    source: str
    labels: Labels | None
    channel_names: tuple[str, ...]


def look_at(
    root: Path,
    splitting: Splitting,
    begin: Callable[[int], Callable[[], object]] = lambda _: lambda: None,
) -> Plan:
    """The plan for a data folder on this machine. Raises DataError, naming the file.

    `begin` is told how many cases there are, and what it returns is called after each.
    """
    layout = recognise(root)
    cases = list_all(root, layout, splitting)
    return propose(root, layout, take_fingerprint(cases, begin(len(cases))), this_machine())


def recognise(root: Path) -> Layout:
    """Which of the known layouts a folder has."""
    if is_msd(root):  # it has imagesTr/, too
        return Layout("msd", read_msd_labels(root), read_msd_channels(root))
    if is_nnunet(root):
        dataset = read_dataset(root)
        return Layout("nnunet", dataset.labels, dataset.channel_names)
    if (root / "images").is_dir() and (root / "masks").is_dir():
        return Layout("folder", None, ())
    raise DataError(
        f"{root} is laid out in no way that is known. Wanted are images/ and masks/ with files of "
        "the same names; or nnU-Net's dataset.json, imagesTr/ and labelsTr/; or the Decathlon's "
        "dataset.json."
    )


def list_all(root: Path, layout: Layout, splitting: Splitting) -> list[Case]:
    """Every case with a mask, whatever its split."""
    list_cases = CATALOG[layout.source].list_cases
    return [case for split in SPLITS for case in list_cases(root, split, splitting)]


def this_machine() -> Machine:
    """Cores, memory, and the first GPU's."""
    gpu = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Machine(cores or 1, psutil.virtual_memory().total / 2**30, gpu / 2**30)


def propose(root: Path, layout: Layout, found: Fingerprint, machine: Machine) -> Plan:
    """A recipe for data like this on a machine like this; a pure function."""
    notes: list[Choice] = []

    def say(setting: str, value: Any, reason: str) -> Any:
        notes.append(Choice(setting, _shown(value), reason))
        return value

    labels = layout.labels or _labels(found)
    say(
        "labels",
        f"{labels.kind}: {', '.join(labels.class_names)}",
        "as dataset.json says" if layout.labels else "by the values in the masks",
    )
    data: dict[str, Any] = {"source": layout.source, "path": str(root)}
    data["channels"] = say("channels", *_channels(found, layout))
    data["intensity"] = say("intensity", *_intensity(found, layout))
    if found.volumes:
        data["plane"] = say("plane", *_plane(found))
        data["neighbours"] = say("neighbours", *_neighbours(found, data["plane"]))
        spacing, reason = _spacing(found, data["plane"])
        if spacing:
            data["spacing_mm"] = say("spacing_mm", spacing, reason)
    limit = 512 if machine.gpu_gib >= 24 else 256 if machine.gpu_gib else 128
    if _seen_at_once(found, _typical_size(found, data), limit):
        shrink = max(_typical_size(found, data)) / limit
        why = "what is to be found is large: whole images are made smaller, and seen at once"
        if found.volumes:
            sides = data.get("spacing_mm") or _median_spacing(found, data["plane"]).tolist()
            smaller = [round(side * shrink, 4) for side in sides]
            data["spacing_mm"] = say("spacing_mm", smaller, why)
        else:
            data["size"] = say("size", [limit, limit], why)
    data["patch_size"] = say("patch_size", *_patch(_typical_size(found, data), limit))
    data["augmentation"] = say("augmentation", *_augmentation(found, layout))
    sizes = _networks(machine, math.prod(data["patch_size"]))
    say("refiner.width", sizes["refiner"], sizes["why"])
    if sizes["fine"]:
        say("refiner.fine", True, "a narrow refiner mends more where it sees the image itself")
        say("training.segmentor", "joint", "for the same work as good as in turns, or better")
    say("segmentor.options.width", sizes["segmentor"], sizes["why"])
    say("training.batch_size", sizes["batch"], sizes["why"])
    stage1, stage2, reason = _length(found, machine)
    say("training", f"{stage1} + {stage2} steps", reason)
    recipe = make_recipe(
        {
            "name": run_name(root),
            "data": data,
            "labels": labels.model_dump(),
            "segmentor": {"name": "unet", "options": {"width": sizes["segmentor"]}},
            "refiner": {"width": sizes["refiner"], "fine": sizes["fine"]},
            "training": {
                "segmentor": "joint" if sizes["fine"] else "trained",
                "batch_size": sizes["batch"],
                "stage1_steps": stage1,
                "stage2_steps": stage2,
                "validate_every": max(stage2 // 4, 1),
                "workers": 0 if machine.cores <= 2 else min(machine.cores // 2, 8),
            },
        },
        f"the plan for {root}",
    )
    return Plan(recipe, tuple(notes))


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(each)}" for name, each in value.items())
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)


def run_name(root: Path) -> str:
    """The folder's own name, as far as a run may be called so."""
    plain = "".join(c if c.isalnum() or c in "._-" else "_" for c in root.resolve().name)
    return plain.lstrip(".-") or "run"


def _labels(found: Fingerprint) -> Labels:
    """One class where the masks hold one value, or greys; else a class a value."""
    values = [value for value in found.values if value]
    if not values:
        raise DataError("every mask is empty: there is nothing to learn. Check the masks.")
    if len(values) == 1 or set(values) <= {1, 255} or len(values) > 32:
        value = values[0] if len(values) == 1 else 255
        return Labels(kind="one_class", classes={"object": (value,)})
    return Labels(kind="exclusive", classes={f"class_{value}": (value,) for value in values})


def _channels(found: Fingerprint, layout: Layout) -> tuple[int, str]:
    usual = found.channels.most_common(1)[0][0]
    if len(found.channels) > 1 and not set(found.channels) <= {1, 3}:
        raise DataError(
            f"the images have {sorted(found.channels)} channels, but one number is wanted. "
            "Take the others out, or convert them."
        )
    names = f" ({', '.join(layout.channel_names)})" if layout.channel_names else ""
    return usual, f"{found.channels[usual]} of {found.cases} images have as many{names}"


def _is_ct(found: Fingerprint, layout: Layout) -> bool:
    return found.low < HOUNSFIELD or "ct" in [name.lower() for name in layout.channel_names]


def _intensity(found: Fingerprint, layout: Layout) -> tuple[dict[str, Any], str]:
    if _is_ct(found, layout):
        low, high = (round(end) for end in found.foreground)
        return (
            {"kind": "window", "window": [low, max(high, low + 1)]},
            "CT in HU: what lies under the masks, from its 0.5th to its 99.5th percentile",
        )
    if not found.volumes and found.low >= 0 and set(found.types) <= {"uint8", "bool"}:
        return {"kind": "unit"}, "8-bit pictures have one scale"
    if found.volumes and set(found.types) <= {"uint8"}:
        return {"kind": "zscore"}, "8-bit volumes: each was scaled in its own way"
    return {"kind": "zscore"}, "grey values without a fixed scale (MRI, 16 bit)"


def _plane(found: Fingerprint) -> tuple[Plane, str]:
    """The plane whose slices lie furthest apart, where that is telling; else axial."""
    apart: Mapping[Plane, float] = {
        plane: float(np.median([_thickness(grid, plane) for grid in found.grids]))
        for plane in PLANES
    }
    thickest = max(apart, key=lambda plane: apart[plane])
    if apart[thickest] > 1.5:
        return thickest, f"its slices lie {apart[thickest]:.1f} pixels apart: it was scanned so"
    return "axial", "the voxels are nearly cubes, so no plane is the sharpest"


def _thickness(grid: Any, plane: Plane) -> float:
    depth, rows, columns = grid.slice_spacing_mm(plane)
    return depth / min(rows, columns)


def _neighbours(found: Fingerprint, plane: Plane) -> tuple[int, str]:
    thickness = float(np.median([_thickness(grid, plane) for grid in found.grids]))
    if all(grid.slice_shape(plane)[0] == 1 for grid in found.grids):
        return 0, "each volume is a single slice"
    if thickness > THICK:
        return 0, f"slices lie {thickness:.1f} pixels apart, and tell little of one another"
    return 1, f"slices lie {thickness:.1f} pixels apart: the next ones help"


def _spacing(found: Fingerprint, plane: Plane) -> tuple[list[float] | None, str]:
    sides = np.array([grid.slice_spacing_mm(plane)[1:] for grid in found.grids])
    middle = _median_spacing(found, plane)
    spread = float(np.abs(sides / middle - 1).max())
    square = float(middle.max() / middle.min())
    if spread <= SPREAD and square <= 1 + SPREAD:
        return None, ""
    side = [round(float(middle.min()), 4)] * 2 if square > 1 + SPREAD else middle.round(4).tolist()
    return side, f"in-plane spacings differ by up to {max(spread, square - 1):.0%}: brought to one"


def _median_spacing(found: Fingerprint, plane: Plane) -> Float[np.ndarray, "2"]:
    """Of rows and columns, in mm."""
    return np.median([grid.slice_spacing_mm(plane)[1:] for grid in found.grids], axis=0)


def _typical_size(found: Fingerprint, data: Mapping[str, Any]) -> tuple[int, int]:
    """Rows and columns of the median image, after resampling."""
    if data.get("size"):
        rows, columns = data["size"]
        return rows, columns
    if not found.volumes:
        rows, columns = np.median(found.sizes, axis=0).astype(int).tolist()
        return rows, columns
    plane, target = data["plane"], data.get("spacing_mm")
    sizes = []
    for grid in found.grids:
        size = np.array(grid.slice_shape(plane)[1:], dtype=float)
        if target:
            size *= np.array(grid.slice_spacing_mm(plane)[1:]) / target
        sizes.append(size)
    rows, columns = np.median(sizes, axis=0).round().astype(int).tolist()
    return rows, columns


def _seen_at_once(found: Fingerprint, typical: tuple[int, int], limit: int) -> bool:
    """Whether whole images, made smaller, show more than patches do."""
    return limit < max(typical) <= 4 * limit and found.foreground_share > LARGE_SHARE


def _patch(typical: tuple[int, int], limit: int) -> tuple[list[int], str]:
    shown = f"{typical[0]}x{typical[1]}"
    if max(typical) <= limit:
        side = _multiple_of_32(max(typical))
        return [side, side], f"the median image, {shown}, fits as a whole"
    return [limit, limit], f"the median image is {shown}: patches of this machine's limit"


def _multiple_of_32(side: int) -> int:
    return max(64, math.ceil(side / 32) * 32)


def _augmentation(found: Fingerprint, layout: Layout) -> tuple[Any, str]:
    if not found.volumes:
        return "flip_rotate", "pictures may lie any way up"
    shape = {"affine": 0.5, "rotation_degrees": 20.0, "zoom": 0.2}
    if _is_ct(found, layout):
        return {**shape, "noise": 0.2}, "CT: a body lies one way up, and HU are fixed"
    return (
        {**shape, "gamma": 0.3, "contrast": 0.3, "brightness": 0.3, "noise": 0.2},
        "a body lies one way up; brightness is arbitrary",
    )


def _networks(machine: Machine, pixels: int) -> dict[str, Any]:
    """Widths and batch by what the machine bears; 128 and 32 are the paper's, on one GPU.

    A wide refiner does not see the image at full size, and is trained in turns as the paper's: what
    does better was measured of narrow ones alone.
    """
    if machine.gpu_gib >= 24:
        batch = max(2, min(32, int(32 * 256**2 / pixels)))
        found = {"refiner": 128, "segmentor": 64, "why": "the paper's, on a GPU"}
    elif machine.gpu_gib:
        batch = max(2, min(16, int(16 * 256**2 / pixels)))
        found = {"refiner": 64, "segmentor": 32, "why": f"a GPU of {machine.gpu_gib:.0f} GiB"}
    else:
        batch = 8 if pixels <= 96**2 else 4
        why = f"no GPU, {machine.cores} cores: an iteration takes about a second"
        found = {"refiner": 16, "segmentor": 16, "why": why}
    return {**found, "batch": batch, "fine": found["refiner"] <= 32}


def _length(found: Fingerprint, machine: Machine) -> tuple[int, int, str]:
    if machine.gpu_gib:
        return 10_000, 40_000, "stage 2 as the paper; hours on a GPU"
    if found.cases < 10:
        return 1500, 1000, f"{found.cases} cases are learned soon; half an hour or so"
    return 3000, 2000, "an hour or so on two cores"
