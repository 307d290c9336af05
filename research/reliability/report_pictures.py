"""Public reports on pictures, their masks, names, splits and metrics, rebuilt as small inputs."""

from pathlib import Path

import numpy as np
from PIL import Image
from report_table import REFUSED, refused, report

from hidiff.cli.data import look_at
from hidiff.datasets.channels import join_channels
from hidiff.datasets.patients import propose_patients
from hidiff.images import read_geometry, read_image, read_mask
from hidiff.images.mask_values import picture_traits
from hidiff.labels import Labels
from hidiff.metrics import case_metrics

BITS = np.zeros((10, 14), np.uint8)
BITS[2:6, 3:9] = 1
NOISE = np.random.default_rng(0).integers(0, 255, (10, 14), np.uint8)
ONE = Labels(kind="one_class", classes={"object": (1,)})


def save(pixels: np.ndarray, file: Path, **options: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **options)
    return file


def mask_of(file: Path) -> np.ndarray:
    return read_mask(file, read_geometry(file), file)[0]


def planes_of(labels: Labels, file: Path) -> np.ndarray:
    return labels.encode_bool(mask_of(file), lossy=picture_traits(file).lossy)


def folder_of(root: Path, images: dict[str, np.ndarray], masks: dict[str, np.ndarray]) -> Path:
    """Write a data folder: images/ and masks/ with files of these names."""
    for part, files in (("images", images), ("masks", masks)):
        for name, pixels in files.items():
            save(pixels, root / part / name)
    return root


def levels(folder: Path, changes: tuple[str, ...] = ()) -> dict[str, str]:
    """Return what `hidiff data check` finds: text -> level."""
    return {each.text: each.level for each in look_at(folder, list(changes)).findings}


@report("milesial/Pytorch-UNet", 84, "masks 0/255 as PNG and 0/1 as GIF gave a Dice of 1.97")
def white_is_one(folder: Path) -> None:
    for file in (folder / "a.png", folder / "a.gif", folder / "a.tif"):
        for white in (1, 255):
            assert (planes_of(ONE, save(BITS * np.uint8(white), file))[0] == BITS).all()


@report("qubvel-org/segmentation_models.pytorch", 234, "a mask saved in RGB, IoU of -1.2")
def grey_in_three_channels(folder: Path) -> None:
    file = save(np.dstack([BITS * 255] * 3).astype(np.uint8), folder / "a.png")
    assert (planes_of(ONE, file)[0] == BITS).all()


@report("MIC-DKFZ/nnUNet", 1777, "PNG labels 0/255 where 0/1 are declared")
def declared_as_one(folder: Path) -> None:
    assert (planes_of(ONE, save(BITS * np.uint8(255), folder / "59.png"))[0] == BITS).all()


@report("MIC-DKFZ/nnUNet", 2404, "DRIVE's masks resized with smoothing: 256 grey values")
def smoothed_masks(folder: Path) -> str:
    shape = (80, 112)
    smooth = np.asarray(
        Image.fromarray(BITS * np.uint8(255)).resize(shape, Image.Resampling.BICUBIC)
    )
    file = save(smooth, folder / "a.png")
    cut = Labels(kind="one_class", classes={"vessel": (255,)}, threshold=127)
    assert (planes_of(cut, file)[0] == (smooth > 127)).all()
    plain = Labels(kind="one_class", classes={"vessel": (255,)})
    return refused(lambda: planes_of(plain, file), "labels.threshold")


@report("commaai/comma10k", 69, "masks of five classes drawn with anti-aliasing")
def smoothed_classes(folder: Path) -> str:
    labels = Labels(kind="exclusive", classes={"road": (41,), "sky": (124,), "car": (234,)})
    drawn = np.kron(np.array([[0, 41], [124, 234]], np.uint8), np.ones((8, 8), np.uint8))
    smooth = Image.fromarray(drawn).resize((9, 9), Image.Resampling.BILINEAR)
    file = save(np.asarray(smooth), folder / "a.png")
    return refused(lambda: planes_of(labels, file), "are declared")


@report("MIC-DKFZ/nnUNet", 1757, "classes 1 to 5, 100, 200 and 201, which are not in a row")
def classes_with_gaps(folder: Path) -> None:
    values = (1, 2, 3, 4, 5, 100, 200, 201)
    mask = np.resize(np.array([0, *values], np.uint8), (10, 14))
    labels = Labels(kind="exclusive", classes={f"c{value}": (value,) for value in values})
    planes = labels.encode_bool(mask_of(save(mask, folder / "a.png")))
    assert (labels.to_file(planes.argmax(0)) == mask).all()


@report("Project-MONAI/MONAI", 3243, "pictures read with rows and columns exchanged")
def rows_stay_rows(folder: Path) -> None:
    read = read_image(save(NOISE, folder / "a.png"), 1).values
    assert read.shape == (1, 1, 10, 14) and (read[0, 0] == NOISE).all()


@report("Project-MONAI/MONAI", 970, "grey pictures, some of them saved as RGBA")
def grey_as_rgba(folder: Path) -> None:
    rgba = np.dstack([NOISE] * 3 + [np.full_like(NOISE, 255)])
    read = read_image(save(rgba, folder / "a.png"), 1).values
    assert np.abs(read[0, 0] - NOISE).max() < 1e-3


