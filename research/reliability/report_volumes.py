"""Public reports on NIfTI, NRRD and MetaImage, rebuilt as volumes of a few voxels."""

from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
from report_table import refused, report
from scipy.spatial.transform import Rotation

from hidiff.images import read_class_names, read_image
from hidiff.metrics import case_metrics
from hidiff.prediction.writers import write_prediction
from tests.images.test_units_and_axes import write_segmentation
from tests.volumes import Echo, make_grid, make_mask, read_grid, read_volume, read_volume_mask

GRID = make_grid(5, 4, 3)
MASK = make_mask(GRID)
FLIP_Y = np.diag([1.0, -1.0, 1.0, 1.0])


def nifti(file: Path, values: np.ndarray, affine: np.ndarray = GRID.affine, **header: int) -> Path:
    """Write a NIfTI; `header` are codes of its units."""
    image = nib.Nifti1Image(values, affine)
    if header:
        image.header.set_xyzt_units(**header)
    nib.save(image, file)
    return file


def image_of(folder: Path) -> Path:
    return nifti(folder / "image.nii.gz", np.arange(60, dtype=np.int16).reshape(GRID.shape))


def mask_on_image(folder: Path, values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return a mask with these values and this affine, as it is read for the image."""
    image = image_of(folder)
    return read_volume_mask(nifti(folder / "mask.nii.gz", values, affine), read_grid(image), image)


@report("MIC-DKFZ/nnUNet", 1669, "a mask whose y axis runs the other way, origin at the other end")
def flipped_axis(folder: Path) -> None:
    affine = GRID.affine @ FLIP_Y
    affine[:3, 3] = (GRID.affine @ [0, GRID.shape[1] - 1, 0, 1])[:3]
    assert (mask_on_image(folder, MASK[:, ::-1], affine) == MASK).all()


@report("MIC-DKFZ/nnUNet", 2526, "an oblique image, its mask saved without the directions")
def lost_directions(folder: Path) -> str:
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("z", 10, degrees=True).as_matrix()
    return refused(
        lambda: mask_on_image(folder, MASK, turned @ GRID.affine), "another grid", "directions"
    )


@report("MIC-DKFZ/nnUNet", 2551, "masks whose origin lies centimetres away from the image's")
def far_origin(folder: Path) -> str:
    affine = GRID.affine.copy()
    affine[:3, 3] += (1.5, 90.8, 345.6)
    return refused(lambda: mask_on_image(folder, MASK, affine), "another grid", "origin (mm)")


@report("MIC-DKFZ/nnUNet", 2897, "training and new volumes of different orientations")
def other_orientation(folder: Path) -> None:
    """The network sees the same slices, and labels come back on the axes of the file."""
    values = MASK.astype(np.int16)
    affine = GRID.affine @ FLIP_Y
    affine[:3, 3] = (GRID.affine @ [0, GRID.shape[1] - 1, 0, 1])[:3]
    first = nifti(folder / "a.nii.gz", values)
    second = nifti(folder / "b.nii.gz", values[:, ::-1].transpose(2, 0, 1), affine[:, [2, 0, 1, 3]])
    assert (read_image(first, 1).values == read_image(second, 1).values).all()
    [labels] = write_prediction(Echo().predict(second), folder / "out", stem="b")
    assert (np.asarray(nib.load(labels).dataobj) == values[:, ::-1].transpose(2, 0, 1)).all()


@report(
    "wasserth/TotalSegmentator", 31, "masks written with another origin and spacing than the CT"
)
def same_header(folder: Path) -> None:
    affine = np.diag([1.0, 0.9984, 0.999, 1.0])
    affine[:3, 3] = (0.0, -318.0, 0.0)
    file = nifti(folder / "ct.nii.gz", MASK.astype(np.int16), affine)
    [labels] = write_prediction(Echo().predict(file), folder / "out", stem="ct")
    np.testing.assert_array_equal(nib.load(labels).affine, nib.load(file).affine)


@report("TorchIO-project/torchio", 987, "origins of image and label that differ by 0.0003 mm")
def nearly_the_same_origin(folder: Path) -> None:
    affine = GRID.affine.copy()
    affine[:3, 3] += (3.1e-4, 1.3e-5, 0)
    assert (mask_on_image(folder, MASK, affine) == MASK).all()


@report("TorchIO-project/torchio", 381, "a sagittal affine that float32 and a quaternion round")
def rounded_affine(folder: Path) -> None:
    affine = np.array([
        [4.27109375e-14, -8.71264808e-03, 9.99876633e-01, -3.39850907e01],
        [-5.54687500e-01, -2.71630469e-12, 8.75148028e-17, 1.62282930e02],
        [2.71575000e-12, -5.54619070e-01, -1.57073092e-02, 2.28515784e02],
        [0, 0, 0, 1],
    ])  # fmt: skip
    image = nifti(folder / "image.nii.gz", MASK.astype(np.int16), affine)
    header = nib.load(image).header
    header.set_sform(None, code=0)  # what is left is the quaternion
    mask = nib.Nifti1Image(MASK, header.get_qform(), header)
    nib.save(mask, folder / "mask.nii.gz")
    found = read_volume_mask(folder / "mask.nii.gz", read_grid(image), image)
    assert (found == MASK).all()


@report("InsightSoftwareConsortium/ITK", 3994, "directions that are orthonormal only nearly")
def nearly_orthonormal(folder: Path) -> None:
    affine = GRID.affine.copy()
    affine[0, 1], affine[2, 0] = 2e-4, -3e-4
    file = nifti(folder / "a.nii.gz", MASK.astype(np.int16), affine)
    [labels] = write_prediction(Echo().predict(file), folder / "out", stem="a")
    np.testing.assert_allclose(nib.load(labels).affine, affine, atol=1e-6)
    assert (np.asarray(nib.load(labels).dataobj) == MASK).all()


@report("TorchIO-project/torchio", 220, "an atlas with labels such as 0.9882 and 2.0235")
def fractions(folder: Path) -> str:
    values = np.resize(np.array([0, 0.9882, 2.0235, 4], np.float32), GRID.shape)
    return refused(lambda: mask_on_image(folder, values, GRID.affine), "fractions such as")


@report("nipreps/petprep", 152, "labels of 7014.9999 cut to 7014")
def labels_just_below(folder: Path) -> None:
    values = np.resize(np.array([0, 7000.0002, 7014.9999]), GRID.shape)
    found = mask_on_image(folder, values, GRID.affine)
    assert sorted(np.unique(found)) == [0, 7000, 7015]


@report(
    "spinalcordtoolbox/spinalcordtoolbox", 3232, "labels that a header's slope scales to 2.9999"
)
def scaled_labels(folder: Path) -> None:
    image = nib.Nifti1Image(MASK.astype(np.float64), GRID.affine)
    image.set_data_dtype(np.int16)  # nibabel then chooses a slope, and 1.0 becomes 0.99998
    nib.save(image, folder / "mask.nii.gz")
    assert nib.load(folder / "mask.nii.gz").dataobj.slope != 1
    source = image_of(folder)
    assert (read_volume_mask(folder / "mask.nii.gz", read_grid(source), source) == MASK).all()


@report("SimpleITK/SimpleITK", 1699, "a 3-D image that is saved with a fourth axis of one")
def fourth_axis_of_one(folder: Path) -> None:
    file = nifti(folder / "a.nii.gz", MASK[..., None].astype(np.int16))
    assert (read_volume(file, 1).values[0] == MASK).all()
    assert (read_volume_mask(file, read_grid(file), file) == MASK).all()


@report("SimpleITK/SimpleITK", 1651, "a 2-D NIfTI that is turned in its plane")
def flat_nifti(folder: Path) -> None:
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("z", 20, degrees=True).as_matrix()
    file = nifti(folder / "a.nii.gz", MASK[..., 0].astype(np.int16), turned)
    [labels] = write_prediction(Echo().predict(file), folder / "out", stem="a")
    came = nib.load(labels)
    assert (np.asarray(came.dataobj).squeeze() == MASK[..., 0]).all()
    np.testing.assert_allclose(came.affine, turned, atol=1e-6)


@report("NUBagciLab/PaNSegNet", 1, "an image of 40x240x320x2 with a mask of 40x240x320")
def two_channels_of_one(folder: Path) -> str:
    file = nifti(folder / "a.nii.gz", np.stack([MASK, MASK], -1).astype(np.int16))
    return refused(lambda: read_image(file, 1), "2 channels came, but 1 are wanted")


@report("InsightSoftwareConsortium/ITK", 4595, "NIfTI in micrometres: distances a thousandfold")
def micrometres(folder: Path) -> None:
    thin = np.diag([400.0, 400.0, 400.0, 1.0])
    file = nifti(folder / "a.nii.gz", MASK, thin, xyz="micron")
    np.testing.assert_allclose(read_grid(file).spacing_mm, 0.4)


@report("BBillot/SynthSeg", 31, "Hausdorff distances in voxels where millimetres are expected")
def millimetres(folder: Path) -> None:
    truth = np.zeros((9, 9, 9), bool)
    truth[2, 2, 2] = True
    moved = np.roll(truth, 2, 0)
    assert case_metrics(moved, truth, spacing=(3.0, 1.0, 1.0))["hd95"] == 6


@report("ANTsX/ANTsPy", 514, 'NRRD with the space units "microns"')
def microns(folder: Path) -> None:
    header = {"space dimension": 3, "space directions": np.eye(3) * 0.38}
    nrrd.write(str(folder / "a.nrrd"), MASK, {**header, "space units": ["microns"] * 3})
    np.testing.assert_allclose(read_grid(folder / "a.nrrd").spacing_mm, 0.38e-3)


@report("Project-MONAI/MONAI", 3356, "NRRD voxels read in the opposite order of axes")
def nrrd_order(folder: Path) -> None:
    header = {"space": "left-posterior-superior", "space directions": np.diag([0.77, 0.77, 1.0])}
    values = np.arange(60, dtype=np.int16).reshape(GRID.shape)
    nrrd.write(str(folder / "a.nrrd"), values, {**header, "space origin": [-197.0, -371, -403]})
    came = read_volume(folder / "a.nrrd", 1)
    assert (came.values[0] == values).all()
    np.testing.assert_allclose(came.grid.affine[:3, 3], [197, 371, -403])


@report("Project-MONAI/MONAI", 7371, "NRRD whose axes are permuted, read as if they were not")
def nrrd_permuted(folder: Path) -> None:
    directions = np.array([[0, 1.0, 0], [0, 0, -2.0], [3.0, 0, 0]])
    values = np.arange(60, dtype=np.int16).reshape(GRID.shape)
    header = {"space": "left-posterior-superior", "space directions": directions}
    nrrd.write(str(folder / "a.nrrd"), values, {**header, "space origin": [0.0, 0, 0]})
    came = read_volume(folder / "a.nrrd", 1)
    assert (came.values[0] == values).all()
    place = came.grid.affine @ [4, 3, 2, 1]
    np.testing.assert_allclose(place[:3], np.diag([-1, -1, 1]) @ directions.T @ [4, 3, 2])


@report("lassoan/slicerio", 9, "a .seg.nrrd of layers, each with the label 1")
def layers_of_one_label(folder: Path) -> None:
    layers = np.stack([MASK == 1, MASK == 2]).astype(np.uint8)
    segments = [("liver", 0, 1), ("spleen", 1, 1)]
    file = write_segmentation(folder / "a.seg.nrrd", layers, segments, GRID)
    image = image_of(folder)
    wanted = np.where(MASK <= 2, MASK, 0)
    assert (read_volume_mask(file, read_grid(image), image) == wanted).all()
    assert read_class_names(file) == {1: "liver", 2: "spleen"}


@report("MRtrix3/mrtrix3", 1439, "qform and sform that differ after a registration")
def two_forms(folder: Path) -> None:
    image = nib.Nifti1Image(MASK, GRID.affine)
    image.set_qform(np.diag([1.0, 2.0, 3.0, 1.0]), code=1)
    image.set_sform(GRID.affine, code=2)
    nib.save(image, folder / "a.nii.gz")
    grid = read_grid(folder / "a.nii.gz")
    assert "the sform is used" in grid.remarks[0]
    np.testing.assert_allclose(grid.affine, GRID.affine)


@report(
    "MIC-DKFZ/nnUNet", 2937, "BraTS volumes without a spacing: 1 x 1 x 1 by default", mended=True
)
def no_size_and_no_place(folder: Path) -> None:
    """The file can be read no better; `data check` says what was assumed."""
    file = nifti(folder / "a.nii", MASK)
    content = bytearray(file.read_bytes())
    content[76 + 4 : 76 + 16] = bytes(12)  # pixdim 1 to 3
    content[252:256] = bytes(4)  # qform_code, sform_code
    file.write_bytes(content)
    grid = read_grid(file)
    assert "no qform, no sform" in grid.remarks[0] and grid.spacing_mm == (1, 1, 1)


@report(
    "Rubics-Xuan/TransBTS",
    59,
    "BraTS's enhancing tumour is 4 until 2021, and 3 since 2023",
    mended=True,
)
def brats_of_two_years(folder: Path) -> None:
    from hidiff.datasets.catalog import CATALOG

    old, new = (CATALOG[name].labels for name in ("brats", "brats2023"))
    assert old is not None and new is not None
    names = old.class_names
    assert names == new.class_names
    before = np.array([0, 1, 2, 4])
    after = np.array([0, 1, 2, 3])
    assert (old.encode_bool(before) == new.encode_bool(after)).all()


@report("pyushkevich/itksnap", 87, "a mask in the order of DICOM, the volume in that of NIfTI")
def turned_in_z(folder: Path) -> None:
    affine = GRID.affine @ np.diag([1, 1, -1.0, 1])
    affine[:3, 3] = (GRID.affine @ [0, 0, GRID.shape[2] - 1, 1])[:3]
    assert (mask_on_image(folder, MASK[..., ::-1], affine) == MASK).all()
