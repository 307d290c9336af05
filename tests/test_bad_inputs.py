"""Everything a user can get wrong, in one table: one clear line, exit code 2, nothing left behind.

Each row makes its input in an empty folder and gives the words of a command. What must work ends
with exit code 0. What must be refused is told in a line that holds all of `said`, and leaves
every file as it was.
"""

import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from hidiff import experiment, weights
from hidiff.cli import app
from hidiff.datasets import write_synthetic
from hidiff.images import Grid
from hidiff.recipe import make_recipe, write_recipe
from hidiff.training import Trainer, save_model
from tests.tiny import make_tiny, shake, skip_counting
from tests.volumes import write_nifti


@dataclass(frozen=True)
class Place:
    """The folders and files that a row of the table is tried with."""

    folder: Path
    model: Path
    """a model of one class and three channels, raw values 0..255"""
    deep: Path
    """the same, for any range of raw values (zscore)"""
    refiner: Path
    """a model behind another model's probabilities, of one class and one channel"""

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def data(self) -> Path:
        """A good data set of five cases, made when first asked for."""
        if not (self.folder / "data").is_dir():
            write_synthetic(self.folder / "data", num_cases=5, size=64)
        return self.folder / "data"

    def predict(self, name: str, model: Path | None = None, *more: object) -> list[object]:
        words = ["predict", model or self.model, self.folder / name, "--output", self.out]
        return [*words, "--steps", 1, *more]

    def train(self, *changes: str) -> list[object]:
        """A run of one step on `data`."""
        recipe = make_tiny(self.folder, data={"path": str(self.data)})
        short = {"stage1_steps": 1, "stage2_steps": 0}
        recipe = make_recipe({**recipe.model_dump(mode="json"), "training": short})
        write_recipe(recipe, self.folder / "recipe.yaml")
        sets = [word for change in changes for word in ("--set", change)]
        return [
            "train",
            self.folder / "recipe.yaml",
            "--output",
            self.out,
            "--device",
            "cpu",
            *sets,
        ]


@dataclass(frozen=True)
class Row:
    what: str
    make: Callable[[Place], list[object]]
    said: tuple[str, ...] = ()
    code: int = 2


VOLUME = Grid((12, 8, 2), np.diag([-0.5, 0.5, 5.0, 1.0]))  # x goes left
GREY = np.arange(70 * 80, dtype=np.uint8).reshape(70, 80)
COLOUR = np.stack([GREY, GREY.T.reshape(70, 80), 255 - GREY], axis=-1)
NOISE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)


def picture(pixels: np.ndarray, name: str = "a.png", mode: str = "", **options: object) -> Callable:
    """Predict a picture of these pixels."""

    def make(place: Place) -> list[object]:
        image = Image.fromarray(pixels)
        (image.convert(mode) if mode else image).save(place.folder / name, **options)
        return place.predict(name)

    return make


def array(values: np.ndarray, deep: bool = False) -> Callable:
    """Predict an array file of these values."""

    def make(place: Place) -> list[object]:
        np.save(place.folder / "a.npy", values)
        return place.predict("a.npy", place.deep if deep else None)

    return make


def content(data: bytes, name: str = "a.png") -> Callable:
    """Predict a file of these bytes."""

    def make(place: Place) -> list[object]:
        (place.folder / name).write_bytes(data)
        return place.predict(name)

    return make


