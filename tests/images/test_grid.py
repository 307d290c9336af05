"""Grids: the places of voxels, and slices that are cut and put back."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hidiff.images import Grid, from_slices, to_slices
from hidiff.images.grid import PLANES, same_place
from tests.volumes import grids, make_grid

DIRECTIONS = {
    "R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1),
    "I": (0, 0, -1),
}  # fmt: skip

planes = st.sampled_from(list(PLANES))


def coordinates(grid: Grid) -> np.ndarray:
    """Return the place of each voxel, in mm: (3, x, y, z)."""
    voxels = np.indices(grid.shape).reshape(3, -1)
    return (grid.affine[:3, :3] @ voxels + grid.affine[:3, 3:]).reshape(3, *grid.shape)


@given(grid=grids(), plane=planes, channels=st.integers(0, 2))
def test_slices_put_back_are_the_volume(grid, plane, channels):
    values = np.arange(max(channels, 1) * np.prod(grid.shape)).reshape(-1, *grid.shape)
    values = values if channels else values[0]
    slices = to_slices(values, grid, plane)
    assert slices.shape[-3:] == grid.slice_shape(plane)
    np.testing.assert_array_equal(from_slices(slices, grid, plane), values)


@given(grid=grids(), plane=planes)
def test_slices_rows_and_columns_go_where_the_plane_says(grid, plane):
    places = to_slices(coordinates(grid), grid, plane)
    for axis, code in enumerate(PLANES[plane], start=1):
        steps = np.diff(places, axis=axis).reshape(3, -1)
        along = np.array(DIRECTIONS[code]) @ steps
        assert (along > 0.5 * np.linalg.norm(steps, axis=0)).all()


@given(grid=grids(), plane=planes)
def test_the_spacing_of_slices_is_the_way_between_voxels(grid, plane):
    places = to_slices(coordinates(grid), grid, plane)
    for axis, spacing in enumerate(grid.slice_spacing_mm(plane), start=1):
        steps = np.linalg.norm(np.diff(places, axis=axis), axis=0)
        np.testing.assert_allclose(steps, spacing)


@given(grid=grids())
def test_the_axial_slices_are_nibabels_canonical_ones(grid):
    values = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(values.astype(np.int32), grid.affine))
    wanted = np.asarray(canonical.dataobj)[::-1, ::-1].transpose(2, 1, 0)
    np.testing.assert_array_equal(to_slices(values, grid, "axial"), wanted)


@given(grid=grids(), voxels=st.sampled_from([0.001, 0.5]))
def test_a_shift_of_half_a_voxel_is_another_place(grid, voxels):
    affine = grid.affine.copy()
    affine[:3, 3] += voxels * min(grid.spacing_mm) * np.array([1.0, 0.0, 0.0])
    assert same_place(grid, Grid(grid.shape, affine)) == (voxels < 0.01)


@pytest.mark.parametrize("turn", [np.diag([-1.0, 1.0, 1.0, 1.0]), np.eye(4)[[1, 0, 2, 3]]])
def test_turned_axes_are_another_place(turn):
    grid = make_grid(4, 4, 4)
    assert not same_place(grid, Grid(grid.shape, grid.affine @ turn))
