"""Do another model's volumes keep their place, and what do they take, from file to file?

    HIDIFF_DATA=... python research/reliability/foreign_volumes.py [--only NAME ...]

The command `hidiff refine`, each time in a process of its own, with an untrained refiner, which
gives the prior back: so the masks that are written must be those that were read, voxel for voxel,
on the grid of the image. Organs of a CT from TotalSegmentator's label map, whose header names its
classes, and as nnU-Net's probabilities; lesions of an MRI of four channels from a mask; a drawn CT
of 512x512x300 from a label map. Then the reading alone of probabilities of ten planes of that size,
of 2.9 GiB. The limit of memory is that of a prediction (volume_memory.py). Nothing is said of
accuracy.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from typer.testing import CliRunner

from hidiff import experiment
from hidiff.cli import app
from hidiff.images import VolumeGeometry, read_geometry, read_label_names
from hidiff.images.priors import Priors, read_prior
from hidiff.labels import Labels
from hidiff.recipe import make_recipe
from hidiff.training import save_model

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, peak_memory_mib, write

ORGANS = ("liver", "spleen", "kidney_left", "kidney_right", "aorta")
CT = "CT_TotalSegmentator_example"
LARGE = (512, 512, 300)
LIMITS_GIB = {"large": 4, "read_large": 6}  # as for predictions: of one class, of several
RESULT = Path(__file__).parent / "results" / "foreign_volumes.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=MEASURES, help="the others' rows are kept")
    args = parser.parse_args()
    rows = {row["measure"]: row for row in json.loads(RESULT.read_text())["rows"]}
    for name in args.only or MEASURES:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            row = pool.apply(run, (MEASURES[name],))
        rows[name] = {"measure": name, **row, "limit_gib": LIMITS_GIB.get(name)}
        print(json.dumps(rows[name]), flush=True)
    result = {
        "question": "other people's volumes from file to file: place, memory, time",
        "rows": [rows[name] for name in MEASURES if name in rows],
    }
    write({**result, **machine()}, __file__, "foreign_volumes")


def run(measure: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Return what a measurement found, with its seconds and its memory."""
    torch.set_num_threads(1)
    before, started = peak_memory_mib(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    return {
        **found,
        "seconds": round(time.monotonic() - started, 1),
        "processor_seconds": round(time.process_time(), 1),
        "peak_gib": round(peak_memory_mib() / 1024, 2),
        "before_gib": round(before / 1024, 2),
    }


def refine_label_map(folder: Path) -> dict[str, Any]:
    """Refine five of TotalSegmentator's organs, found by name."""
    image, prior = _ct()
    model = _identity(folder, "exclusive", ORGANS, 1, "mask")
    written = _refine(model, [image], [prior])
    names = read_label_names(prior)
    truth = np.asarray(nib.load(prior).dataobj)
    wanted = np.zeros(truth.shape, np.uint8)
    for number, name in enumerate(ORGANS, start=1):
        wanted[np.isin(truth, names[name])] = number
    return {"what": "CT, label map of organs", **_compare(written, wanted, image)}


def refine_probabilities(folder: Path) -> dict[str, Any]:
    """Refine the same organs as nnU-Net's probabilities."""
    image, label_map = _ct()
    names, truth = read_label_names(label_map), np.asarray(nib.load(label_map).dataobj)
    wanted = np.zeros(truth.shape, np.uint8)
    for number, name in enumerate(ORGANS, start=1):
        wanted[np.isin(truth, names[name])] = number
    maps = np.stack([0.1 + 0.4 * (wanted == value) for value in range(len(ORGANS) + 1)])
    maps = (maps / maps.sum(axis=0)).astype(np.float32)
    nib.save(nib.Nifti1Image(wanted, nib.load(image).affine), folder / "ct.nii.gz")
    np.savez_compressed(folder / "ct.npz", probabilities=maps.transpose(0, 3, 2, 1))
    (folder / "plans.json").write_text('{"image_reader_writer": "SimpleITKIO"}')
    model = _identity(folder, "exclusive", ORGANS, 1, "probability")
    priors = [folder / name for name in ("ct.npz", "ct.nii.gz", "plans.json")]
    written = _refine(model, [image], priors)
    return {"what": "CT, nnU-Net's probabilities", **_compare(written, wanted, image)}


def refine_lesions(folder: Path) -> dict[str, Any]:
    """Refine lesions of an MRI of four channels."""
    place = Path(os.environ["HIDIFF_DATA"]) / "MS_lesions" / "patient07"
    image = [place / f"{name}.nii.gz" for name in ("t1", "t1post", "t2", "flair")]
    prior = place / "lesions.nii.gz"
    model = _identity(folder, "one_class", ("lesion",), 4, "mask")
    written = _refine(model, image, [prior])
    wanted = np.asarray(nib.load(prior).dataobj) > 0
    return {"what": "MRI of 4 channels, mask", **_compare(written, wanted, image[0])}


def refine_large(folder: Path) -> dict[str, Any]:
    """Refine a ball in a drawn CT, softened in millimetres. Windows do not overlap, for time."""
    grid = np.diag([-0.8, -0.8, 1.5, 1.0])
    image, wanted = np.empty(LARGE, np.int16), np.zeros(LARGE, np.uint8)
    draws, axes = np.random.default_rng(0), np.ogrid[: LARGE[0], : LARGE[1]]
    for z in range(LARGE[2]):  # slice by slice: memory is what is measured
        image[..., z] = draws.normal(40, 60, LARGE[:2])
        distance = sum((axis - 256) ** 2 for axis in axes) + (2 * (z - 150)) ** 2
        wanted[..., z] = distance < 120**2
    for name, values in (("image", image), ("mask", wanted)):
        nib.save(nib.Nifti1Image(values, grid), folder / f"{name}.nii")
    del image, wanted
    model = _identity(folder, "one_class", ("ball",), 1, "mask")
    files = [folder / "image.nii"], [folder / "mask.nii"]
    written = _refine(model, *files, "--overlap", "0", "--steps", "1")
    wanted = np.asarray(nib.load(folder / "mask.nii").dataobj)
    return {"what": "drawn CT, label map", **_compare(written, wanted, folder / "image.nii")}


def read_large(folder: Path) -> dict[str, Any]:
    """Read probabilities of ten planes, which lie on the disk, mapped into memory."""
    nib.save(nib.Nifti1Image(np.zeros(LARGE, np.uint8), np.eye(4)), folder / "image.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros(LARGE, np.uint8), np.eye(4)), folder / "a.nii.gz")
    head = {"descr": "<f2", "fortran_order": False, "shape": (10, *LARGE[::-1])}
    with (
        zipfile.ZipFile(folder / "a.npz", "w") as archive,
        archive.open("probabilities.npy", "w", force_zip64=True) as entry,
    ):
        np.lib.format.write_array_header_1_0(entry, head)
        for plane in range(10):
            for _ in range(LARGE[2]):
                entry.write(np.full(LARGE[:2], 0.05 if plane else 0.55, "<f2").tobytes())
    labels = Labels.model_validate(
        {"kind": "exclusive", "classes": {f"c{number}": [number] for number in range(1, 10)}}
    )
    geometry = read_geometry(folder / "image.nii.gz")
    assert isinstance(geometry, VolumeGeometry)
    planes = read_prior(folder / "a.npz", labels, Priors(), geometry, folder / "image.nii.gz")
    mapped = isinstance(planes, np.memmap)
    size = round(planes.nbytes / 2**30, 2)
    return {"what": "reading 10 planes", "planes_gib": size, "on_the_disk": mapped}


def _ct() -> tuple[Path, Path]:
    root = Path(os.environ["HIDIFF_DATA"]) / CT
    return root / "example_ct.nii.gz", root / "example_seg_fast_force_split.nii.gz"


def _identity(folder: Path, kind: str, classes: tuple[str, ...], channels: int, prior: str) -> Path:
    """Write the checkpoint of an untrained refiner behind priors from files."""
    numbered = {name: [number] for number, name in enumerate(classes, start=1)}
    recipe = make_recipe(
        {
            "name": "identity",
            "data": {
                "path": "none", "channels": channels, "intensity": {"kind": "zscore"},
                "patch_size": [128, 128], "priors": {"kind": prior, "softness_mm": 2.0},
            },
            "labels": {"kind": kind, "classes": numbered},
            "segmentor": {"name": "files", "options": {}},
            "refiner": {"width": 8},
            "training": {"segmentor": "frozen"},
        }
    )  # fmt: skip
    hybrid = experiment.make_hybrid(recipe)
    metadata = {**experiment.checkpoint_metadata(recipe), "stage": "refiner_only", "step": "1"}
    save_model(folder / "identity.safetensors", hybrid.segmentor, hybrid.refiner, metadata)
    return folder / "identity.safetensors"


def _refine(model: Path, channels: list[Path], priors: list[Path], *more: str) -> Path:
    """Refine a case by the command, and return the file of its labels."""
    images, theirs = model.parent / "images", model.parent / "priors"
    for place in (images, theirs):
        place.mkdir()
    for number, file in enumerate(channels):
        name = f"case_{number:04d}" if len(channels) > 1 else "case"
        (images / f"{name}{_ending(file)}").symlink_to(file)
    for file in priors:
        name = file.name if file.suffix == ".json" else f"case{_ending(file)}"
        (theirs / name).symlink_to(file)
    output = model.parent / "out"
    words = ["refine", model, images, "--prior", theirs, "--output", output, "--threads", 1, *more]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return output / "case.nii.gz"


def _ending(file: Path) -> str:
    return "".join(file.suffixes)


def _compare(written: Path, wanted: np.ndarray, image: Path) -> dict[str, Any]:
    """Return how many voxels differ from what was read, and whether the grid is the image's."""
    opened = nib.load(written)
    found = np.asarray(opened.dataobj)
    return {
        "shape": list(found.shape),
        "voxels_marked": int(np.count_nonzero(wanted)),
        "voxels_different": int(np.count_nonzero(found != wanted)),
        "affine_of_image": bool(np.array_equal(opened.affine, nib.load(image).affine)),
        "names": {name: list(values) for name, values in read_label_names(written).items()},
    }


MEASURES = {
    "label_map": refine_label_map,
    "probabilities": refine_probabilities,
    "lesions": refine_lesions,
    "large": refine_large,
    "read_large": read_large,
}


if __name__ == "__main__":
    main()