def encoded(format: str, pixels: np.ndarray = NOISE, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def truncated(format: str, name: str) -> Callable:
    data = encoded(format)
    return content(data[: len(data) // 2], name)


def data_with(change: Callable[[Path], object], *changes: str) -> Callable:
    """Train on a data set that `change` has made worse."""

    def make(place: Place) -> list[object]:
        change(place.data)
        return place.train(*changes)

    return make


def mask(name: str, pixels: np.ndarray) -> Callable[[Path], object]:
    return lambda data: Image.fromarray(pixels).save(data / "masks" / name)


def model_with(change: Callable[[dict, dict], object]) -> Callable:
    """Predict with a checkpoint whose tensors and metadata were changed."""

    def make(place: Place) -> list[object]:
        tensors, metadata = weights.load(place.model)
        change(tensors, metadata)
        weights.save(place.folder / "m.safetensors", tensors, metadata)
        Image.fromarray(NOISE).save(place.folder / "a.png")
        return place.predict("a.png", place.folder / "m.safetensors")

    return make


def cut_model(place: Place) -> list[object]:
    (place.folder / "m.safetensors").write_bytes(place.model.read_bytes()[:-100])
    Image.fromarray(NOISE).save(place.folder / "a.png")
    return place.predict("a.png", place.folder / "m.safetensors")


def yaml(text: str) -> Callable:
    """Train by a recipe of this text."""

    def make(place: Place) -> list[object]:
        (place.folder / "recipe.yaml").write_text(text)
        return ["train", place.folder / "recipe.yaml", "--output", place.out]

    return make


def huge_png(side: int = 60000) -> bytes:
    """A PNG of so many pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


large = content(huge_png(9460))


def zip_bomb(place: Place) -> list[object]:
    """An npz of a little over 1 GiB of zeros in a few MB."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|u1", "fortran_order": False, "shape": (2**16, 2**14 + 1)}
    )
    with (
        zipfile.ZipFile(
            place.folder / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1
        ) as archive,
        archive.open("image.npy", "w", force_zip64=True) as entry,
    ):
        entry.write(head.getvalue())
        for _ in range(2**14 + 1):
            entry.write(bytes(2**16))
    return place.predict("a.npz")


def claim_too_much(place: Place) -> list[object]:
    """An npy whose head claims 1 TiB."""
    with open(place.folder / "a.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (2**20, 2**20)}
        )
        file.write(bytes(100))
    return place.predict("a.npy")


def objects(place: Place) -> list[object]:
    np.save(place.folder / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    return place.predict("a.npy")


class Trap:
    """Unpickled, it would leave a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def pickled_weights(place: Place) -> list[object]:
    torch.save({"a": Trap(place.folder / "ran")}, place.folder / "w.pt")
    return place.train(f"segmentor.weights={place.folder / 'w.pt'}")


def out_of_the_data(place: Place) -> list[object]:
    os.environ["HIDIFF_DATA"] = str(place.data)
    return place.train("data.path=../other")


def taken_output(place: Place) -> list[object]:
    Image.fromarray(NOISE).save(place.folder / "a.png")
    place.out.mkdir()
    (place.out / "a_labels.png").write_text("mine")
    return place.predict("a.png")


def output_is_a_file(place: Place) -> list[object]:
    Image.fromarray(NOISE).save(place.folder / "a.png")
    place.out.write_text("mine")
    return place.predict("a.png")


def another_recipe(place: Place) -> list[object]:
    """Resume a run with a wider refiner."""
    words = place.train("refiner.width=16")
    folder = place.out / "tiny"
    tensors, metadata = weights.load(place.model)
    progress = '{"stage": "stage1", "step": 1}'
    weights.save(folder / "state.safetensors", tensors, {**metadata, "progress": progress})
    return [*words, "--resume"]


def in_two_lists(data: Path) -> None:
    (data / "test.txt").write_text((data / "train.txt").read_text())


def no_partner(data: Path) -> None:
    (data / "masks" / "case-000.png").unlink()


def leave_by_list(data: Path) -> None:
    (data / "train.txt").write_text("../../secret\n")


def list_of_bytes(data: Path) -> None:
    (data / "test.txt").write_bytes(b"case-000\n\x91\n")


def empty_folder(place: Place) -> list[object]:
    (place.folder / "empty").mkdir()
    return place.predict("empty")


def floats(values: np.ndarray) -> Callable:
    """Predict a TIFF of these floats."""

    def make(place: Place) -> list[object]:
        Image.fromarray(values.astype(np.float32)).save(place.folder / "a.tif")
        return place.predict("a.tif", place.deep)

    return make


def with_one(value: float) -> np.ndarray:
    values = NOISE[..., 0].astype(np.float32)
    values[3, 4] = value
    return values


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def palette(place: Place) -> list[object]:
    Image.fromarray(COLOUR).convert("P", palette=Image.Palette.ADAPTIVE).save(
        place.folder / "a.png"
    )
    return place.predict("a.png")


def masks_of(*tops: int) -> Callable:
    """Judge on masks of 0 and each of these, in turn."""

    def make(place: Place) -> list[object]:
        for number, file in enumerate(sorted((place.data / "masks").iterdir())):
            bits = np.asarray(Image.open(file))
            Image.fromarray((bits * tops[number % len(tops)]).astype(np.uint8)).save(file)
        words = ["evaluate", place.model, "--data", place.data, "--output", place.out]
        return [*words, "--no-report", "--steps", 1]

    return make


def odd_sizes(place: Place) -> list[object]:
    """Train on images of 1x1, 1x9 and 5000x4000."""
    for name, size in (("case-000", (1, 1)), ("case-001", (9, 1)), ("case-002", (5000, 4000))):
        Image.new("RGB", size).save(place.data / "images" / f"{name}.png")
        Image.new("L", size).save(place.data / "masks" / f"{name}.png")
    return place.train()


def deep_png(place: Place) -> list[object]:
    Image.fromarray(GREY.astype(np.uint16) * 257).save(place.folder / "a.png")
    return place.predict("a.png", place.deep)


@dataclass(frozen=True)
class Foreign:
    """Nine volumes of other people, and what their model found in them."""

    root: Path
    grid: Grid = VOLUME

    @property
    def priors(self) -> Path:
        return self.root / "priors"

    def words(self, *more: object) -> list[object]:
        words = ["adapt", self.root, "--name", "a", "--output", self.root / "out"]
        return [*words, "--recipe-only", *more]

    def write(self, name: str, values: np.ndarray, grid: Grid | None = None) -> None:
        write_nifti(self.priors / name, values, grid or self.grid)

    def write_maps(self, name: str, maps: np.ndarray) -> None:
        """Write nnU-Net's probabilities (k, x, y, z) without their segmentation."""
        np.savez(self.priors / f"{name}.npz", probabilities=maps.transpose(0, 3, 2, 1))


def foreign(change: Callable[[Foreign], list[object] | None]) -> Callable:
    """Adapt to the priors of nine volumes, one of which was changed."""

    def make(place: Place) -> list[object]:
        there = Foreign(place.folder / "theirs")
        for name in ("images", "masks", "priors"):
            (there.root / name).mkdir(parents=True)
        for number in range(9):
            mask = np.zeros(VOLUME.shape, np.uint8)
            mask[2 : 5 + number % 3, 2:6] = 1
            image = 60 * mask + np.random.default_rng(number).integers(0, 9, mask.shape)
            write_nifti(there.root / f"images/p{number}.nii.gz", image.astype(np.int16), VOLUME)
            write_nifti(there.root / f"masks/p{number}.nii.gz", mask, VOLUME)
            there.write(f"p{number}.nii.gz", np.roll(mask, 1, axis=0))
            (there.priors / "plans.json").write_text("{}")
        return change(there) or there.words()

    return make


def theirs_of_another_crop(there: Foreign) -> None:
    for number in range(9):
        there.write_maps(f"p{number}", np.full((2, 8, 8, 2), 0.5, np.float32))


def theirs_of_another_run(there: Foreign) -> None:
    for number in range(9):
        there.write_maps(f"p{number}", np.stack([np.full(VOLUME.shape, p) for p in (0.2, 0.8)]))


def theirs_alone(there: Foreign) -> None:
    theirs_of_another_run(there)
    for file in there.priors.glob("*.nii.gz"):
        file.unlink()


def theirs_pickled(there: Foreign) -> None:
    for number in range(9):
        np.savez(there.priors / f"p{number}.npz", probabilities=np.array([{}], dtype=object))


def theirs_without_plans(there: Foreign) -> None:
    maps = np.stack([np.full(VOLUME.shape, p, np.float32) for p in (0.7, 0.3)])
    maps[1, 0] = 0.2
    for number in range(9):
        there.write(f"p{number}.nii.gz", np.zeros(VOLUME.shape, np.uint8))
        there.write_maps(f"p{number}", maps)
    (there.priors / "plans.json").unlink()


def theirs_elsewhere(there: Foreign) -> None:
    moved = Grid(VOLUME.shape, VOLUME.affine + np.eye(4, k=3) * 7)
    for number in range(9):
        there.write(f"p{number}.nii.gz", np.full(VOLUME.shape, 0.3, np.float32), moved)


def theirs_of_logits(there: Foreign) -> None:
    for number in range(9):
        there.write(f"p{number}.nii.gz", np.full(VOLUME.shape, -2.5, np.float32))


def theirs_of_other_values(there: Foreign) -> None:
    for number in range(9):
        values = np.zeros(VOLUME.shape, np.uint8)
        values[3:5], values[6:7] = 5, 51
        there.write(f"p{number}.nii.gz", values)


def theirs_without_a_class(there: Foreign) -> None:
    (there.priors / "labels.json").write_text('{"liver": 1, "class_2": 3}')
    for number in range(9):
        file = there.root / f"masks/p{number}.nii.gz"
        mask = np.asarray(nib.load(file).dataobj).copy()
        mask[8:10] = 2
        write_nifti(file, mask, VOLUME)


def theirs_with_a_wrong_table(there: Foreign) -> None:
    (there.priors / "labels.json").write_text('["liver"]')


def theirs_are_the_masks(there: Foreign) -> None:
    for number in range(9):
        name = f"p{number}.nii.gz"
        shutil.copy(there.root / "masks" / name, there.priors / name)


def theirs_of_few(there: Foreign) -> None:
    for number in range(3):
        (there.priors / f"p{number}.nii.gz").unlink()


def theirs_of_two_folds(there: Foreign) -> list[object]:
    for number in range(9):
        folder = there.priors / f"fold_{number % 2}" / "validation"
        folder.mkdir(parents=True, exist_ok=True)
        (there.priors / f"p{number}.nii.gz").rename(folder / f"p{number}.nii.gz")
    both = there.priors / "fold_1" / "validation" / "p0.nii.gz"
    shutil.copy(there.priors / "fold_0" / "validation" / "p0.nii.gz", both)
    return there.words()


def theirs_cut_off(there: Foreign) -> list[object]:
    file = there.priors / "p0.nii.gz"
    file.write_bytes(file.read_bytes()[:-9])
    return there.words("--kind", "mask")


def theirs_of_too_many_channels(there: Foreign) -> None:
    for number in range(9):
        there.write(f"p{number}.nii.gz", np.full((*VOLUME.shape, 4), 0.25, np.float32))


def theirs_of_fractions(there: Foreign) -> list[object]:
    there.write("p3.nii.gz", np.full(VOLUME.shape, 0.4, np.float32))
    return there.words("--kind", "mask")


def theirs_without_a_file(there: Foreign) -> None:
    """A file per class, of another class."""
    for number in range(9):
        (there.priors / f"p{number}.nii.gz").unlink()
        (there.priors / f"p{number}").mkdir()
        there.write(f"p{number}/liver.nii.gz", np.full(VOLUME.shape, 0.3, np.float32))


def theirs_with_broken_plans(there: Foreign) -> None:
    theirs_without_plans(there)
    (there.priors / "plans.json").write_text("{")


def theirs_of_regions_without_order(there: Foreign) -> None:
    theirs_without_plans(there)
    (there.priors / "plans.json").write_text("{}")
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "whole": [1, 2], "core": [2]},
        "file_ending": ".nii.gz",
    }
    (there.priors / "dataset.json").write_text(json.dumps(content))


