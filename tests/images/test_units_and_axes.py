"""Units of length, the axes of masks and channels, NaN, films, and segmentations of 3D Slicer."""

from itertools import permutations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hidiff.images import (
    DataError,
    Grid,
    image_stem,
    read_class_names,
    read_geometry,
    read_image,
    read_mask,
)
from hidiff.images.alignment import compare_axes
from hidiff.images.grid import turn_axes
from hidiff.images.units import MILLIMETRES, read_unit
from hidiff.prediction.writers import write_prediction
from tests.images.test_metaimage import write as write_metaimage
from tests.volumes import (
    Echo,
    grids,
    make_grid,
    make_mask,
    read_grid,
    read_volume,
    read_volume_mask,
    write_nifti,
)

nrrd = pytest.importorskip("nrrd", reason="the extra formats is not installed")

GRID = make_grid(4, 3, 2)
FORMATS = ("nifti", "nrrd", "nrrd spacings", "metaimage")
# unit -> how each format spells it
SPELLED = {
    1000.0: {"nifti": 1, "nrrd": "m"},
    10.0: {"nrrd": "cm", "metaimage": "cm"},
    1.0: {"nifti": 2, "nrrd": "mm", "metaimage": "mm"},
    0.001: {"nifti": 3, "nrrd": "um", "metaimage": "um"},
}


def write_in(folder, format, values, grid, factor, name="a"):
    """Write a volume whose header gives the places of `grid` in units of `factor` mm."""
    scaled = Grid(grid.shape, np.diag([1 / factor] * 3 + [1.0]) @ grid.affine)
    word = SPELLED[factor].get(format.split()[0])
    if word is None:
        return None
    if format == "nifti":
        image = nib.Nifti1Image(values, scaled.affine)
        image.header["xyzt_units"] = word
        nib.save(image, folder / f"{name}.nii.gz")
        return folder / f"{name}.nii.gz"
    if format == "metaimage":
        write_metaimage(folder / f"{name}.mha", values.astype(np.int16), scaled, DistanceUnits=word)
        file = folder / f"{name}.mha"  # the data's key must come last
        head, data = file.read_bytes().split(b"ElementDataFile = LOCAL\n", 1)
        line, data = data.split(b"\n", 1)
        file.write_bytes(head + line + b"\nElementDataFile = LOCAL\n" + data)
        return file
    header = {"space units": [word] * 3, "space": "right-anterior-superior"}
    header |= {"space directions": scaled.affine[:3, :3].T, "space origin": scaled.affine[:3, 3]}
    if format == "nrrd spacings":
        header = {"spacings": scaled.spacing_mm, "units": [word] * 3}
    nrrd.write(str(folder / f"{name}.nrrd"), values, header)
    return folder / f"{name}.nrrd"


@settings(max_examples=25, deadline=None)
@given(grid=grids(), factor=st.sampled_from(sorted(SPELLED)), format=st.sampled_from(FORMATS))
def test_lengths_are_in_millimetres_whatever_the_header_says(
    tmp_path_factory, grid, factor, format
):
    folder = tmp_path_factory.mktemp("units")
    file = write_in(folder, format, make_mask(grid), grid, factor)
    if file is None:
        return
    came = read_grid(file)
    if format == "nrrd spacings":
        np.testing.assert_allclose(came.spacing_mm, grid.spacing_mm, rtol=1e-6)
    else:
        np.testing.assert_allclose(came.affine, grid.affine, rtol=1e-5, atol=1e-4)
    assert any("lengths" in remark for remark in came.remarks) == (factor != 1)


@pytest.mark.parametrize("factor", [1000.0, 1.0, 0.001])
def test_what_is_written_keeps_the_unit_of_the_header(tmp_path, factor):
    mask = make_mask(GRID)
    file = write_in(tmp_path, "nifti", mask, GRID, factor)
    [path] = write_prediction(Echo().predict(file), tmp_path / "out")
    ours, theirs = nib.load(path), nib.load(file)
    assert ours.header["xyzt_units"] == theirs.header["xyzt_units"]
    np.testing.assert_array_equal(ours.affine, theirs.affine)
    np.testing.assert_array_equal(np.asarray(ours.dataobj), mask)


