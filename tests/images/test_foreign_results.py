"""Another model's volumes as priors: whatever their axes, they lie where the image lies."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hidiff.images import DataError, Grid, VolumeGeometry, read_geometry
from hidiff.images.kind_of_prior import guess_kind
from hidiff.images.label_names import read_label_names
from hidiff.images.priors import Priors, find_prior, prior_files, read_prior
from hidiff.images.softening import measure, soften_volume
from hidiff.labels import Labels
from tests.volumes import grids, write_nifti

HEART = Labels(kind="exclusive", classes={"rv": (1,), "myo": (2,), "lv": (3,)})
MAPS, MASKS = Priors(), Priors(kind="mask")
FEW = settings(max_examples=20, deadline=None)


def probabilities(grid: Grid, planes: int = 4, seed: int = 0) -> np.ndarray:
    """Probabilities (k, x, y, z) with the axes of a file."""
    draws = np.random.default_rng(seed).dirichlet(np.ones(planes), grid.shape)
    return np.moveaxis(draws, -1, 0).astype(np.float32)


def write_nnunet(folder: Path, grid: Grid, values: np.ndarray, reader: str = "SimpleITKIO") -> Path:
    """Write a case as nnU-Net's export does: crops undone, axes as its reader had them."""
    image = nib.Nifti1Image(values.argmax(axis=0).astype(np.uint8), grid.affine)
    nib.save(image, folder / "case.nii.gz")
    turned = values
    if "Reorient" in reader:
        planes = [nib.Nifti1Image(plane, grid.affine) for plane in values]
        turned = np.stack([nib.as_closest_canonical(plane).get_fdata() for plane in planes])
    turned = turned.transpose(0, 3, 2, 1).astype(np.float32)
    np.savez_compressed(folder / "case.npz", probabilities=turned)
    (folder / "plans.json").write_text(json.dumps({"image_reader_writer": reader}))
    names = {"background": 0, "RV": 1, "MYO": 2, "LV": 3}
    (folder / "dataset.json").write_text(json.dumps({"labels": names}))
    return folder / "case.npz"


def read(prior, grid: Grid, priors: Priors = MAPS, labels: Labels = HEART) -> np.ndarray:
    """Read a prior, and turn it back to the axes of the image's file."""
    geometry = VolumeGeometry(grid)
    return geometry.native(read_prior(prior, labels, priors, geometry, Path("image.nii.gz")))


# nnU-Net


@FEW
@given(grids(), st.sampled_from(["SimpleITKIO", "NibabelIOWithReorient"]))
def test_nnunets_probabilities_lie_where_its_segmentation_does(grid, reader):
    values = probabilities(grid)
    with TemporaryDirectory() as name:
        found = read(write_nnunet(Path(name), grid, values, reader), grid)
    np.testing.assert_allclose(found, values, atol=1e-6)
    assert np.array_equal(found.argmax(axis=0), values.argmax(axis=0))


@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIOWithReorient"])
def test_without_plans_the_segmentation_says_how_the_axes_lie(tmp_path, reader):
    grid = Grid((5, 4, 3), np.diag([-0.5, 0.5, 5, 1]))
    values = probabilities(grid)
    path = write_nnunet(tmp_path, grid, values, reader)
    (tmp_path / "plans.json").unlink()
    np.testing.assert_allclose(read(path, grid), values, atol=1e-6)
    even = np.full_like(values, 0.2)
    even[0], even[1, 0] = 0.4, 0.3  # background everywhere, more doubt on one side
    write_nnunet(tmp_path, grid, even, reader)
    (tmp_path / "plans.json").unlink()
    with pytest.raises(DataError, match=r"its axes in two ways, and plans\.json is missing"):
        read(path, grid)


def test_what_nnunet_did_not_write_together_is_refused_with_both_shapes(tmp_path):
    grid = Grid((5, 4, 3), np.diag([0.5, 0.5, 5, 1]))
    values = probabilities(grid)
    path = write_nnunet(tmp_path, grid, values)
    with pytest.raises(DataError, match=r"another grid than image\.nii\.gz: 5x4x3 against 4x5x3"):
        read(path, Grid((4, 5, 3), grid.affine))
    np.savez(path, probabilities=values[..., :2].transpose(0, 3, 2, 1))
    with pytest.raises(DataError, match=r"shape \(4, 2, 4, 5\).*case\.nii\.gz beside it is 5x4x3"):
        read(path, grid)
    segmentation = values.argmax(axis=0).astype(np.uint8)
    segmentation[0, 0, 0] = (segmentation[0, 0, 0] + 1) % 4
    np.savez(path, probabilities=values.transpose(0, 3, 2, 1))
    write_nifti(tmp_path / "case.nii.gz", segmentation, grid)
    with pytest.raises(DataError, match=r"is 5x4x3.*1 voxels of the segmentation are not what"):
        read(path, grid)
    (tmp_path / "case.nii.gz").unlink()
    with pytest.raises(DataError, match=r"case\.npz has no segmentation of nnU-Net beside it"):
        read(path, grid)