@report("python-pillow/Pillow", 3011, "grey of 16 bits cut to 8 when converted")
def sixteen_bits(folder: Path) -> None:
    deep = NOISE.astype(np.uint16) * 257
    for name in ("a.png", "a.tif"):
        assert (read_image(save(deep, folder / name), 1).values[0, 0] == deep).all()


@report("imageio/imageio", 1049, "a PNG of 12 bits (chunk sBIT) scaled to 16 when read")
def significant_bits(folder: Path) -> None:
    import struct
    import zlib

    file = save(NOISE.astype(np.uint16), folder / "a.png")
    content = file.read_bytes()
    chunk = b"sBIT" + bytes([12])
    chunk = struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk))
    file.write_bytes(content[:33] + chunk + content[33:])  # after the header
    assert (read_image(file, 1).values[0, 0] == NOISE).all()


@report("ryouchinsa/Rectlabel-support", 167, "a camera's orientation, masks drawn on it upright")
def camera_orientation(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    image = save(NOISE, folder / "a.png", exif=exif)
    assert (read_image(image, 1).values[0, 0] == np.rot90(NOISE, -1)).all()
    upright = save(np.rot90(BITS, -1), folder / "m.png")
    found = read_mask(upright, read_geometry(image), image)[0]
    assert (found == np.rot90(BITS, -1)).all()


@report(
    "Peterande/D-FINE",
    308,
    "a camera's orientation, masks drawn on the sensor's pixels",
    mended=True,
)
def sensor_orientation(folder: Path) -> str:
    """A square picture is the dangerous one: no size tells that the mask lies another way up."""
    exif = Image.Exif()
    exif[0x0112] = 6
    square = np.random.default_rng(0).integers(0, 255, (12, 12), np.uint8)
    for number in range(8):
        name = f"{number}.png"
        save(np.roll(square, number), folder / "images" / name, exif=exif)
        save(np.roll(square, number) > 99, folder / "masks" / name)
    found = [text for text, level in levels(folder).items() if level == "warning"]
    assert any("orientation" in text for text in found), found
    return "right"


@report("MIC-DKFZ/nnUNet", 820, "images CASE_0000 whose masks are called CASE")
def number_of_the_only_channel(folder: Path) -> None:
    images = {name: folder / f"{name}.png" for name in ("MI_01_0000", "MI_02_0000")}
    joined = join_channels(images, {"MI_01": 0, "MI_02": 0})
    assert joined == {"MI_01": images["MI_01_0000"], "MI_02": images["MI_02_0000"]}


@report("MIC-DKFZ/nnUNet", 2187, "channels called CASE.0000 and CASE.0001, with a dot")
def channels_with_a_dot(folder: Path) -> str:
    """Two channels of a case are never taken for two patients without a word."""
    images = {f"x.{number:04d}.png": np.roll(NOISE, number) for number in range(2)}
    root = folder_of(folder, images, {"x.png": BITS})
    stops = [text for text, level in levels(root).items() if level == "stop"]
    assert any("no partner" in text for text in stops), stops
    return REFUSED


@report("frankkramer-lab/MIScnn", 34, "slices of one patient in training and validation")
def slices_of_patients(folder: Path) -> None:
    names = [f"case{case:02}_slice{slice:03}" for case in range(5) for slice in range(4)]
    patients = propose_patients(names)
    assert patients is not None and patients.count == 5


@report(
    "MIC-DKFZ/nnUNet",
    1871,
    "time points of one patient, 0800 to 0802, in several splits",
    mended=True,
)
def patients_in_digits(folder: Path) -> None:
    names = [f"genius_{patient:02}{time:02}" for patient in range(8, 14) for time in range(3)]
    patients = propose_patients(names)
    assert patients is not None and patients.count == 6
    assert patients.patient_of("genius_0802") == patients.patient_of("genius_0800")


@report("MIC-DKFZ/nnUNet", 1007, "images in the place of masks: values from -1024 up")
def images_as_masks(folder: Path) -> str:
    labels = Labels(kind="exclusive", classes={"bone": (1,), "disc": (2,)})
    values = np.arange(-1024, -1024 + 140, dtype=np.int32).reshape(10, 14)
    np.save(folder / "a.npy", values)
    return refused(lambda: planes_of(labels, folder / "a.npy"), "are declared")


@report("Project-MONAI/MONAI", 4052, "an empty truth with a prediction left out of the mean Dice")
def empty_truth_counts(folder: Path) -> None:
    nothing = np.zeros_like(BITS, bool)
    assert case_metrics(BITS > 0, nothing)["dice"] == 0
    assert case_metrics(nothing, nothing)["dice"] == 1


@report("Project-MONAI/MONAI", 9095, "HD95 of a missed structure is NaN, and drops out of the mean")
def missed_structure_counts(folder: Path) -> None:
    nothing = np.zeros_like(BITS, bool)
    assert case_metrics(nothing, BITS > 0)["hd95"] == np.hypot(10, 14)
