"""Another model's results with their images and masks: found, checked, split, and planned for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hidiff.datasets import Case, Splitting
from hidiff.datasets.channels import join_channels
from hidiff.datasets.find import find_images, find_masks
from hidiff.datasets.patients import propose_patients
from hidiff.datasets.sets.nnunet import DATASET_FILE, read_dataset
from hidiff.datasets.splits import Split, split_by_group
from hidiff.images import DataError, PriorFiles, Priors, find_prior, first_file
from hidiff.images.kind_of_prior import Kind, guess_kind
from hidiff.images.voxels import Nan
from hidiff.inspection.choices import known_labels, median_spacing, spacing_is_lost, typical_size
from hidiff.inspection.fingerprint import Fingerprint, take_fingerprint
from hidiff.labels import Labels
from hidiff.loading import CaseFiles, Reading, most_raters
from hidiff.plan import Layout, Machine, patch_of, propose, this_machine
from hidiff.recipe import Recipe, make_recipe
from hidiff.segmentors import FILES

FEWEST_PATIENTS = 8
FEWEST_HELD_OUT = 4  # patients
VALIDATED = 0.1  # share of the patients
EQUAL_SHARE = 0.5  # of the cases: from here on priors are taken for the ground truth itself
SOFTNESS_MM = 2.0


@dataclass(frozen=True)
class Folders:
    """The folders of images, masks and priors."""

    images: Path
    masks: Path
    priors: Path


@dataclass(frozen=True)
class Collected:
    """Cases with an image, a mask and a prior."""

    folders: Folders
    cases: tuple[Case, ...]
    kind: Kind
    """kind of the priors"""
    without_prior: tuple[str, ...] = ()
    """names of cases that are left out"""
    patients: str = ""
    """a sentence about the patients that the names of files suggest; empty without any"""


def find_three(places: Sequence[Path]) -> Folders:
    """Return the folders of images, masks and priors: three, or one that holds all of them.

    Raises DataError for a folder that is not there, and for priors that are the masks themselves.
    """
    if len(places) == 1:
        root = places[0]
        images, masks = root / "images", root / "masks"
        if not images.is_dir() and (root / "imagesTr").is_dir():
            images, masks = root / "imagesTr", root / "labelsTr"
        places = (images, masks, root / "priors")
    if len(places) != 3:
        raise DataError(
            f"{len(places)} folders came, but three are wanted, IMAGES MASKS PRIORS, or one that "
            "holds images/, masks/ and priors/."
        )
    for place in places:
        if not place.is_dir():
            raise DataError(
                f"there is no folder {place}. Give three folders, IMAGES MASKS PRIORS, or one that "
                "holds images/, masks/ and priors/."
            )
    folders = Folders(*places)
    if folders.priors.resolve() == folders.masks.resolve():
        raise DataError(
            f"{folders.priors} is given for both masks and priors. Priors are another model's "
            "results of the same images."
        )
    return folders


def collect(folders: Folders, kind: Kind | None = None, group: str | None = None) -> Collected:
    """Return the cases that have an image, a mask and a prior; `group` finds the patient in a name.

    Raises DataError for too few patients, and for a patient whose images were held out by two
    folds: one of the two models was trained on that patient.
    """
    masks = find_masks(folders.masks)
    images = join_channels(find_images(folders.images), masks)
    names = sorted(images.keys() & masks.keys())
    found: dict[str, PriorFiles] = {}
    for name in names:
        prior = _find(folders.priors, name, kind or "probability")
        if prior is not None:
            kind = kind or guess_kind(prior)
            found[name] = _find(folders.priors, name, kind) or prior
    if not found or kind is None:
        raise DataError(
            f"no case has an image in {folders.images}, a mask in {folders.masks} and a prior "
            f"in {folders.priors}: {len(images)} images and {len(masks)} masks came. Files of one "
            "case are called alike, but for nnU-Net's _0000."
        )
    splitting, patients = _patients(list(found), group)
    cases = tuple(
        Case(name, images[name], masks[name], None, splitting.group_of(name), prior=prior)
        for name, prior in found.items()
    )
    _check_patients(cases)
    left_out = tuple(name for name in names if name not in found)
    return Collected(folders, cases, kind, left_out, patients)


def _find(folder: Path, name: str, kind: Kind) -> PriorFiles | None:
    try:
        return find_prior(folder, name, kind)
    except DataError as error:
        if "holds no prior" in str(error):
            return None
        raise


def _patients(names: Sequence[str], group: str | None) -> tuple[Splitting, str]:
    """Return how the patient is found in a name, and a sentence about it."""
    if group is not None:
        return Splitting.model_validate({"group": group}), ""
    proposed = propose_patients(names)
    if proposed is None:
        return Splitting(), ""
    return Splitting(group=proposed.pattern), proposed.sentence


def _check_patients(cases: Sequence[Case]) -> None:
    groups = {case.group for case in cases}
    if len(groups) < FEWEST_PATIENTS:
        raise DataError(
            f"{len(cases)} cases of {len(groups)} patients have an image, a mask and a prior, but "
            f"{FEWEST_PATIENTS} patients or more are wanted: a gain on fewer could be chance. Add "
            "some, or say with --group how a file's name names the patient."
        )
    folds: dict[str, Path] = {}
    for case in cases:
        assert case.prior is not None
        fold = first_file(case.prior).parent
        other = folds.setdefault(case.group, fold)
        if other != fold:
            raise DataError(
                f"the patient {case.group} was held out by two folds, {other} and {fold}, so one "
                "of the two models had seen the patient. Train the folds again by patient, or take "
                "these cases out."
            )


def check_priors(
    cases: Sequence[Case], reading: Reading, done: Callable[[], object] = lambda: None
) -> None:
    """Read every prior and mask, and refuse priors that are the ground truth itself.

    `done` is called after each case. Raises DataError, naming the file, for one that does not fit.
    """
    equal = []
    for case in cases:
        files = CaseFiles(case, reading)
        truth = reading.labels.decode(most_raters(files.raters, reading.labels).numpy())
        prior = reading.labels.decode(files.prior.numpy())
        if truth.any() and np.array_equal(truth, prior):
            equal.append(case.name)
        done()
    if equal and len(equal) >= EQUAL_SHARE * len(cases):
        raise DataError(
            f"the priors of {len(equal)} of {len(cases)} cases ({equal[0]} among them) equal their "
            "masks in every voxel, so there is nothing to learn. Give the results of a model that "
            "did not see these images, not the ground truth."
        )


def split_patients(
    cases: Sequence[Case], held_out: float, seed: int = 0
) -> dict[Split, list[Case]]:
    """Return the cases by split, whole patients at a time; `held_out` is the share of the tests."""
    count = len({case.group for case in cases})
    test = max(FEWEST_HELD_OUT, round(held_out * count)) / count
    validation = max(1, round(VALIDATED * count)) / count
    return split_by_group(cases, (1 - validation - test, validation, test), seed)


def look_at_cases(
    collected: Collected,
    done: Callable[[], object] = lambda: None,
    *,
    settings: Mapping[str, Any] | None = None,
    nan: Nan = "refused",
) -> tuple[Fingerprint, Labels | None, tuple[int, ...]]:
    """Return what images and masks are like, their classes if they are known, what is ignored.

    Classes are known where dataset.json names them, or the `settings` of the labels, which a person
    gave as those of data.`nan`.
    """
    labels = None
    for place in (collected.folders.images.parent, collected.folders.priors):
        if labels is None and (place / DATASET_FILE).is_file():
            labels = read_dataset(place).labels
    known, ignore = known_labels(labels, settings or {})
    found = take_fingerprint(collected.cases, done, labels=known, ignore=ignore, nan=nan)
    return found, known, ignore


def plan_refiner(
    name: str,
    root: Path,
    collected: Collected,
    found: Fingerprint,
    labels: Labels | None,
    machine: Machine | None = None,
    *,
    ignore: tuple[int, ...] = (),
) -> Recipe:
    """Return a recipe for a refiner alone behind the priors of `root`/cases.json.

    Slices stay at their own size, so that no detail of the priors is lost.
    """
    machine = machine or this_machine()
    channels = _channel_names(collected.folders.images)
    plan = propose(root, Layout("listed", labels, channels), found, machine, ignore=ignore)
    content = plan.recipe.model_dump(mode="json", exclude_unset=True)
    data = {key: value for key, value in content["data"].items() if key not in SHRINKING}
    data["patch_size"] = patch_of(typical_size(found, data), machine)
    priors: dict[str, Any] = {"kind": collected.kind}
    if collected.kind == "mask" and found.volumes and not spacing_is_lost(found):
        finest = float(median_spacing(found, data["plane"]).min())
        priors["softness_mm"] = round(max(SOFTNESS_MM, finest), 3)
    data["priors"] = priors
    training = {**content["training"], "segmentor": "frozen", "stage1_steps": 0}
    refiner = {**content["refiner"], "fine": machine.gpu_gib < 24}
    segmentor = {"name": FILES, "options": {}}
    changed = {"data": data, "training": training, "refiner": refiner, "segmentor": segmentor}
    return make_recipe({**content, **changed, "name": name}, f"the plan for {root}")


SHRINKING = ("size", "spacing_mm")


def _channel_names(images: Path) -> tuple[str, ...]:
    place = images.parent
    return read_dataset(place).channel_names if (place / DATASET_FILE).is_file() else ()


def with_spacing(cases: Iterable[Case], found: Fingerprint) -> list[Case]:
    """Return the cases, marked where their spacing is lost: then distances are in voxels."""
    lost = spacing_is_lost(found)
    return [replace(case, has_spacing=not lost) for case in cases]


def reading_for(recipe: Recipe) -> Reading:
    """Return how the priors of a recipe are read, at the size of the files."""
    data = recipe.data
    priors: Priors = data.priors
    reading = Reading(recipe.labels, data.channels, data.intensity, data.slicing, None, priors)
    return reading.unresized
