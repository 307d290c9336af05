"""A mask's values are those that its file was meant to hold, whatever its type and bit depth."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hidiff.images import (
    DataError,
    is_hidden,
    picture_traits,
    read_geometry,
    read_image,
    read_mask,
)
from hidiff.images.mask_values import whole_numbers
from hidiff.images.pictures import read_open_picture
from tests.volumes import make_grid, write_nifti

GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6  # PNG's colour types


def write_png(path, rows: np.ndarray, bits: int, colour: int = GREY) -> None:
    """Write samples (h, w of a channel each) of any bit depth, which Pillow cannot."""
    height, width = rows.shape[:2]
    lines = b""
    for row in rows.reshape(height, -1).tolist():
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        lines += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    colours = bytes(range(256)) * 3 if colour == PALETTE else b""
    parts = [chunk(b"IHDR", head)]
    if colours:
        parts.append(chunk(b"PLTE", colours[: 3 * 2**bits]))
    parts += [chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def read(path):
    return read_mask(path, read_geometry(path), path)[0]


@given(data=st.data(), bits=st.sampled_from([1, 2, 4, 8, 16]), palette=st.booleans())
def test_a_png_mask_holds_its_own_values_at_any_bit_depth(tmp_path_factory, data, bits, palette):
    colour = PALETTE if palette and bits <= 8 else GREY
    values = st.lists(st.integers(0, 2**bits - 1), min_size=15, max_size=15)
    mask = np.array(data.draw(values)).reshape(3, 5)
    path = tmp_path_factory.mktemp("png") / "mask.png"
    write_png(path, mask, bits, colour)
    assert read(path).tolist() == mask.tolist()


@given(
    data=st.data(),
    colour=st.sampled_from([GREY_ALPHA, COLOUR, COLOUR_ALPHA]),
    alpha=st.sampled_from([0, 1, 65535]),
)
def test_16_bits_of_grey_with_alpha_and_colour_keep_all_their_bits(
    tmp_path_factory, data, colour, alpha
):
    colours = 1 if colour == GREY_ALPHA else 3
    values = st.lists(st.integers(0, 65535), min_size=15 * colours, max_size=15 * colours)
    samples = np.array(data.draw(values)).reshape(3, 5, colours)
    path = tmp_path_factory.mktemp("png") / "image.png"
    opaque = np.full((3, 5, 1), alpha)
    stored = samples if colour == COLOUR else np.concatenate([samples, opaque], axis=-1)
    write_png(path, stored, 16, colour)
    assert read_image(path, None).values[:, 0].tolist() == samples.transpose(2, 0, 1).tolist()
    greys = np.repeat(samples[..., :1], colours, axis=-1)
    stored = greys if colour == COLOUR else np.concatenate([greys, opaque], axis=-1)
    write_png(path, stored, 16, colour)
    assert read(path).tolist() == greys[..., 0].tolist()


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_16_bits_of_colour_are_never_cut_to_8(tmp_path, name):
    """TIFFs of 16-bit colour, and pictures that Pillow has opened already, are refused."""
    path = tmp_path / name
    samples = np.full((4, 4, 3), 300)
    if name == "a.png":
        write_png(path, samples, 16, COLOUR)
        with Image.open(path) as picture, pytest.raises(DataError, match="would cut to 8"):
            read_open_picture(picture, 3)
    else:
        write_rgb_tiff(path, samples.astype("<u2"))
        with pytest.raises(
            DataError, match=r"TIFF in colour.*16 bits, which Pillow would cut to 8"
        ):
            read_image(path, None)


def write_rgb_tiff(path, samples: np.ndarray) -> None:
    """Write three channels of 16 bits, uncompressed, which Pillow cannot."""
    height, width, channels = samples.shape
    size = samples.nbytes
    bits = 8 + size
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 3, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 3, 1, height),
        (279, 4, 1, size),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<I", bits + 6)
    bits_of_each = struct.pack("<3H", 16, 16, 16)
    path.write_bytes(head + samples.tobytes() + bits_of_each + directory + bytes(4))


@given(
    mask=st.lists(st.integers(-3, 300), min_size=1, max_size=20),
    off=st.floats(-9e-4, 9e-4),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_floats_near_whole_numbers_are_them(mask, off, dtype):
    values = whole_numbers("mask.nii", (np.array(mask) + off).astype(dtype))
    assert values.dtype == np.int32
    assert values.tolist() == mask


@pytest.mark.parametrize("kind", ["volume", "array"])
def test_0_9999999_is_1_in_volumes_and_arrays(tmp_path, kind):
    mask = np.zeros((4, 5, 2), np.float32)
    mask[1, 2] = 0.9999999
    if kind == "array":
        path = tmp_path / "mask.npy"
        np.save(path, mask[..., 0])
    else:
        path = write_nifti(tmp_path / "mask.nii.gz", mask, make_grid(4, 5, 2))
    values = read_mask(path, read_geometry(path), path)
    assert values.dtype.kind == "i"
    assert np.unique(values).tolist() == [0, 1]


def test_a_fraction_is_named_with_all_its_digits():
    with pytest.raises(DataError, match=r"fractions such as 0\.995 \(1 of 2 values .* than 0\.001"):
        whole_numbers("mask.nii", np.array([0.995, 1.0]))


def test_a_picture_says_that_it_is_lossy_has_a_palette_or_alpha_with_content(tmp_path):
    grey = Image.fromarray(np.full((8, 8), 255, np.uint8))
    grey.save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.png")  # what counts is what the file holds
    assert picture_traits(tmp_path / "a.png").lossy
    grey.convert("P").save(tmp_path / "b.png")
    assert picture_traits(tmp_path / "b.png").palette
    for level, seen in ((255, False), (0, True)):
        alpha = Image.fromarray(np.full((8, 8), level, np.uint8))
        Image.merge("LA", (grey, alpha)).save(tmp_path / "c.png")
        assert picture_traits(tmp_path / "c.png").alpha is seen


@pytest.mark.parametrize("name", ["._p0_0000.nii.gz", ".DS_Store", "Thumbs.db", "desktop.ini"])
def test_hidden_and_system_files_are_known(tmp_path, name):
    assert is_hidden(tmp_path / name)
    assert not is_hidden(tmp_path / "p0_0000.nii.gz")


@pytest.mark.parametrize("colour", [0, 1, 255])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_mask_drawn_in_the_alpha_channel_alone_is_refused(tmp_path, colour, channels, bits):
    shapes = np.zeros((6, 5, 1), int)
    shapes[2:4, 1:3] = 255
    kind = GREY_ALPHA if channels == 1 else COLOUR_ALPHA
    drawn = np.concatenate([np.full((6, 5, channels), colour), shapes], axis=-1)
    write_png(tmp_path / "a.png", drawn, bits, kind)
    with pytest.raises(DataError, match=r"a\.png is a mask of one colour.*alpha channel"):
        read(tmp_path / "a.png")
    drawn[..., -1] = 255  # opaque: a mask without any object
    write_png(tmp_path / "a.png", drawn, bits, kind)
    assert (read(tmp_path / "a.png") == colour).all()
