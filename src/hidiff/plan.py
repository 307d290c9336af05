"""A data folder's fingerprint -> a proposed recipe, and why: `hidiff train FOLDER`.

Rules of thumb, as nnU-Net's planner has them: what is known of the data decides, and what the
machine allows is the limit. Every choice is said with its reason, and can be changed in the recipe.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch

from hidiff.datasets import CATALOG, Case, Splitting
from hidiff.datasets.patients import propose_patients
from hidiff.datasets.sets.msd import is_msd, read_msd_channels, read_msd_labels
from hidiff.datasets.sets.nnunet import is_nnunet, read_dataset
from hidiff.datasets.splits import SPLITS, has_lists
from hidiff.images import DataError
from hidiff.images.voxels import Nan
from hidiff.inspection.choices import (
    choose_augmentation,
    choose_channels,
    choose_intensity,
    choose_labels,
    choose_neighbours,
    choose_plane,
    choose_spacing,
    known_labels,
    median_spacing,
    spacing_is_lost,
    typical_size,
)
from hidiff.inspection.findings import LOST_SPACING
from hidiff.inspection.fingerprint import Fingerprint, take_fingerprint
from hidiff.labels import Labels
from hidiff.loading import DATA_VARIABLE
from hidiff.recipe import Recipe, make_recipe

# Of all pixels: where the classes cover more than this, images are looked at whole.
LARGE_SHARE = 0.03
EACH_FILE_ALONE = Splitting()


class Machine(NamedTuple):
    """The cores and the memory that a training may use."""

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
    *,
    known: Mapping[str, Any] | None = None,
    nan: Nan = "refused",
) -> Plan:
    """Return the plan for a data folder on this machine. Raises DataError, naming the file.

    `begin` gets the number of cases; what it returns is called after each. `known` are settings of
    the labels that a person gave, such as ignore.
    """
    layout = recognise(root)
    cases = list_all(root, layout, splitting)
    labels, ignore = known_labels(layout.labels, known or {})
    found = take_fingerprint(cases, begin(len(cases)), labels=labels, ignore=ignore, nan=nan)
    splitting, reason = choose_splitting(root, cases, splitting, found)
    chosen = {"ignore": ignore, "splitting": splitting, "grouping": reason}
    return propose(root, replace(layout, labels=labels), found, this_machine(), **chosen)


def choose_splitting(
    root: Path, cases: Sequence[Case], splitting: Splitting, found: Fingerprint
) -> tuple[Splitting, str]:
    """Return how cases are split, by the patients that their names suggest, and why.

    The reason is empty where there is nothing to say.
    """
    if "group" in splitting.model_fields_set:
        return splitting, f"{found.groups} groups, by the pattern that was given"
    patients = propose_patients([case.name for case in cases])
    if patients is None:
        return splitting, found.alike
    if has_lists(root):
        return splitting, f"{patients.sentence}, but the lists decide: look that they keep together"
    return (
        splitting.model_copy(update={"group": patients.pattern}),
        f"{patients.sentence}: all files of one stay in one split. Change it if they are not",
    )


def recognise(root: Path) -> Layout:
    """Return the layout of a folder. Raises DataError for one of no known layout."""
    if is_msd(root):  # it has imagesTr/, too
        return Layout("msd", read_msd_labels(root), read_msd_channels(root))
    if is_nnunet(root):
        dataset = read_dataset(root)
        return Layout("nnunet", dataset.labels, dataset.channel_names)
    if (root / "images").is_dir() and (root / "masks").is_dir():
        return Layout("folder", None, ())
    raise DataError(
        f"{root} has no layout that HiDiff knows. Make images/ and masks/ with files of the same "
        "names; or nnU-Net's dataset.json, imagesTr/ and labelsTr/; or the Decathlon's "
        "dataset.json."
    )


def list_all(root: Path, layout: Layout, splitting: Splitting) -> list[Case]:
    """Return every case with a mask, whatever its split."""
    list_cases = CATALOG[layout.source].list_cases
    return [case for split in SPLITS for case in list_cases(root, split, splitting)]


def this_machine() -> Machine:
    """Return cores, memory, and the memory of the first GPU."""
    gpu = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Machine(cores or 1, psutil.virtual_memory().total / 2**30, gpu / 2**30)


def propose(
    root: Path,
    layout: Layout,
    found: Fingerprint,
    machine: Machine,
    *,
    ignore: tuple[int, ...] = (),
    splitting: Splitting = EACH_FILE_ALONE,
    grouping: str = "",
) -> Plan:
    """Return a recipe for data like this on a machine like this; a pure function.

    `splitting` is how cases are split, `grouping` the reason for it.
    """
    notes: list[Choice] = []

    def say(setting: str, value: Any, reason: str) -> Any:
        notes.append(Choice(setting, _shown(value), reason))
        return value

    labels, reason = layout.labels, "as dataset.json or the command says"
    if labels is None:
        labels, reason = choose_labels(found, ignore)
    say("labels", f"{labels.kind}: {', '.join(labels.class_names)}", reason)
    if labels.ignore:
        say("labels.ignore", ", ".join(map(str, labels.ignore)), "left out of losses and metrics")
    # a folder that was named is where it was named, whatever relative paths of recipes mean
    place = root.absolute() if DATA_VARIABLE in os.environ else root
    data: dict[str, Any] = {"source": layout.source, "path": str(place)}
    if grouping:
        say("splitting.group", splitting.group, grouping)
    if splitting != EACH_FILE_ALONE:
        data["splitting"] = splitting.model_dump(exclude_defaults=True)
    data["channels"] = say("channels", *choose_channels(found, layout.channel_names))
    data["intensity"] = say("intensity", *choose_intensity(found, layout.channel_names))
    if found.volumes:
        if spacing_is_lost(found):
            say("spacing", "1 x 1 x 1 mm", LOST_SPACING)
        data["plane"] = say("plane", *choose_plane(found))
        data["neighbours"] = say("neighbours", *choose_neighbours(found, data["plane"]))
        spacing, reason = choose_spacing(found, data["plane"])
        if spacing:
            data["spacing_mm"] = say("spacing_mm", spacing, reason)
    limit = _longest_side(machine)
    if _seen_at_once(found, typical_size(found, data), limit):
        shrink = max(typical_size(found, data)) / limit
        why = "what is to be found is large: whole images are made smaller, and seen at once"
        if found.volumes:
            sides = data.get("spacing_mm") or median_spacing(found, data["plane"]).tolist()
            smaller = [round(side * shrink, 4) for side in sides]
            data["spacing_mm"] = say("spacing_mm", smaller, why)
        else:
            data["size"] = say("size", [limit, limit], why)
    data["patch_size"] = say("patch_size", *_patch(typical_size(found, data), limit))
    data["augmentation"] = say(
        "augmentation", *choose_augmentation(found, layout.channel_names, labels)
    )
    sizes = _networks(machine, math.prod(data["patch_size"]))
    say("refiner.width", sizes["refiner"], sizes["why"])
    if sizes["fine"]:
        say("refiner.fine", True, "a narrow refiner gains more if it sees the image itself")
        say("training.segmentor", "joint", "scores as well as in turns at equal compute, or better")
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
    """Return the folder's own name, without characters that a run's name may not have."""
    plain = "".join(c if c.isalnum() or c in "._-" else "_" for c in root.resolve().name)
    return plain.lstrip(".-") or "run"


def _seen_at_once(found: Fingerprint, typical: tuple[int, int], limit: int) -> bool:
    """Return True if whole images, made smaller, show more than patches do."""
    return limit < max(typical) <= 4 * limit and found.foreground_share > LARGE_SHARE


def _longest_side(machine: Machine) -> int:
    """Return the longest side of a patch that a machine bears."""
    return 512 if machine.gpu_gib >= 24 else 256 if machine.gpu_gib else 128


def patch_of(typical: tuple[int, int], machine: Machine) -> list[int]:
    """Return rows and columns of a patch for images of a size."""
    return _patch(typical, _longest_side(machine))[0]


def _patch(typical: tuple[int, int], limit: int) -> tuple[list[int], str]:
    shown = f"{typical[0]}x{typical[1]}"
    if max(typical) <= limit:
        side = _multiple_of_32(max(typical))
        return [side, side], f"the median image, {shown}, fits as a whole"
    return [limit, limit], f"the median image is {shown}: patches of this machine's limit"


def _multiple_of_32(side: int) -> int:
    return max(64, math.ceil(side / 32) * 32)


def _networks(machine: Machine, pixels: int) -> dict[str, Any]:
    """Choose widths and batch size for the machine; 128 and 32 are the paper's, on one GPU.

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
        why = f"no GPU, {machine.cores} core{'' if machine.cores == 1 else 's'}"
        found = {"refiner": 16, "segmentor": 16, "why": why}
    return {**found, "batch": batch, "fine": found["refiner"] <= 32}


def _length(found: Fingerprint, machine: Machine) -> tuple[int, int, str]:
    if machine.gpu_gib:
        return 10_000, 40_000, "stage 2 as the paper"
    if found.cases < 10:
        return 1500, 1000, f"{found.cases} cases are learned soon"
    return 3000, 2000, "shorter than on a GPU"