def theirs_of_a_wrong_pattern(there: Foreign) -> list[object]:
    return there.words("--group", "^(case[0-9]+)_")


def refined(*more: object, prior: np.ndarray | None = None) -> Callable:
    """Refine a volume's prior by a model of one class that takes probabilities."""

    def make(place: Place) -> list[object]:
        for name in ("images", "priors"):
            (place.folder / name).mkdir()
        write_nifti(place.folder / "images/v.nii.gz", np.ones(VOLUME.shape, np.int16), VOLUME)
        if prior is not None:
            write_nifti(place.folder / "priors/v.nii.gz", prior, VOLUME)
        words = ["refine", place.refiner, place.folder / "images", "--output", place.out]
        return [*words, "--prior", place.folder / "priors", "--steps", 1, *more]

    return make


def refined_by_a_whole_model(place: Place) -> list[object]:
    words = refined(prior=THIRD)(place)
    return [words[0], place.model, *words[2:]]


def refined_from_a_file(place: Place) -> list[object]:
    words = refined(prior=THIRD)(place)
    place_of_priors = words.index("--prior") + 1
    words[place_of_priors] = words[place_of_priors] / "v.nii.gz"
    return words


THIRD = np.full(VOLUME.shape, 1 / 3, np.float32)


def shared(*more: object) -> Callable:
    """Predict a picture, as one of several machines."""
    return lambda place: [*picture(NOISE)(place), *more]


