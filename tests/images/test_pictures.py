"""Pictures of every format are read as they were written; faults are named."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hidiff.images import DataError, read_field_of_view, read_image
from hidiff.images import read_mask as read_file_mask
from hidiff.images.picture_masks import read_picture_mask as read_mask

# Rows differ from columns, and no pixel equals another: a transpose or a flip shows.
GREY = np.arange(15, dtype=np.uint8).reshape(3, 5) * 10
COLOUR = np.stack([GREY, GREY + 1, GREY + 2], axis=-1)


def read_picture(path, channels):
    return read_image(path, channels).values[:, 0]


def read_view(path):
    geometry = read_image(path, None).geometry
    return read_field_of_view(path, geometry, path)[0]


def saved(pixels, path, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "gif"])
def test_rows_stay_rows_in_every_lossless_format(tmp_path, suffix):
    image = read_picture(saved(GREY, tmp_path / f"a.{suffix}"), channels=1)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, GREY[None])


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_colour_comes_channel_first(tmp_path, suffix):
    image = read_picture(saved(COLOUR, tmp_path / f"a.{suffix}"), channels=3)
    np.testing.assert_array_equal(image, COLOUR.transpose(2, 0, 1))


def test_jpeg_is_near_what_was_saved(tmp_path):
    flat = np.full((16, 24, 3), (200, 100, 50), dtype=np.uint8)
    image = read_picture(saved(flat, tmp_path / "a.jpg", quality=95), channels=3)
    assert image.shape == (3, 16, 24)
    assert np.abs(image - flat.transpose(2, 0, 1)).max() < 4


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_keep_their_values(tmp_path, suffix):
    deep = GREY.astype(np.uint16) * 400
    np.testing.assert_array_equal(
        read_picture(saved(deep, tmp_path / f"a.{suffix}"), channels=1), deep[None]
    )


def test_an_alpha_plane_is_dropped(tmp_path):
    opaque = np.concatenate([COLOUR, np.full((3, 5, 1), 7, np.uint8)], axis=-1)
    image = read_picture(saved(opaque, tmp_path / "a.png"), channels=3)
    np.testing.assert_array_equal(image, COLOUR.transpose(2, 0, 1))


def test_a_palette_is_expanded_in_images_and_kept_in_masks(tmp_path):
    indices = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), mode="L")
    indices = indices.convert("P")
    indices.putpalette([9, 8, 7, 200, 100, 50, 1, 2, 3])
    indices.save(tmp_path / "a.png")
    image = read_picture(tmp_path / "a.png", channels=3)
    np.testing.assert_array_equal(image[:, 0, 1], [200, 100, 50])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), [[0, 1, 2]])


def test_grey_becomes_three_channels_and_colour_luma(tmp_path):
    tripled = read_picture(saved(GREY, tmp_path / "a.png"), channels=3)
    np.testing.assert_array_equal(tripled, np.stack([GREY] * 3))
    luma = read_picture(saved(COLOUR, tmp_path / "b.png"), channels=1)
    pillows = np.asarray(Image.fromarray(COLOUR).convert("L"), dtype=np.float32)
    assert np.abs(luma[0] - pillows).max() <= 1  # Pillow rounds to 8 bits


def test_the_cameras_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned: the first row is the picture's right side
    path = saved(GREY, tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_picture(path, channels=1)[0], np.rot90(GREY, -1))
    np.testing.assert_array_equal(read_mask(path), np.rot90(GREY, -1))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_array_files_are_channel_first(tmp_path, channels):
    values = np.random.default_rng(0).normal(size=(channels, 4, 6)).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", values)
    for suffix in ("npy", "npz"):
        np.testing.assert_array_equal(read_picture(tmp_path / f"a.{suffix}", channels), values)


def test_of_an_animated_mask_the_first_frame_is_read(tmp_path):
    mask = np.zeros((4, 6), np.uint8)
    mask[1, 2] = 255
    frames = [Image.fromarray(each) for each in (mask, 255 - mask)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert Image.open(tmp_path / "a.gif").n_frames == 2
    np.testing.assert_array_equal(read_mask(tmp_path / "a.gif") > 0, mask > 0)


def test_a_gif_whose_white_is_index_0_is_not_turned_inside_out(tmp_path):
    picture = Image.fromarray((GREY <= 60).astype(np.uint8)).convert("P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.save(tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as stored:
        assert stored.mode == "P" and np.asarray(stored)[0, 0] == 1
    np.testing.assert_array_equal(read_mask(tmp_path / "a.gif") > 0, GREY > 60)
    np.testing.assert_array_equal(read_view(tmp_path / "a.gif"), GREY > 60)


def test_a_mask_of_1_bit_is_0_and_1(tmp_path):
    bits = GREY > 60
    read = read_mask(saved(bits, tmp_path / "a.png"))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, bits)


def test_a_colour_mask_with_equal_channels_is_grey(tmp_path):
    path = saved(np.stack([GREY] * 3, axis=-1), tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(path), GREY)


def test_a_colour_mask_with_different_channels_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.png is a mask in colour.*Save it as grey"):
        read_mask(saved(COLOUR, tmp_path / "a.png"))


@pytest.mark.parametrize("top", [1, 255])
def test_a_field_of_view_of_0_1_and_of_0_255_are_the_same(tmp_path, top):
    bits = (GREY > 60).astype(np.uint8)
    read = read_view(saved(bits * top, tmp_path / "a.png"))
    np.testing.assert_array_equal(read, bits)


def test_a_jpeg_field_of_view_is_cut_at_half(tmp_path):
    disc = np.zeros((32, 32), np.uint8)
    disc[6:25, 6:25] = 255
    path = saved(disc, tmp_path / "a.jpg", quality=60)
    assert len(np.unique(read_mask(path))) > 2
    np.testing.assert_array_equal(read_view(path), disc > 0)


def test_an_empty_field_of_view_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.png marks no pixel"):
        read_view(saved(GREY * 0, tmp_path / "a.png"))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "gif", "bmp", "npy", "npz"])
def test_a_file_cut_off_is_named(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, noise)
    elif suffix == "npz":
        np.savez(path, noise)
    else:
        saved(noise, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in (lambda: read_picture(path, 1), lambda: read_mask(path)):
        with pytest.raises(DataError, match=rf"a\.{suffix} cannot be read.*Copy|Save it again"):
            read()


@given(st.binary(max_size=200), st.sampled_from(["png", "tif", "gif", "npy", "npz"]))
def test_no_bytes_whatever_raise_anything_else(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("junk") / f"a.{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\."):
        read_picture(path, 1)


def test_python_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="never unpickled"):
        read_picture(tmp_path / "a.npy", 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(tmp_path, bad):
    np.save(tmp_path / "a.npy", np.array([[1, bad], [0, 1]]))
    for read in (
        lambda: read_picture(tmp_path / "a.npy", 1),
        lambda: read_mask(tmp_path / "a.npy"),
    ):
        with pytest.raises(DataError, match=r"a\.npy has 1 values that are NaN or infinite"):
            read()


def test_the_wrong_number_of_channels_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 6)))
    with pytest.raises(DataError, match=r"a\.npy has 4 channels, but 3 are wanted"):
        read_picture(tmp_path / "a.npy", 3)


def test_pages_are_refused(tmp_path):
    pages = [Image.fromarray(GREY) for _ in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=r"a\.tif holds 3 pages"):
        read_picture(tmp_path / "a.tif", 1)


def test_two_arrays_in_a_file_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", image=GREY, other=GREY)
    with pytest.raises(DataError, match=r"image, other, but one is wanted"):
        read_picture(tmp_path / "a.npz", 1)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png is not there"):
        read_mask(tmp_path / "gone.png")


def test_a_mask_that_exif_does_not_turn_as_its_image_is_refused_with_the_reason(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = saved(GREY, tmp_path / "a.png", exif=exif)
    mask = saved(GREY, tmp_path / "m.png")
    geometry = read_image(image, None).geometry
    with pytest.raises(DataError, match=r"m\.png is 3x5.*is 5x3.*camera's orientation \(EXIF\)"):
        read_file_mask(mask, geometry, image)
    turned = saved(GREY, tmp_path / "t.png", exif=exif)
    np.testing.assert_array_equal(read_file_mask(turned, geometry, image)[0], np.rot90(GREY, -1))
    other = saved(GREY[:2], tmp_path / "o.png", exif=exif)
    with pytest.raises(DataError, match=r"resize one\.$"):
        read_file_mask(other, geometry, image)


def quarters(pixels, orientation):
    """Return pixels as EXIF's and TIFF's orientation means them."""
    turned = pixels.T if orientation > 4 else pixels
    flips = {2: "h", 3: "hv", 4: "v", 6: "h", 7: "hv", 8: "v"}.get(orientation, "")
    turned = turned[:, ::-1] if "h" in flips else turned
    return turned[::-1] if "v" in flips else turned


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_is_turned_as_its_header_says(tmp_path, orientation, compression, dtype):
    """Pillow itself garbles one that is not compressed and turned by a quarter."""
    pixels = GREY.astype(dtype) * dtype(1 if dtype == np.uint8 else 300)
    file = saved(pixels, tmp_path / "a.tif", tiffinfo={274: orientation}, compression=compression)
    wanted = quarters(pixels, orientation)
    np.testing.assert_array_equal(read_picture(file, 1)[0], wanted)
    np.testing.assert_array_equal(read_mask(file), wanted)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_camera_says(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(GREY, tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_picture(file, 1)[0], quarters(GREY, orientation))


def write_tiff(path, content, bits, photometric, sample_format=1):
    """Write 3 rows of 5 numbers, uncompressed."""
    tags = [
        (256, 3, 1, 5), (257, 3, 1, 3), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, photometric),
        (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 3), (279, 4, 1, len(content)),
        (339, 3, 1, sample_format),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<I", 8 + len(content))
    path.write_bytes(head + content + directory + bytes(4))
    return path


def packed(numbers, bits):
    text = "".join(
        "".join(f"{number:0{bits}b}" for number in row).ljust(-(-5 * bits // 8) * 8, "0")
        for row in numbers.tolist()
    )
    return int(text, 2).to_bytes(len(text) // 8, "big")


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16, 32])
def test_a_tiffs_numbers_are_its_brightness_at_any_depth(tmp_path, bits, white_is_zero):
    largest = 2**bits - 1
    numbers = np.random.default_rng(0).integers(0, largest, (3, 5), endpoint=True)
    numbers.flat[:2] = 0, largest
    stored = largest - numbers if white_is_zero else numbers
    deep = bits >= 16
    content = stored.astype(f"<u{bits // 8}").tobytes() if deep else packed(stored, bits)
    file = write_tiff(tmp_path / "a.tif", content, bits, 0 if white_is_zero else 1)
    if white_is_zero and bits in (12, 32):
        with pytest.raises(DataError, match="begins like none that Pillow knows"):
            read_mask(file)
        return
    np.testing.assert_array_equal(read_mask(file).astype(np.int64), numbers)


def test_floats_of_which_0_is_white_are_refused(tmp_path):
    content = np.linspace(0, 1, 15, dtype="<f4").tobytes()
    file = write_tiff(tmp_path / "a.tif", content, 32, 0, sample_format=3)
    with pytest.raises(DataError, match=r"0 is white .* nobody knows which number is black"):
        read_picture(file, 1)


def test_signed_tiffs_keep_their_sign(tmp_path):
    numbers = np.arange(15).reshape(3, 5) - 7
    for bits in (16, 32):
        content = numbers.astype(f"<i{bits // 8}").tobytes()
        file = write_tiff(tmp_path / "a.tif", content, bits, 1, sample_format=2)
        np.testing.assert_array_equal(read_mask(file), numbers)


@pytest.mark.parametrize(
    ("first", "second"), [((255, 255, 255), (0, 0, 0)), ((0, 0, 0), (9, 9, 9))]
)
def test_a_palette_of_greys_that_begins_with_white_is_read_as_greys(tmp_path, first, second):
    """Write a PNG as programs do that make PNGs smaller."""
    image = Image.fromarray(GREY % 2)
    image.putpalette([*first, *second])
    image.save(tmp_path / "a.png")
    wanted = 255 * (1 - GREY % 2) if first[0] else GREY % 2
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), wanted)