def test_unknown_units_are_read_as_millimetres_and_said():
    assert read_unit("parsec") == (
        1.0,
        ("the header gives lengths in 'parsec', which are read as mm",),
    )
    assert read_unit("?") == read_unit("") == (1.0, ())
    assert MILLIMETRES["um"] == 0.001


def test_a_mask_without_the_images_unit_is_refused_with_the_unit(tmp_path):
    image = write_in(tmp_path, "nifti", make_mask(GRID), GRID, 0.001)
    mask = write_nifti(
        tmp_path / "mask.nii.gz", make_mask(GRID), Grid(GRID.shape, GRID.affine * 1e3)
    )
    with pytest.raises(DataError, match=r"lengths in um, which are read as 0\.001 mm"):
        read_volume_mask(mask, read_grid(image), image)


turns = st.tuples(
    st.sampled_from(list(permutations(range(3)))), st.tuples(*[st.sampled_from([1, -1])] * 3)
)


def turn(values, grid, order, signs):
    """Return a volume with its axes in another order and direction: the same voxels."""
    ornt = np.column_stack([order, signs])
    affine = grid.affine @ nib.orientations.inv_ornt_aff(ornt, grid.shape)
    turned = nib.orientations.apply_orientation(values, ornt)
    return turned, Grid(turned.shape, affine)


@settings(max_examples=40, deadline=None)
@given(grid=grids(), turned=turns, plane=st.sampled_from(["axial", "coronal", "sagittal"]))
def test_the_axes_of_masks_and_channels_may_be_turned(tmp_path_factory, grid, turned, plane):
    folder = tmp_path_factory.mktemp("axes")
    mask = make_mask(grid)
    image = write_nifti(folder / "image.nii.gz", mask, grid)
    other = write_nifti(folder / "mask.nii.gz", *turn(mask, grid, *turned))
    came = read_volume_mask(other, read_grid(image), image)
    np.testing.assert_array_equal(came, mask)
    both = read_image((image, other), 2, plane)
    np.testing.assert_array_equal(both.values[0], both.values[1])
    straight = turned == ((0, 1, 2), (1, 1, 1))
    said = compare_axes(read_grid(other), read_grid(image))
    assert bool(said) != straight or max(grid.shape) == 1


def test_turning_is_a_view_and_leaves_the_other_grid_alone():
    values = np.zeros((4, 3, 2), np.int8)
    turned, grid = turn_axes(values, GRID, Grid(GRID.shape, GRID.affine @ np.diag([-1, 1, 1, 1])))
    assert turned.base is values or turned.base.base is values
    assert GRID.axes == "LAS" and grid.axes == "RAS"


def test_turned_and_shifted_masks_are_refused_with_their_axes(tmp_path):
    mask = make_mask(GRID)
    values, grid = turn(mask, GRID, (1, 0, 2), (1, -1, 1))
    affine = grid.affine.copy()
    affine[0, 3] += 1
    file = write_nifti(tmp_path / "mask.nii.gz", values, Grid(grid.shape, affine))
    with pytest.raises(DataError, match=r"up to 0\.5 voxels apart \(axes \w{3} against LAS\)"):
        read_volume_mask(file, GRID, "image.nii.gz")


def test_a_sheared_affine_is_refused_with_digits_that_differ(tmp_path):
    grid = Grid((100, 100, 20), np.diag([-1.0, 1.0, 2.0, 1.0]))
    affine = grid.affine.copy()
    affine[0, 1] = 1e-3
    file = write_nifti(
        tmp_path / "mask.nii.gz", np.zeros(grid.shape, np.uint8), Grid(grid.shape, affine)
    )
    with pytest.raises(DataError) as caught:
        read_volume_mask(file, grid, "image.nii.gz")
    text = str(caught.value)
    assert "voxels are up to 0.1 voxels apart" in text and "directions" in text
    left, right = text.split("directions (")[1].split(") against (")
    assert left != right.split(")")[0] and "0.001" in left