def in_alpha(data: Path) -> None:
    """A mask as drawing programs save it: white, its shapes in the alpha channel."""
    shapes = np.zeros((64, 64), np.uint8)
    shapes[9:30, 9:30] = 255
    pixels = np.dstack([np.full((64, 64, 3), 255, np.uint8), shapes])
    Image.fromarray(pixels).save(data / "masks" / "case-000.png")


def in_jpeg(data: Path) -> None:
    """A mask of a class whose value JPEG changes as much as that."""
    pixels = np.zeros((64, 64), np.uint8)
    pixels[9:30, 9:30] = 3
    (data / "masks" / "case-000.png").unlink()
    Image.fromarray(pixels).save(data / "masks" / "case-000.jpg", quality=80)


WORKS = [
    Row("masks of 0/255", masks_of(255)),
    Row("masks of 0/1 and 0/255 in turn", masks_of(1, 255)),
    Row("an image of 1x1", picture(COLOUR[:1, :1])),
    Row("an image of 1xN", picture(COLOUR[:1])),
    Row("an image of Nx1", picture(COLOUR[:, :1])),
    Row("training on images of 1x1, 1x9 and 5000x4000", odd_sizes),
    Row("a 16-bit PNG", deep_png),
    Row("a grey image for an RGB model", picture(GREY)),
    Row("a palette", palette),
    Row("alpha", picture(np.dstack([COLOUR, GREY]))),
    Row("grey and alpha", picture(GREY, mode="LA")),
    Row("one bit", picture(GREY > 99)),
    Row("a CMYK JPEG", picture(COLOUR, "a.jpg", "CMYK")),
    Row("a camera's orientation", picture(COLOUR, "a.jpg", exif=turned())),
    Row("unicode and spaces in the name", picture(COLOUR, "Äuge 1 ± 目 [b] $x.png")),
    Row("an ending in capitals", picture(COLOUR, "A.PNG")),
    Row("a JPEG called png", content(encoded("JPEG"), "a.png")),
    Row("an array of c h w", array(NOISE.transpose(2, 0, 1))),
    Row("a TIFF of floats", floats(NOISE[..., 0])),
]

