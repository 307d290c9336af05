"""MetaImage, as its format says and as ITK writes it."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hidiff.images import DataError
from tests.volumes import grids, make_grid, read_grid, read_volume

GRID = make_grid(4, 3, 2)
VALUES = np.random.default_rng(0).integers(0, 100, GRID.shape).astype(np.int16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("metaimage")


def write(file, values=VALUES, grid=GRID, packed=False, beside=None, **changes):
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine
    turn = affine[:3, :3] / grid.spacing_mm
    content = np.asfortranarray(values).tobytes(order="F")
    content = zlib.compress(content) if packed else content
    header = {
        "ObjectType": "Image",
        "NDims": 3,
        "CompressedData": packed,
        "TransformMatrix": " ".join(f"{x:.12g}" for x in turn.T.ravel()),
        "Offset": " ".join(f"{x:.12g}" for x in affine[:3, 3]),
        "ElementSpacing": " ".join(f"{x:.12g}" for x in grid.spacing_mm),
        "DimSize": " ".join(map(str, grid.shape)),
        "ElementType": "MET_SHORT",
        "ElementDataFile": beside or "LOCAL",
        **changes,
    }
    text = "".join(f"{key} = {value}\n" for key, value in header.items()).encode()
    file.write_bytes(text if beside else text + content)
    if beside:
        (file.parent / beside).write_bytes(content)
    return file


@given(grid=grids(), packed=st.booleans(), beside=st.booleans())
def test_voxels_and_affine_survive(folder, grid, packed, beside):
    values = np.random.default_rng(0).integers(-100, 100, grid.shape).astype(np.int16)
    file = folder / ("a.mhd" if beside else "a.mha")
    write(file, values, grid, packed, "a.raw" if beside else None)
    came = read_volume(file, 1)
    np.testing.assert_array_equal(came.values[0], values)
    np.testing.assert_allclose(came.grid.affine, grid.affine, atol=1e-6)
    np.testing.assert_array_equal(read_grid(file).affine, came.grid.affine)


def test_big_endian_numbers_are_read(folder):
    file = write(folder / "big.mha", VALUES.astype(">i2"))
    file.write_bytes(b"BinaryDataByteOrderMSB = True\n" + file.read_bytes())
    np.testing.assert_array_equal(read_volume(file, 1).values[0], VALUES)


def test_what_itk_writes_is_what_we_read(folder):
    itk = pytest.importorskip("itk", reason="ITK is not installed")
    image = itk.image_from_array(np.ascontiguousarray(VALUES.T))
    image.SetSpacing([0.5, 2.0, 3.0])
    image.SetOrigin([1.0, -2.0, 30.0])
    turn = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    image.SetDirection(itk.matrix_from_array(turn))
    itk.imwrite(image, str(folder / "itk.mha"), compression=True)
    came = read_volume(folder / "itk.mha", 1)
    np.testing.assert_array_equal(came.values[0], VALUES)
    place = np.array(image.TransformIndexToPhysicalPoint([3, 1, 1]))
    np.testing.assert_allclose(place * [-1, -1, 1], (came.grid.affine @ [3, 1, 1, 1])[:3])


BAD = {
    "another kind of file": lambda file: file.write_bytes(b"hello"),
    "has no DimSize": lambda file: file.write_text("NDims = 3\nElementType = MET_SHORT\n"),
    "holds MET_STRING": lambda file: write(file, ElementType="MET_STRING"),
    "but its header says": lambda file: write(file, DimSize="4 3 3"),
    "DimSize 4 3": lambda file: write(file, DimSize="4 3"),
    "DimSize '4 inf 2', but whole": lambda file: write(file, DimSize="4 inf 2"),
    "DimSize ''": lambda file: write(file, DimSize=""),
    "Channels 'nan', but whole": lambda file: write(file).write_bytes(
        b"ElementNumberOfChannels = nan\n" + file.read_bytes()
    ),
    "has its data in xxx": lambda file: write(file, ElementDataFile="x" * 300),
    "cannot be inverted": lambda file: write(file, ElementSpacing="1 0 1"),
    "NaN or infinite": lambda file: write(file, Offset="0 nan 0"),
    "numbers are wanted": lambda file: write(file, Offset="a b c"),
    "of another number": lambda file: write(file, Offset="1 2"),
    "unpacks to": lambda file: write(file, DimSize="40000 40000 40000"),
    "cannot be unpacked": lambda file: write(file, CompressedData="True"),
    "one file beside it is wanted": lambda file: write(file, ElementDataFile="../a.raw"),
}


@pytest.mark.parametrize("said", BAD)
def test_a_bad_file_is_refused_in_a_line_that_names_it(folder, said):
    BAD[said](folder / "bad.mha")
    with pytest.raises(DataError, match=said) as caught:
        read_volume(folder / "bad.mha", 1)
    assert "bad.mha" in str(caught.value)
