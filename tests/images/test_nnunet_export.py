"""Files of nnU-Net's own export function, refined by a refiner that changes nothing.

Odd crops, axes, spacings and transpositions, and every reader that nnU-Net has for NIfTI: the masks
are nnU-Net's own segmentation in every voxel.
"""

import json
from importlib.util import find_spec

import nibabel as nib
import numpy as np
import pytest

from hidiff import experiment
from hidiff.images import Grid, find_prior
from hidiff.recipe import make_recipe
from tests.volumes import write_nifti

pytestmark = pytest.mark.skipif(find_spec("nnunetv2") is None, reason="nnunetv2 is not installed")

READERS = ("SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient")
SETS = {
    "exclusive": {"labels": {"background": 0, "rv": 1, "myo": 2, "lv": 3}},
    "regions": {
        "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]},
        "regions_class_order": [1, 2, 3],
    },
}
AFFINES = {
    "LPS": np.diag([-0.5, -0.5, 5.0, 1.0]),
    "turned": np.array([[0, 0, -5.0, 9], [0.5, 0, 0, -3], [0, -0.7, 0, 2], [0, 0, 0, 1]]),
    "oblique": np.array([[0.49, -0.1, 0, 1], [0.1, 0.49, 0, 2], [0, 0, 5.0, 3], [0, 0, 0, 1]]),
}


def export(folder, kind, reader, image, transpose, seed):
    """Let nnU-Net export logits of a crop that it has resampled."""
    from nnunetv2.inference.export_prediction import export_prediction_from_logits
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    kwargs = {"is_seg": False, "force_separate_z": False, "memefficient_seg_resampling": False}
    plans = {
        "dataset_name": "Dataset027_ACDC",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": reader,
        "transpose_forward": transpose,
        "transpose_backward": np.argsort(transpose).tolist(),
        "label_manager": "LabelManager",
        "configurations": {
            "3d_fullres": {
                "spacing": [1.0, 1.0, 1.0],
                "architecture": {},
                "resampling_fn_probabilities": "resample_torch_fornnunet",
                "resampling_fn_probabilities_kwargs": kwargs,
            }
        },
    }
    content = {"channel_names": {"0": "MRI"}, "file_ending": ".nii.gz", **SETS[kind]}
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(content))
    manager = PlansManager(plans)
    data, properties = manager.image_reader_writer_class().read_images([str(image)])
    whole = [data.shape[1:][axis] for axis in transpose]
    draws = np.random.default_rng(seed)
    low = [int(draws.integers(0, side // 3 + 1)) for side in whole]
    high = [int(draws.integers(side - side // 3, side + 1)) for side in whole]
    cropped = [stop - start for start, stop in zip(low, high, strict=True)]
    properties["shape_before_cropping"] = whole
    properties["bbox_used_for_cropping"] = [list(pair) for pair in zip(low, high, strict=True)]
    properties["shape_after_cropping_and_before_resampling"] = cropped
    resampled = [max(1, side - 1) for side in cropped]
    logits = draws.normal(0, 2, (3 + (kind == "exclusive"), *resampled)).astype(np.float32)
    export_prediction_from_logits(
        logits,
        properties,
        manager.get_configuration("3d_fullres"),
        manager,
        content,
        str(folder / "case"),
        save_probabilities=True,
        num_threads_torch=1,
    )


@pytest.fixture(scope="module", params=SETS)
def refiner(request):
    """An untrained refiner behind priors from files, which gives the prior back."""
    classes = {
        name: values if isinstance(values, list) else [values]
        for name, values in SETS[request.param]["labels"].items()
        if name != "background"
    }
    recipe = make_recipe(
        {
            "name": "identity",
            "labels": {"kind": request.param, "classes": classes},
            "data": {
                "path": "none", "channels": 1, "intensity": {"kind": "zscore"},
                "patch_size": [64, 64],
            },
            "segmentor": {"name": "files", "options": {}},
            "refiner": {"width": 8},
            "training": {"segmentor": "frozen"},
        }
    )  # fmt: skip
    hybrid = experiment.make_hybrid(recipe)
    return request.param, experiment.make_predictor(hybrid, recipe)


@pytest.mark.parametrize("axes", AFFINES)
@pytest.mark.parametrize("reader", READERS)
def test_an_identity_refiner_gives_nnunets_segmentation_back(tmp_path, refiner, reader, axes):
    kind, predictor = refiner
    grid = Grid((9, 7, 6), AFFINES[axes])
    draws = np.random.default_rng(0)
    image = write_nifti(
        tmp_path / "case_0000.nii.gz", draws.normal(0, 1, grid.shape).astype(np.float32), grid
    )
    (tmp_path / "out").mkdir()
    for seed, transpose in enumerate([[0, 1, 2], [1, 0, 2], [2, 0, 1]]):
        export(tmp_path / "out", kind, reader, image, transpose, seed)
        (tmp_path / "out" / "case.pkl").write_bytes(b"never opened")
        theirs = np.asarray(nib.load(tmp_path / "out" / "case.nii.gz").dataobj)
        prior = find_prior(tmp_path / "out", "case", "probability")
        found = predictor.predict(image, prior=prior)
        ours = predictor.labels.to_file(found.labels)
        assert np.array_equal(ours, theirs)
        assert len(np.unique(theirs)) >= 3  # something was found
