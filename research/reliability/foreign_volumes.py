"""Do another model's volumes keep their place, and what do they take, from file to file?

    HIDIFF_DATA=... python research/reliability/foreign_volumes.py

The whole way of `hidiff refine`, each in a process of its own, with an untrained refiner, which
gives the prior back: so the masks that are written must be those that were read, voxel for voxel,
on the grid of the image. Organs of a CT from TotalSegmentator's label map, whose header names its
classes, and as nnU-Net's probabilities; lesions of an MRI of four channels from a mask. Then the
reading alone of probabilities of ten planes, of 0.5 GiB. Nothing is said of accuracy.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from hidiff import experiment
from hidiff.images import VolumeGeometry, read_geometry, read_label_names
from hidiff.images.priors import Priors, read_prior
from hidiff.labels import Labels
from hidiff.prediction import Predictor
from hidiff.prediction.writers import write_prediction
from hidiff.recipe import make_recipe

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, peak_memory_mib, write

ORGANS = ("liver", "spleen", "kidney_left", "kidney_right", "aorta")
CT = "CT_TotalSegmentator_example"
LARGE = (256, 256, 200)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    rows = []
    for measure in (refine_label_map, refine_probabilities, refine_lesions, read_large):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(run, (measure,)))
        print(json.dumps(rows[-1]), flush=True)
    question = "other people's volumes from file to file: place, memory, time"
    write({"question": question, "rows": rows, **machine()}, __file__, "foreign_volumes")


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
    predictor = _identity("exclusive", dict.fromkeys(ORGANS), 1, "mask")
    written = _refine(predictor, image, prior, folder)
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
    predictor = _identity("exclusive", dict.fromkeys(ORGANS), 1, "probability")
    written = _refine(predictor, image, folder / "ct.npz", folder)
    return {"what": "CT, nnU-Net's probabilities", **_compare(written, wanted, image)}


def refine_lesions(folder: Path) -> dict[str, Any]:
    """Refine lesions of an MRI of four channels."""
    place = Path(os.environ["HIDIFF_DATA"]) / "MS_lesions" / "patient07"
    image = tuple(place / f"{name}.nii.gz" for name in ("t1", "t1post", "t2", "flair"))
    prior = place / "lesions.nii.gz"
    predictor = _identity("one_class", {"lesion": None}, 4, "mask")
    written = _refine(predictor, image, prior, folder)
    wanted = np.asarray(nib.load(prior).dataobj) > 0
    return {"what": "MRI of 4 channels, mask", **_compare(written, wanted, image[0])}


def read_large(folder: Path) -> dict[str, Any]:
    """Read probabilities of ten planes, which lie on the disk, mapped into memory."""
    nib.save(nib.Nifti1Image(np.zeros(LARGE, np.uint8), np.eye(4)), folder / "image.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros(LARGE, np.uint8), np.eye(4)), folder / "a.nii.gz")
    maps = np.full((10, *LARGE[::-1]), 0.05, np.float16)
    maps[0] = 0.55
    np.savez(folder / "a.npz", probabilities=maps)
    del maps
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


def _identity(kind: str, classes: dict[str, Any], channels: int, prior: str) -> Predictor:
    """Return an untrained refiner behind priors from files."""
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
    return experiment.make_predictor(experiment.make_hybrid(recipe), recipe)


def _refine(predictor: Predictor, image: Any, prior: Path, folder: Path) -> Path:
    """Refine a case, write it, and return the file of its labels."""
    output = folder / "out"
    output.mkdir()
    write_prediction(predictor.predict(image, prior=prior), output, stem="case")
    return output / "case.nii.gz"


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


if __name__ == "__main__":
    main()