def test_a_crop_is_filled_with_background_and_a_pickle_is_never_opened(tmp_path):
    grid = Grid((6, 5, 3), np.eye(4))
    values = probabilities(grid)
    values[:, :2] = 0  # as older versions of nnU-Net write what lies outside of their crop
    path = write_nnunet(tmp_path, grid, values)
    (tmp_path / "case.pkl").write_bytes(b"not a pickle")
    found = read(path, grid)
    assert (found[0, :2] == 1).all() and (found[1:, :2] == 0).all()
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    np.savez(path, probabilities=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"holds object as probabilities|never unpickled"):
        read(path, grid)


def test_its_classes_are_found_by_name_and_others_are_background(tmp_path):
    grid = Grid((4, 3, 2), np.eye(4))
    values = probabilities(grid)
    path = write_nnunet(tmp_path, grid, values)
    labels = Labels(kind="exclusive", classes={"lv": (255,), "rv": (7,)})
    found = read(path, grid, labels=labels)
    np.testing.assert_allclose(found[1:], values[[3, 1]], atol=1e-6)
    np.testing.assert_allclose(found[0], values[[0, 2]].sum(axis=0), atol=1e-6)
    wall = Labels(kind="exclusive", classes={"lv": (3,), "wall": (2,)})
    with pytest.raises(DataError, match=r"names RV, MYO, LV, but not wall"):
        read(path, grid, labels=wall)


def test_regions_are_read_from_sigmoids(tmp_path):
    grid = Grid((4, 3, 2), np.eye(4))
    values = np.random.default_rng(0).random((2, *grid.shape)).astype(np.float32)
    segmentation = np.zeros(grid.shape, np.uint8)
    segmentation[values[0] > 0.5], segmentation[values[1] > 0.5] = 1, 2
    write_nifti(tmp_path / "case.nii.gz", segmentation, grid)
    np.savez(tmp_path / "case.npz", probabilities=values.transpose(0, 3, 2, 1))
    names = {"background": 0, "whole": [1, 2], "core": [2]}
    content = {"labels": names, "regions_class_order": [1, 2]}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    labels = Labels(kind="regions", classes={"core": (2,), "whole": (1, 2)})
    found = read(tmp_path / "case.npz", grid, labels=labels)
    np.testing.assert_allclose(found, values[::-1], atol=1e-6)


def test_folds_hold_the_results_of_the_cases_they_held_out(tmp_path):
    for fold, name in enumerate(["a", "b"]):
        folder = tmp_path / f"fold_{fold}" / "validation"
        folder.mkdir(parents=True)
        (folder / f"{name}.npz").touch()
    assert find_prior(tmp_path, "b_0000", "probability").parts[-3:] == (
        "fold_1", "validation", "b.npz",
    )  # fmt: skip
    (tmp_path / "fold_0/validation/b.npz").touch()
    with pytest.raises(DataError, match=r"b has a prior in both .*fold_0.*fold_1"):
        find_prior(tmp_path, "b", "probability")


# NIfTI


@FEW
@given(grids(oblique=False), st.sampled_from(["channels", "files", "folder", "no background"]))
def test_probabilities_in_nifti_are_turned_to_the_images_axes(grid, form):
    values = probabilities(grid)
    turned = [nib.as_closest_canonical(nib.Nifti1Image(each, grid.affine)) for each in values]
    with TemporaryDirectory() as name:
        folder = Path(name)
        if form in ("channels", "no background"):
            stack = turned[1:] if form == "no background" else turned
            joined = np.stack([each.get_fdata(dtype=np.float32) for each in stack], axis=-1)
            nib.save(nib.Nifti1Image(joined, turned[0].affine), folder / "case.nii.gz")
        names = ("background", *HEART.class_names)
        for number, (plane, image) in enumerate(zip(names, turned, strict=True)):
            if form == "files":
                nib.save(image, folder / f"case_probability_{number}-{plane}.nii.gz")
            elif form == "folder":
                (folder / "case").mkdir(exist_ok=True)
                nib.save(image, folder / "case" / f"{plane.upper()}.nii.gz")
        found = read(find_prior(folder, "case", "probability"), grid)
    np.testing.assert_allclose(found, values, atol=1e-5)


