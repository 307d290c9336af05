"""Volumes' predictions as files: what was read, on the grid that it was read from."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hidiff.images import Grid
from hidiff.images.grid import PLANES
from hidiff.labels import Labels
from hidiff.loading import Slicing
from hidiff.prediction.writers import write_prediction
from tests.volumes import LABELS, Echo, grids, make_grid, make_mask, read_volume_mask, write_nifti


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("written")


def predict_and_write(model, file, folder, **options):
    prediction = model.predict(file, name="a", keep_probability=True)
    options = {"overwrite": True, **options}
    return write_prediction(prediction, folder, stem="out", **options)


@given(
    grid=grids(),
    kind=st.sampled_from(list(LABELS)),
    plane=st.sampled_from(list(PLANES)),
    dtype=st.sampled_from([np.uint8, np.int16, np.float32]),
)
def test_masks_and_heads_come_back_as_they_were(folder, grid, kind, plane, dtype):
    mask = make_mask(grid, kind)
    file = write_nifti(folder / "in.nii.gz", mask.astype(dtype), grid)
    predict_and_write(Echo(kind, Slicing(plane)), file, folder)
    came, was = nib.load(folder / "out.nii.gz"), nib.load(file)
    np.testing.assert_array_equal(np.asarray(came.dataobj), mask)
    assert came.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(came.affine, was.affine)
    for kept in ("pixdim", "qform_code", "sform_code", "srow_x", "quatern_b", "qoffset_x"):
        np.testing.assert_array_equal(came.header[kept], was.header[kept])


def test_a_qform_that_differs_from_the_sform_is_kept(folder):
    image = nib.Nifti1Image(make_mask(make_grid(4, 3, 2)), np.diag([2.0, 2.0, 3.0, 1.0]))
    image.set_qform(np.diag([-2.0, -2.0, 3.0, 1.0]), code=1)
    image.set_sform(np.diag([2.0, 2.0, 3.0, 1.0]), code=4)
    nib.save(image, folder / "both.nii")
    predict_and_write(Echo(), folder / "both.nii", folder)
    came = nib.load(folder / "out.nii.gz")
    for form in ("get_qform", "get_sform"):
        (wanted, code), (found, same) = (getattr(each, form)(coded=True) for each in (image, came))
        assert code == same
        np.testing.assert_allclose(found, wanted)


def test_probabilities_and_uncertainty_read_as_shares_and_bits(folder):
    grid = make_grid(4, 3, 2)
    file = write_nifti(folder / "in.nii.gz", make_mask(grid), grid)
    prediction = Echo().predict(file, keep_probability=True)
    draws = np.random.default_rng(0)
    prediction.probability[:] = draws.uniform(size=prediction.probability.shape)
    prediction.uncertainty[:] = draws.uniform(0, 2, prediction.uncertainty.shape)
    formats = ("nifti", "npz")
    write_prediction(prediction, folder, stem="soft", uncertainty=True, formats=formats)
    for plane, name in enumerate(("0-background", "1-rv", "2-myo", "3-lv")):
        came = nib.load(folder / f"soft_probability_{name}.nii.gz")
        assert came.get_data_dtype() == np.uint16
        wanted = prediction.probability[plane]
        np.testing.assert_allclose(came.get_fdata(), wanted, atol=1e-5)
    bits = nib.load(folder / "soft_uncertainty.nii.gz").get_fdata()
    np.testing.assert_allclose(bits, prediction.uncertainty, atol=2e-5)
    with np.load(folder / "soft.npz") as arrays:
        assert arrays["probability"].dtype == np.float16
        np.testing.assert_array_equal(arrays["probability"], prediction.probability)


def test_values_beyond_8_bits_take_16(folder):
    labels = Labels(kind="exclusive", classes={"a": (300,), "b": (7,)})
    label_map = np.array([[[0, 1, 2]]], np.uint8)
    written = labels.to_file(label_map)
    assert written.dtype == np.uint16
    assert written.ravel().tolist() == [0, 300, 7]


@given(mask=st.lists(st.sampled_from([0, 1, 2, 4]), min_size=4, max_size=4))
def test_regions_within_each_other_come_back_as_the_values_they_were(mask):
    values = np.array(mask, np.uint8).reshape(1, 2, 2)
    labels = LABELS["regions"]
    np.testing.assert_array_equal(labels.to_file(labels.decode(labels.encode(values))), values)


def test_regions_that_overlap_otherwise_become_a_file_each(folder):
    grid = make_grid(3, 3, 2)
    model = Echo("regions")
    model.labels = Labels(kind="regions", classes={"left": (1, 2), "mid": (2, 4)})
    mask = make_mask(grid, "regions")
    file = write_nifti(folder / "in.nii.gz", mask, grid)
    paths = predict_and_write(model, file, folder)
    assert {path.name for path in paths[:2]} == {
        "out_labels_0-left.nii.gz", "out_labels_1-mid.nii.gz",
    }  # fmt: skip
    left = read_volume_mask(paths[0], grid, file)
    np.testing.assert_array_equal(left, np.isin(mask, (1, 2)))


def test_the_image_itself_is_never_replaced(folder):
    grid = Grid((3, 3, 2), np.eye(4))
    file = write_nifti(folder / "out.nii.gz", make_mask(grid), grid)
    with pytest.raises(ValueError, match="the image itself"):
        predict_and_write(Echo(), file, folder)


def test_results_are_not_replaced_unasked(folder):
    grid = Grid((3, 3, 2), np.eye(4))
    file = write_nifti(folder / "other.nii.gz", make_mask(grid), grid)
    (folder / "out.nii.gz").touch()
    with pytest.raises(FileExistsError, match="exists already"):
        predict_and_write(Echo(), file, folder, overwrite=False)