@pytest.mark.parametrize("lowest", [-1000.0, 5.0])
def test_nan_becomes_background_where_the_recipe_says_so(tmp_path, lowest):
    values = np.arange(24, dtype=np.float32).reshape(GRID.shape) + np.float32(lowest)
    values[0, 0] = np.nan
    file = write_nifti(tmp_path / "a.nii.gz", values, GRID)
    with pytest.raises(DataError, match=r"2 voxels that are NaN.*set data\.nan: background"):
        read_image(file, 1)
    came = read_image(file, 1, nan="background")
    wanted = np.where(np.isnan(values), min(lowest + 2, 0), values)
    np.testing.assert_array_equal(came.geometry.native(came.values[0]), wanted)


def test_infinite_voxels_and_masks_are_refused_all_the_same(tmp_path):
    values = np.full(GRID.shape, np.inf, np.float32)
    file = write_nifti(tmp_path / "a.nii.gz", values, GRID)
    with pytest.raises(DataError, match="NaN or infinite") as caught:
        read_image(file, 1, nan="background")
    assert "data.nan" not in str(caught.value)
    values[:] = np.nan
    write_nifti(file, values, GRID)
    with pytest.raises(DataError, match="NaN or infinite") as caught:
        read_volume_mask(file, GRID, "image.nii.gz")
    assert "data.nan" not in str(caught.value)


def write_film(path, frames=3, unit="sec", grid=GRID):
    values = np.stack([make_mask(grid, seed=frame) for frame in range(frames)], axis=-1)
    image = nib.Nifti1Image(values, grid.affine)
    image.header.set_xyzt_units("mm", unit)
    image.header.set_zooms((*grid.spacing_mm, 0.04))
    nib.save(image, path)
    return values


@settings(max_examples=8, deadline=None)
@given(grid=grids())
def test_each_frame_of_a_film_is_predicted_and_written_back(tmp_path_factory, grid):
    folder = tmp_path_factory.mktemp("film")
    values = write_film(folder / "cine.nii.gz", grid=grid)
    with pytest.warns(UserWarning, match="a film of 3 frames"):
        prediction = Echo().predict(folder / "cine.nii.gz")
    [path] = write_prediction(prediction, folder / "out")
    came = nib.load(path)
    np.testing.assert_array_equal(np.asarray(came.dataobj), values)
    assert came.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(came.header.get_zooms()[3], 0.04)
    title = prediction.geometry.slice_title("cine", prediction.geometry.frame_depth)
    assert title.startswith("cine, frame 2 of 3, slice 1 of")


def test_channels_are_no_frames(tmp_path):
    write_film(tmp_path / "a.nii.gz", unit=0)
    with pytest.raises(DataError, match="3 channels came, but 1 are wanted"):
        read_image(tmp_path / "a.nii.gz", 1)
    write_film(tmp_path / "b.nii.gz")
    assert read_image(tmp_path / "b.nii.gz", 3).values.shape[0] == 3


def test_a_film_has_no_mask(tmp_path):
    write_film(tmp_path / "a.nii.gz")
    with pytest.warns(UserWarning, match="film"):
        film = read_image(tmp_path / "a.nii.gz", 1)
    with pytest.raises(DataError, match="a film of 3 frames: each is predicted by itself"):
        read_mask(tmp_path / "a.nii.gz", film.geometry, tmp_path / "a.nii.gz")