def test_a_probability_elsewhere_in_the_patient_is_refused_with_both_grids(tmp_path):
    grid = Grid((4, 3, 2), np.diag([0.5, 0.5, 5, 1]))
    moved = Grid(grid.shape, grid.affine + np.eye(4)[:, 3:] @ np.ones((1, 4)) * 0)
    moved.affine[0, 3] = 1.0
    nib.save(nib.Nifti1Image(np.full((4, 3, 2, 4), 0.25), moved.affine), tmp_path / "case.nii.gz")
    with pytest.raises(DataError, match=r"another grid than image.*origin \(mm\) \(1, .*\(0, "):
        read(tmp_path / "case.nii.gz", grid)


# Label maps


def save_named(path: Path, values: np.ndarray, names: dict[int, str]) -> None:
    """Write a label map with names in its extended header, as TotalSegmentator does."""
    image = nib.Nifti1Image(values, np.eye(4))
    rows = "".join(
        f'<Label Key="{value}" Red="1" Green="0" Blue="0" Alpha="1"><![CDATA[{name}]]></Label>\n'
        for value, name in names.items()
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?> <CaretExtension>  <VolumeInformation Index="0">   '
        f"<LabelTable>\n{rows}\n  </LabelTable>  </VolumeInformation></CaretExtension>\n          "
    )
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, xml.encode()))
    nib.save(image, path)


@pytest.mark.parametrize("form", ["header", "json", "csv", "dataset", "settings"])
def test_classes_of_a_label_map_are_found_by_name(tmp_path, form):
    values = np.random.default_rng(0).choice([0, 1, 5, 51], (6, 5, 4)).astype(np.uint8)
    names = {1: "spleen", 5: "liver", 51: "heart"}
    path = tmp_path / "case.nii.gz"
    priors = MASKS
    if form == "header":
        save_named(path, values, names)
    else:
        write_nifti(path, values, Grid((6, 5, 4), np.eye(4)))
    if form == "json":
        table = json.dumps({name: value for value, name in names.items()})
        (tmp_path / "labels.json").write_text(table)
    elif form == "csv":
        rows = "".join(f"{value};{name}\n" for value, name in names.items())
        (tmp_path / "labels.csv").write_text(f"value;name\n0;background\n{rows}")
    elif form == "dataset":  # nnU-Net's, and that of its first version the other way round
        (tmp_path / "dataset.json").write_text(
            json.dumps({"labels": {str(value): name for value, name in names.items()}})
        )
    elif form == "settings":
        priors = Priors(kind="mask", values={"Liver": (5,), "spleen": (1,)})
    labels = Labels(kind="exclusive", classes={"Spleen": (1,), "Liver": (2,)})
    found = read(path, Grid((6, 5, 4), np.eye(4)), priors, labels).argmax(axis=0)
    assert np.array_equal(found == 1, values == 1) and np.array_equal(found == 2, values == 5)


def test_values_that_nothing_names_are_refused(tmp_path):
    values = np.array([[[0, 9]]], np.uint8)
    path = write_nifti(tmp_path / "case.nii.gz", values, Grid((1, 1, 2), np.eye(4)))
    with pytest.raises(DataError, match=r"case\.nii\.gz: .*values 9, but.*data\.priors\.values"):
        read(path, Grid((1, 1, 2), np.eye(4)), MASKS)


def test_a_header_with_entities_is_refused(tmp_path):
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    bomb = b'<!DOCTYPE a [<!ENTITY b "c">]><CaretExtension>&b;</CaretExtension>'
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, bomb))
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match="names of labels in its header that do not read"):
        read_label_names(tmp_path / "a.nii.gz")