REFUSED = [
    Row("a truncated PNG", truncated("PNG", "a.png"), ("a.png", "cut off", "Copy it again")),
    Row("a truncated TIFF", truncated("TIFF", "a.tif"), ("a.tif", "cut off")),
    Row("a truncated GIF", truncated("GIF", "a.gif"), ("a.gif", "cut off")),
    Row("a truncated JPEG", truncated("JPEG", "a.jpg"), ("a.jpg", "cut off")),
    Row("a truncated checkpoint", cut_model, ("m.safetensors", "cut short", "copy it again")),
    Row("an empty file", content(b""), ("a.png", "cannot be read")),
    Row("a text called png", content(b"hello"), ("a.png", "another kind of file")),
    Row(
        "PostScript called png",
        content(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        ("a.png", "another kind of file"),
    ),
    Row("2 channels", array(NOISE.transpose(2, 0, 1)[:2]), ("a.npy", "2 channels", "3 are wanted")),
    Row("5 channels", array(np.zeros((5, 9, 9))), ("a.npy", "5 channels", "3 are wanted")),
    Row("a volume of 1 channel", array(np.zeros((1, 3, 9, 9))), ("a.npy", "1 channels", "3 are")),
    Row("5 dimensions", array(np.zeros((1, 1, 3, 9, 9))), ("a.npy", "(1, 1, 3, 9, 9)")),
    Row("an array without pixels", array(np.zeros((3, 0, 9))), ("a.npy", "empty")),
    Row("an array of words", array(np.array([["a"]])), ("a.npy", "numbers are wanted")),
    Row("NaN pixels", array(with_one(np.nan), deep=True), ("a.npy", "NaN or infinite")),
    Row("infinite pixels", array(with_one(np.inf), deep=True), ("a.npy", "NaN or infinite")),
    Row("a TIFF with NaN", floats(with_one(np.nan)), ("a.tif", "NaN or infinite")),
    Row("negative values", array(with_one(-1.0)), ("a.npy", "from -1", "from 0 to 255")),
    Row(
        "16 bits for a model of 8",
        picture(GREY.astype(np.uint16) * 257),
        ("a.png", "65535", "from 0 to 255"),
    ),
    Row(
        "several pages",
        content(encoded("TIFF", save_all=True, append_images=[Image.new("L", (9, 9))]), "a.tif"),
        ("a.tif", "2 pages"),
    ),
    Row("a decompression bomb", content(huge_png()), ("a.png", "at most 89478485 pixels")),
    Row("a picture over our limit", large, ("a.png", "9460x9460", "at most 89478485 pixels")),
    Row("a zip bomb", zip_bomb, ("a.npz", "1.0 GiB", "at most 1 GiB")),
    Row("a head that claims too much", claim_too_much, ("a.npy", "cannot be read")),
    Row("pickled objects in an array", objects, ("a.npy", "never unpickled")),
    Row("pickled weights", pickled_weights, ("w.pt", "can run code", "safetensors")),
    Row("an empty folder", empty_folder, ("empty", "holds no image")),
    Row("an image that is not there", lambda p: p.predict("gone.png"), ("gone.png", "Check")),
    Row(
        "a model that is not there",
        lambda p: [*picture(NOISE)(p)[:1], p.folder / "gone", *picture(NOISE)(p)[2:]],
        ("gone", "is not a file"),
    ),
    Row("a result in the way", taken_output, ("out", "--overwrite")),
    Row("a file where the output shall be", output_is_a_file, ("out",)),
    Row(
        "a checkpoint of another version",
        model_with(lambda _, metadata: metadata.update(format="hidiff-0")),
        ("m.safetensors", "hidiff-0", "hidiff-1"),
    ),
    Row(
        "somebody else's safetensors",
        model_with(lambda _, metadata: metadata.clear()),
        ("m.safetensors", "no HiDiff checkpoint"),
    ),
    Row(
        "a checkpoint of another shape than its recipe",
        model_with(lambda tensors, _: tensors.popitem()),
        ("m.safetensors", "another shape", "1 tensors missing"),
    ),
    Row(
        "a checkpoint whose recipe is cut",
        model_with(lambda _, metadata: metadata.update(recipe="{")),
        ("m.safetensors", "recipe"),
    ),
    Row("resuming with another recipe", another_recipe, ("refiner.width was 8, is 16",)),
    Row(
        "labels 0/1/7 where two are declared",
        data_with(
            mask("case-000.png", np.resize(np.array([0, 1, 7], np.uint8), (64, 64))),
            "labels={kind: exclusive, classes: {a: [1], b: [2]}}",
        ),
        ("case-000.png", "values 7", "[0, 1, 2] are declared"),
    ),
    Row(
        "a mask of another size",
        data_with(mask("case-000.png", np.ones((9, 7), np.uint8))),
        ("case-000.png is 9x7", "64x64"),
    ),
    Row(
        "a mask in colour",
        data_with(mask("case-000.png", NOISE)),
        ("case-000.png", "one value a pixel"),
    ),
    Row("an image without a mask", data_with(no_partner), ("case-000.png", "no partner")),
    Row("a patient in two lists", data_with(in_two_lists), ("both train and test", "Move it")),
    Row("a list in another encoding", data_with(list_of_bytes), ("test.txt", "UTF-8")),
    Row(
        "a class called as the mean is",
        lambda p: p.train("labels={kind: one_class, classes: {mean: [1]}}"),
        ("recipe.yaml", "the mean over the classes"),
    ),
    Row(
        "a class of the background's value",
        lambda p: p.train("labels={kind: regions, classes: {a: [0, 1]}}"),
        ("recipe.yaml", "a has the value 0"),
    ),
    Row("a list that leads out", data_with(leave_by_list), ("train.txt", "may not lead out")),
    Row(
        "data that is not there",
        lambda p: p.train("data.path=/nowhere"),
        ("/nowhere", "mend the path"),
    ),
    Row("a data path that leads out", out_of_the_data, ("../other", "leads out of $HIDIFF_DATA")),
    Row("a name that leads out", lambda p: p.train("name=.."), ("name = '..'",)),
    Row(
        "more memory than there is",
        lambda p: p.train("training.batch_size=10000000"),
        ("needs at least", "this machine has", "training.batch_size"),
    ),
    Row("an unknown setting", lambda p: p.train("training.bach=1"), ("Did you mean batch_size",)),
    Row("a setting of another type", lambda p: p.train("seed=soon"), ("seed = 'soon'", "integer")),
    Row("an unknown key", yaml("name: a\nfoo: 1\ndata: {path: x}\n"), ("foo is no setting",)),
    Row("no YAML", yaml("a: [1"), ("recipe.yaml is not YAML",)),
    Row("a list for a recipe", yaml("- 1\n"), ("recipe.yaml holds no settings",)),
    Row("a YAML tag that would run code", yaml("a: !!python/name:os.system"), ("is not YAML",)),
    Row("a YAML anchor within itself", yaml("name: &a [*a]\ndata: {path: x}\n"), ("name = [",)),
    Row(
        "nnU-Net's probabilities of another crop",
        foreign(theirs_of_another_crop),
        ("p0.npz has the shape (2, 2, 8, 8)", "p0.nii.gz beside it is 12x8x2"),
    ),
    Row(
        "nnU-Net's probabilities of another run",
        foreign(theirs_of_another_run),
        ("voxels of the segmentation are not what the probabilities say", "predict again"),
    ),
    Row(
        "nnU-Net's probabilities alone",
        foreign(theirs_alone),
        ("p0.npz has no segmentation of nnU-Net beside it", "p0.nii.gz"),
    ),
    Row("nnU-Net's archive of a pickle", foreign(theirs_pickled), ("p0.npz", "numbers are wanted")),
    Row(
        "nnU-Net's probabilities without plans",
        foreign(theirs_without_plans),
        ("p0.npz may have its axes in two ways", "plans.json is missing"),
    ),
    Row(
        "a probability elsewhere in the patient",
        foreign(theirs_elsewhere),
        ("p0.nii.gz lies on another grid", "origin (mm) (7,"),
    ),
    Row("logits of volumes", foreign(theirs_of_logits), ("from -2.5", "write the softmax")),
    Row(
        "a label map of values without names",
        foreign(theirs_of_other_values),
        ("p0.nii.gz", "neither declared", "data.priors.values"),
    ),
    Row("a label map without a class", foreign(theirs_without_a_class), ("but not class_1",)),
    Row(
        "a table of labels that is none", foreign(theirs_with_a_wrong_table), ("labels.json is no",)
    ),
    Row(
        "priors that are the masks", foreign(theirs_are_the_masks), ("9 of 9 cases", "equal their")
    ),
    Row(
        "priors of six patients", foreign(theirs_of_few), ("6 patients have", "8 patients or more")
    ),
    Row("a case in two folds", foreign(theirs_of_two_folds), ("p0 has a prior in both", "fold_1")),
    Row("a label map cut off", foreign(theirs_cut_off), ("p0.nii.gz cannot be read", "cut off")),
    Row(
        "probabilities of too many channels",
        foreign(theirs_of_too_many_channels),
        ("p0.nii.gz holds 4 channels", "1 are wanted"),
    ),
    Row(
        "a label map of fractions", foreign(theirs_of_fractions), ("p3.nii.gz", "fractions", "0.4")
    ),
    Row(
        "a file per class, of another class",
        foreign(theirs_without_a_file),
        ("p0 holds", "liver", "one for each of"),
    ),
    Row("plans that are cut off", foreign(theirs_with_broken_plans), ("plans.json", "JSON")),
    Row(
        "nnU-Net's regions without their order",
        foreign(theirs_of_regions_without_order),
        ("dataset.json has regions", "regions_class_order"),
    ),
    Row(
        "a pattern that finds no patient",
        foreign(theirs_of_a_wrong_pattern),
        ("finds no patient", "p0"),
    ),
    Row("refining without a prior", refined(), ("holds no prior of v", "v.npz")),
    Row("refining from a file", refined_from_a_file, ("v.nii.gz is no folder",)),
    Row(
        "refining by a model with a segmentor",
        refined_by_a_whole_model,
        ("has a segmentor of its own", "hidiff predict"),
    ),
    Row(
        "refining an unknown class",
        refined("--classes", "liver", prior=THIRD),
        ("liver", "curve"),
    ),
    Row("refining logits", refined(prior=THIRD - 3), ("v.nii.gz", "from -2.6")),
    Row(
        "a share that is none",
        shared("--part", 5, "--parts", 4),
        ("--part 5 --parts 4: shares are counted from 1 to 4",),
    ),
    Row("a mask in the alpha channel", data_with(in_alpha), ("case-000.png", "alpha channel")),
    Row("a class in JPEG", data_with(in_jpeg), ("case-000.jpg", "JPEG", "as PNG")),
    Row(
        "a batch that does not split",
        lambda p: p.train("training.batch_size=3", "training.accumulation=2"),
        ("batch_size is 3", "multiple"),
    ),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Three models that were never trained, which is all the same to a bad input."""
    folder = tmp_path_factory.mktemp("models")
    deep = {"data": {"intensity": {"kind": "zscore"}}}
    others = {
        "data": {**deep["data"], "channels": 1},
        "segmentor": {"name": "files", "options": {}},
        "training": {"segmentor": "frozen"},
    }
    kinds: dict[str, dict] = {"model": {}, "deep": deep, "refiner": others}
    for name, changes in kinds.items():
        recipe = make_tiny(folder, **changes)
        hybrid = shake(experiment.make_hybrid(recipe))
        metadata = {**experiment.checkpoint_metadata(recipe), "stage": "in_turns", "step": "1"}
        save_model(folder / f"{name}.safetensors", hybrid.segmentor, hybrid.refiner, metadata)
    return tuple(folder / f"{name}.safetensors" for name in kinds)


@pytest.fixture
def place(
    tmp_path: Path, models: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    skip_counting(monkeypatch)
    before = os.environ.pop("HIDIFF_DATA", None)
    yield Place(tmp_path, *models)
    os.environ.pop("HIDIFF_DATA", None)
    if before is not None:
        os.environ["HIDIFF_DATA"] = before


def run(words: list[object]):
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return CliRunner().invoke(app, [str(word) for word in words])


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("row", WORKS, ids=lambda row: row.what)
def test_it_works(row: Row, place: Place):
    result = run(row.make(place))
    assert result.exit_code == 0, result.output
    assert any(file.is_relative_to(place.out) for file in files(place.folder))


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.what)
def test_it_is_refused_in_a_line_and_leaves_nothing(row: Row, place: Place):
    words = row.make(place)
    before = files(place.folder)
    result = run(words)
    assert result.exit_code == row.code, (result.output, result.exception)
    lines = result.stderr.splitlines()
    assert any(all(word in line for word in row.said) for line in lines), result.output
    assert "Traceback" not in result.output
    assert files(place.folder) == before


def test_there_are_at_least_forty():
    assert len(REFUSED) >= 40


def test_the_orientation_turns_the_result_too(place):
    assert run(picture(COLOUR, "a.jpg", exif=turned())(place)).exit_code == 0
    with Image.open(place.out / "a_labels.png") as labels:
        assert labels.size == (70, 80)


def test_an_image_of_5000x4000_is_predicted(place):
    """Refiner of width 8, one step, through windows of 512x512."""
    recipe = make_tiny(place.folder, data={"patch_size": [512, 512]}, prediction={"overlap": 0})
    tensors, metadata = weights.load(place.model)
    metadata |= {"recipe": recipe.model_dump_json()}
    weights.save(place.folder / "large.safetensors", tensors, metadata)
    Image.fromarray(np.resize(NOISE, (4000, 5000, 3))).save(place.folder / "a.png")
    result = run(place.predict("a.png", place.folder / "large.safetensors"))
    assert result.exit_code == 0, result.output
    with Image.open(place.out / "a_labels.png") as labels:
        assert labels.size == (5000, 4000)


def test_of_many_images_one_bad_is_reported_and_the_others_done(place):
    """A hundred, to be quick; research/reliability/many_images.py does it with a thousand."""
    folder = place.folder / "many"
    folder.mkdir()
    for number in range(100):
        Image.fromarray(COLOUR[:1, :1]).save(folder / f"{number}.png")
    (folder / "50.png").write_bytes(b"cut off")
    stage1 = place.folder / "prior.safetensors"  # the prior alone, as refining them takes long
    tensors, metadata = weights.load(place.model)
    weights.save(stage1, tensors, {**metadata, "stage": "stage1"})
    result = run(["predict", stage1, folder, "--output", place.out])
    assert result.exit_code == 1
    assert "99 of 100 images are done" in result.stdout
    assert "50.png cannot be read" in result.stderr
    assert len(list(place.out.glob("*_labels.png"))) == 99


# Runs that meet each other, or are stopped

SLOW = """
import sys, time
from pathlib import Path
from hidiff.prediction import Predictor
predict = Predictor.predict
def slow(self, *args, **kwargs):
    Path(sys.argv[-1]).touch()
    time.sleep(0.5)
    return predict(self, *args, **kwargs)
Predictor.predict = slow
from hidiff.cli.app import app
app(sys.argv[1:-1])
"""


def begin(words: list[object], started: Path) -> subprocess.Popen:
    """Start a slow `predict` in a process of its own; `started` appears with its first image."""
    command = [sys.executable, "-c", SLOW, *map(str, words), str(started)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(file: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not file.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def six_images(place: Place) -> list[object]:
    folder = place.folder / "six"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(NOISE).save(folder / f"{number}.png")
    return place.predict("six", None, "--format", "npz")


def test_two_runs_at_once_share_the_images(place):
    words = six_images(place)
    runs = [begin(words, place.folder / f"started{number}") for number in range(2)]
    outputs = [run.communicate(timeout=200) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert len(list(place.out.glob("*.npz"))) == 6
    assert not list(place.out.glob(".*"))
    assert "overwrite=True" not in str(outputs)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_prediction_that_is_stopped_goes_on_and_leaves_nothing(place, number, code):
    words = [*six_images(place), "--probability"]
    started = place.folder / "started"
    process = begin(words, started)
    wait_for(started, process)
    time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    if number == signal.SIGTERM:
        assert "with --continue does the others" in errors and "Traceback" not in errors
        assert not list(place.out.glob(".*"))
    else:
        assert list(place.out.glob(".*"))  # nothing can be removed then
    result = run([*words, "--continue"])
    assert result.exit_code == 0, result.output
    assert len(list(place.out.glob("*.npz"))) == 6
    assert not list(place.out.glob(".*"))


def test_a_training_that_is_stopped_saves_and_says_how_to_go_on(place, monkeypatch):
    step = Trainer.step

    def stopped(self, *args):
        losses = step(self, *args)
        os.kill(os.getpid(), signal.SIGTERM)
        return losses

    words = place.train("training.stage1_steps=3")
    monkeypatch.setattr(Trainer, "step", stopped)
    result = run(words)
    assert result.exit_code == 143, result.output
    assert "Stopped by SIGTERM after stage1 step 1" in result.stderr
    assert "--resume" in result.stderr
    monkeypatch.undo()
    skip_counting(monkeypatch)
    assert run([*words, "--resume"]).exit_code == 0
    _, metadata = weights.load(place.out / "tiny" / "stage1.safetensors")
    assert metadata["step"] == "3"


# Places that cannot be written to


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A small file system of its own, with these options."""
    mounted = []

    def make(options: str) -> Path:
        folder = tmp_path / "mounted"
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(words, capture_output=True).returncode:
            pytest.skip("only root may mount a file system here")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_output_is_refused(place, mount):
    out = mount("ro")
    for words in (picture(NOISE)(place), place.train()):
        words[words.index("--output") + 1] = out
        result = run(words)
        assert result.exit_code == 2, result.output
        assert f"{out}" in result.stderr and "Read-only file system" in result.stderr


def test_a_full_disk_ends_a_prediction_and_leaves_whole_files_only(place, mount):
    out = mount("size=64k")
    Image.fromarray(np.resize(NOISE, (300, 300, 3))).save(place.folder / "a.png")
    words = place.predict("a.png", None, "--format", "npz")
    words[words.index("--output") + 1] = out
    result = run(words)
    assert result.exit_code == 2, result.output
    assert "No space left on device. Free some space" in result.stderr
    assert "0 of 1 images are done" in result.stdout
    assert not list(out.iterdir())


def test_a_full_disk_ends_a_run_and_its_last_checkpoint_reads(place, mount):
    words = place.train("training.stage1_steps=3", "training.save_every=1")
    out = mount("size=5m")
    words[words.index("--output") + 1] = out
    result = run(words)
    assert result.exit_code == 2, result.output
    assert "No space left on device. Free some space" in result.stderr
    for file in out.rglob("*.safetensors"):
        weights.load(file)