def write_segmentation(path, layers, segments, grid):
    """Write a segmentation as 3D Slicer does: an axis of layers, LPS, a few keys a segment."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine
    directions = affine[:3, :3].T
    if layers.ndim == 4:
        directions = np.concatenate([np.full((1, 3), np.nan), directions])
    header = {"space": "left-posterior-superior", "space directions": directions}
    header["space origin"] = affine[:3, 3]
    header["kinds"] = ["list"] * (layers.ndim - 3) + ["domain"] * 3
    for number, (name, layer, value) in enumerate(segments):
        header |= {
            f"Segment{number}_ID": f"Segment_{number + 1}",
            f"Segment{number}_Name": name,
            f"Segment{number}_Layer": str(layer),
            f"Segment{number}_LabelValue": str(value),
        }
    nrrd.write(str(path), layers, header)
    return path


@settings(max_examples=15, deadline=None)
@given(grid=grids(), turned=turns, seed=st.integers(0, 99), cut=st.booleans())
def test_segments_of_slicer_are_labels_in_place(tmp_path_factory, grid, turned, seed, cut):
    """Try one layer or one each, with turned axes, and cut to the box around the segments."""
    folder = tmp_path_factory.mktemp("slicer")
    mask = np.random.default_rng(seed).integers(0, 3, grid.shape).astype(np.uint8)
    box, lies = mask, grid
    if cut:
        mask[0] = 0
        start = min(1, grid.shape[0] - 1)
        shift = np.eye(4)
        shift[0, 3] = start
        box = mask[start:]
        lies = Grid(box.shape, grid.affine @ shift)
    image = write_nifti(folder / "a.nii.gz", mask, grid)
    values, lies = turn(box, lies, *turned)
    names = [("liver", 0, 1), ("spleen", 0, 2)]
    one = write_segmentation(folder / "a.seg.nrrd", values, names, lies)
    np.testing.assert_array_equal(read_volume_mask(one, read_grid(image), image), mask)
    layers = np.stack([values == 1, values == 2]).astype(np.uint8)
    names = [("liver", 0, 1), ("spleen", 1, 1)]
    two = write_segmentation(folder / "b.seg.nrrd", layers, names, lies)
    np.testing.assert_array_equal(read_volume_mask(two, read_grid(image), image), mask)
    assert read_class_names(one) == read_class_names(two) == {1: "liver", 2: "spleen"}
    assert image_stem(one) == "a"


def test_overlapping_segments_are_refused_by_name(tmp_path):
    layers = np.ones((2, *GRID.shape), np.uint8)
    segments = [("liver", 0, 1), ("tumour", 1, 1)]
    file = write_segmentation(tmp_path / "a.seg.nrrd", layers, segments, GRID)
    with pytest.raises(DataError, match=r"overlap \(liver and tumour\)"):
        read_volume_mask(file, GRID, "image.nii.gz")


def test_a_segmentation_that_sticks_out_of_the_image_is_refused(tmp_path):
    grid = Grid((6, 3, 2), GRID.affine)
    file = write_segmentation(
        tmp_path / "a.seg.nrrd", np.ones(grid.shape, np.uint8), [("a", 0, 1)], grid
    )
    with pytest.raises(DataError, match="6x3x2 against 4x3x2"):
        read_volume_mask(file, GRID, "image.nii.gz")


def test_two_affines_that_differ_are_said(tmp_path):
    image = nib.Nifti1Image(np.zeros(GRID.shape, np.uint8), GRID.affine)
    image.header.set_qform(GRID.affine, code=1)
    image.header.set_sform(GRID.affine, code=1)
    nib.save(image, tmp_path / "a.nii.gz")
    assert read_grid(tmp_path / "a.nii.gz").remarks == ()
    other = GRID.affine.copy()
    other[0, 3] += 1
    image.header.set_qform(other, code=1)
    nib.Nifti1Image(image.dataobj, None, image.header).to_filename(tmp_path / "b.nii.gz")
    grid = read_grid(tmp_path / "b.nii.gz")
    assert grid.remarks == ("qform and sform place the voxels differently: the sform is used",)
    np.testing.assert_allclose(grid.affine, GRID.affine)


def test_the_smallest_voxels_are_no_flat_ones(tmp_path):
    """A voxel of an electron microscope: 5 nm a side."""
    grid = Grid(GRID.shape, np.diag([5e-6, 5e-6, 5e-6, 1.0]))
    file = write_nifti(tmp_path / "a.nii.gz", np.zeros(GRID.shape, np.uint8), grid)
    np.testing.assert_allclose(read_geometry(file).spacing_mm, (5e-6,) * 3)
    assert read_volume(file, 1).values.shape == (1, 4, 3, 2)