def test_a_folder_of_masks_is_a_prior(tmp_path):
    grid = Grid((5, 4, 3), np.eye(4))
    (tmp_path / "case").mkdir()
    liver = np.zeros(grid.shape, np.uint8)
    liver[1:3, 1:3] = 255
    for name, values in (("liver", liver), ("spleen", liver * 0), ("heart", liver)):
        write_nifti(tmp_path / "case" / f"{name}.nii.gz", values, grid)
    labels = Labels(kind="exclusive", classes={"Liver": (1,), "Spleen": (2,)})
    prior = find_prior(tmp_path, "case", "mask")
    assert prior == tmp_path / "case"
    found = read(prior, grid, MASKS, labels)
    assert np.array_equal(found.argmax(axis=0), liver // 255)


def test_a_cache_knows_every_file_that_a_prior_is_read_from(tmp_path):
    grid = Grid((4, 3, 2), np.eye(4))
    path = write_nnunet(tmp_path, grid, probabilities(grid))
    names = {file.name for file in prior_files(path)}
    assert names == {"case.npz", "case.nii.gz", "plans.json", "dataset.json"}


# Softness in millimetres

ANISOTROPIC = (5.0, 0.5, 0.5)  # between slices, rows, columns


def nearest_face(mask: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """The distance to the nearest face by looking at every pair of voxels, positive inside."""
    found = np.full(mask.shape, np.inf)
    places = np.indices(mask.shape).reshape(3, -1).T
    flat = mask.ravel()
    for number, place in enumerate(places):
        others = places[flat != flat[number]]
        steps = np.maximum(np.abs(others - place) - 0.5, 0) * (others != place) * spacing
        if len(others):
            found.flat[number] = np.sqrt((steps**2).sum(axis=1)).min()
    return np.where(mask, found, -found)


@FEW
@given(st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_the_distance_is_that_to_the_nearest_face_in_millimetres(seed, share):
    mask = np.random.default_rng(seed).random((3, 5, 6)) < share
    found, truth = measure(mask, ANISOTROPIC, 20.0), nearest_face(mask, ANISOTROPIC)
    np.testing.assert_allclose(found, truth, rtol=1e-5)


@FEW
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_slabs_and_boxes_change_nothing(seed, depth):
    draws = np.random.default_rng(seed)
    mask = np.zeros((9, 12, 12), bool)
    mask[2:7, 3:9, 4:8] = draws.random((5, 6, 4)) < 0.7
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hidiff.images.softening.SLAB", depth * 12 * 12)
        found = soften_volume(mask[None], (1.0, 0.5, 0.5), 1.0, 0.05, False)[0]
    truth = 1 / (1 + np.exp(-nearest_face(mask, (1.0, 0.5, 0.5)).clip(-50, 50)))
    np.testing.assert_allclose(found, truth.clip(0.05, 0.95), atol=1e-5)
    assert np.array_equal(found > 0.5, mask)


def test_ten_rows_are_as_far_as_one_slice_of_five_millimetres():
    mask = np.zeros((5, 41, 41), bool)
    mask[2, 20, 20] = True
    found = soften_volume(mask[None], ANISOTROPIC, 2.0, 0.01, False)[0]
    assert found[1, 20, 20] < found[2, 20, 15]  # 2.5 mm against 2.25 mm to the face
    assert found[1, 20, 20] > found[2, 20, 14]  # ... and 2.75 mm
    logistic = 1 / (1 + np.exp([2.5 / 2, 2.25 / 2]))
    np.testing.assert_allclose(found[[1, 2], 20, [20, 15]], logistic, rtol=1e-5)


def test_a_lost_spacing_is_softened_in_pixels_slice_by_slice(tmp_path):
    grid = Grid((9, 9, 3), np.diag([0.5, 0.5, 5, 1]))
    values = np.zeros(grid.shape, np.uint8)
    values[4:, :, 1] = 1
    path = write_nifti(tmp_path / "case.nii.gz", values, grid)
    labels = Labels(kind="one_class", classes={"a": (1,)})
    in_pixels = read(path, grid, Priors(kind="mask"), labels)[0]
    in_mm = read(path, grid, Priors(kind="mask", softness_mm=2.0), labels)[0]
    np.testing.assert_allclose(in_pixels[3, :, 1], 1 / (1 + np.exp(0.25)), rtol=1e-5)
    np.testing.assert_allclose(in_mm[3, :, 1], 1 / (1 + np.exp(0.125)), rtol=1e-5)
    assert (in_pixels[..., 0] == np.float32(0.01)).all() and (in_mm[8, :, 0] > 0.2).all()


# DICOM SEG


def test_segments_of_dicom_lie_where_they_were_drawn(tmp_path):
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    from hidiff.prediction.writers.dicom_seg import write_dicom_seg
    from tests.dicom_series import make_slices, write_slices

    grid = Grid((9, 8, 5), np.diag([-2.0, -1.5, 3.0, 1.0]))
    labels = np.zeros(grid.shape, np.uint8)
    labels[2:5, 1:7, 1:3], labels[5:8, 1:7, 2:4] = 1, 2  # the first and the last slice are empty
    series = write_slices(tmp_path / "series", make_slices(labels.astype(int), grid))
    write_dicom_seg(tmp_path / "series.dcm", labels, ["Liver", "Spleen"], series)
    image = read_geometry(series)
    kept = Labels(kind="exclusive", classes={"spleen": (7,), "liver": (3,)})
    prior = find_prior(tmp_path, "series", "mask")
    found = image.native(read_prior(prior, kept, MASKS, image, series)).argmax(axis=0)
    assert image.grid is not None
    turned = image.grid.axes != grid.axes
    wanted = np.where(labels == 1, 2, np.where(labels == 2, 1, 0))
    assert not turned and np.array_equal(found, wanted)
    assert guess_kind(prior) == "mask"
    one = Labels(kind="exclusive", classes={"liver": (3,), "kidney": (4,)})
    with pytest.raises(DataError, match=r"names Liver, Spleen, but not kidney"):
        read_prior(prior, one, MASKS, image, series)
