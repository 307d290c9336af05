"""Pictures of every format are read as they were written; faults are named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hidiff.images import DataError, read_field_of_view, read_image
from hidiff.images import read_mask as read_file_mask
from hidiff.images.pictures import read_picture_mask as read_mask

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
