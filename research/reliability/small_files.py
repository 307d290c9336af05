"""Write small valid files of every format that is read: the inputs the fuzzer begins with."""

import io
import json
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import nibabel as nib
import nrrd
import numpy as np
import pydicom
import torch
import yaml
from PIL import Image
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from safetensors.torch import save

from hidiff.recipe import make_recipe

PIXELS = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
VOXELS = np.arange(24, dtype=np.int16).reshape(4, 3, 2)
NAMES = [
    ["p1_0000.nii.gz", "p1_0001.nii.gz", "p2_0000.nii.gz", "p2_0001.nii.gz", "p2.nii.gz"],
    ["case0005_slice012.png", "case0005_slice013.png", "case0006_slice001.png", "case0007 z1.png"],
    ["TCGA_CS_4941_19960909_1.tif", "TCGA_CS_4942_19970222_2.tif", "BraTS-GLI-1-000-t1c.nii.gz"],
    ["21_left.png", "21_right.png", "22_left.png", "22_right.png", "Grüße.v2.jpg", "a.seg.nrrd"],
]
RECIPE = {
    "name": "a",
    "data": {"path": "x"},
    "labels": {"kind": "one_class", "classes": {"a": [1]}},
}


def good_files() -> Iterator[tuple[str, bytes]]:
    """The name of the reader, as fuzz_readers.py has it, and a file's content."""
    yield from pictures()
    yield from arrays()
    yield from weights()
    yield from volumes()
    for name in ("slice.dcm", "series.dcm"):
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
            yield name, dicom(2, syntax)
        yield name, dicom(2, ExplicitVRLittleEndian)[132:]  # without its preamble
        yield name, dicom(2, ExplicitVRLittleEndian, frames=2)
        yield name, dicom(2, ExplicitVRLittleEndian, change=as_radiograph)
        yield name, dicom(2, ExplicitVRLittleEndian, change=as_palette)
    yield "recipe.yaml", yaml.safe_dump(RECIPE).encode()
    yield "train.txt", b"# a list\na\n\nb\n"
    for names in NAMES:
        yield "names.txt", "\n".join(names).encode()
    for content in datasets():
        yield "dataset.json", json.dumps(content).encode()


def pictures() -> Iterator[tuple[str, bytes]]:
    endings = {"PNG": "png", "JPEG": "jpg", "TIFF": "tif", "GIF": "gif", "BMP": "bmp"}
    for format, ending in endings.items():
        for mode in ("RGB", "L", "1") if format == "JPEG" else ("RGB", "L", "P", "1"):
            image = Image.fromarray(PIXELS).convert(mode)
            yield f"image.{ending}", written(lambda to, i=image, f=format: i.save(to, f))
    for mode in ("RGB;16B", "RGBA;16B", "LA;16B"):
        yield "image.png", deep_png(mode)
    deep = Image.fromarray(PIXELS[..., 0].astype(np.uint16))
    yield "image.png", written(lambda to: deep.save(to, "PNG"))
    yield "image.tif", written(lambda to: deep.save(to, "TIFF", compression="tiff_lzw"))


def deep_png(mode: str) -> bytes:
    """A PNG of three pixels in a row with channels of 16 bits, which Pillow cannot write."""
    colour_type, channels = {"RGB;16B": (2, 3), "RGBA;16B": (6, 4), "LA;16B": (4, 2)}[mode]
    row = np.arange(3 * channels, dtype=">u2").tobytes()
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 3, 1, 16, colour_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" + row)),
        (b"IEND", b""),
    ]
    chunks = [
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def arrays() -> Iterator[tuple[str, bytes]]:
    for name in ("image", "volume"):
        for values in (PIXELS, PIXELS[0] / 2, VOXELS[None]):
            yield f"{name}.npy", written(lambda to, v=values: np.save(to, v))
            yield f"{name}.npz", written(lambda to, v=values: np.savez(to, v))
            yield f"{name}.npz", written(lambda to, v=values: np.savez_compressed(to, v))
        yield f"{name}.npz", written(lambda to: np.savez(to, image=VOXELS, label=VOXELS))
    for options in ({}, {"compression": "gzip", "chunks": (2, 3, 2)}):
        yield "volume.h5", written(lambda to, o=options: write_h5(to, o))


def write_h5(to: io.BytesIO, options: dict) -> None:
    with h5py.File(to, "w", libver="latest") as file:
        for name in ("image", "label"):
            file.create_dataset(name, data=VOXELS, **options)


def weights() -> Iterator[tuple[str, bytes]]:
    words = {
        "format": "hidiff-1",
        "recipe": make_recipe(RECIPE).model_dump_json(),
        "progress": json.dumps({"stage": "stage1", "step": 1}),
    }
    yield "model.safetensors", save({"a": torch.zeros(2)}, words)
    yield "model.safetensors", save({"a": torch.zeros(2)})
    yield "weights.pt", written(lambda to: torch.save({"state_dict": {"a": torch.zeros(2)}}, to))


def volumes() -> Iterator[tuple[str, bytes]]:
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    with tempfile.TemporaryDirectory() as folder:
        for values in (VOXELS, np.stack([VOXELS] * 2, -1), VOXELS[..., 0] / np.float32(2)):
            for ending in (".nii", ".nii.gz"):
                file = Path(folder, f"a{ending}")
                nib.save(nib.Nifti1Image(values, affine), file)
                yield f"volume{ending}", file.read_bytes()
        file = Path(folder, "a.nii")
        nib.save(nib.Nifti2Image(VOXELS, affine), file)
        yield "volume.nii", file.read_bytes()
        file = Path(folder, "a.nrrd")
        head = {"space": "left-posterior-superior", "space directions": np.eye(3)}
        for encoding in ("raw", "gzip", "bzip2", "ascii"):
            nrrd.write(str(file), VOXELS, {**head, "encoding": encoding})
            yield "volume.nrrd", file.read_bytes()
        nrrd.write(str(file), VOXELS, {"spacings": [1, 2, 3], "encoding": "raw"})
        yield "volume.nrrd", file.read_bytes()
        head |= {"encoding": "raw", "space units": ["um"] * 3}
        head |= {"Segment0_ID": "a", "Segment0_Layer": "0", "Segment0_LabelValue": "1"}
        nrrd.write(str(file), VOXELS % 2, head)
        yield "volume.seg.nrrd", file.read_bytes()
    lines = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        "CompressedData = {}\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n"
        "ElementSpacing = 1 2 3\nDimSize = 4 3 2\nElementType = MET_SHORT\nElementDataFile = {}\n"
    )
    content = VOXELS.tobytes(order="F")
    yield "volume.mha", lines.format("False", "LOCAL").encode() + content
    yield "volume.mha", lines.format("True", "LOCAL").encode() + zlib.compress(content)
    yield "volume.mhd", lines.format("False", "data.raw").encode()


def dicom(
    z: float,
    syntax: str,
    frames: int = 0,
    change: Callable[[pydicom.Dataset], None] = lambda head: None,
) -> bytes:
    """A slice at the height z, or an enhanced file of that many frames above it."""
    head = pydicom.Dataset()
    head.file_meta = pydicom.dataset.FileMetaDataset()
    head.file_meta.TransferSyntaxUID = syntax
    head.file_meta.MediaStorageSOPClassUID = head.SOPClassUID = CTImageStorage
    head.file_meta.MediaStorageSOPInstanceUID = head.SOPInstanceUID = f"1.2.{z}"
    head.SeriesInstanceUID, head.SeriesDescription, head.Modality = "1.3", "a", "CT"
    head.ImageOrientationPatient, head.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, z]
    head.PixelSpacing, head.SliceThickness = [1, 2], 2
    head.Rows, head.Columns = VOXELS.shape[:2]
    head.SamplesPerPixel, head.PhotometricInterpretation = 1, "MONOCHROME2"
    head.BitsAllocated, head.BitsStored, head.HighBit, head.PixelRepresentation = 16, 16, 15, 1
    head.RescaleSlope, head.RescaleIntercept = 1, -9
    head.PixelData = np.ascontiguousarray(VOXELS[..., 0]).tobytes() * max(frames, 1)
    if frames:
        add_frames(head, z, frames)
    change(head)
    return written(lambda to: head.save_as(to, enforce_file_format=True))


def as_radiograph(head: pydicom.Dataset) -> None:
    """Take a slice's place in the patient away, and let low values be white."""
    del head.ImagePositionPatient, head.ImageOrientationPatient, head.PixelSpacing
    head.ImagerPixelSpacing, head.Modality = [0.1, 0.1], "DX"
    head.PhotometricInterpretation, head.PixelRepresentation = "MONOCHROME1", 0


def as_palette(head: pydicom.Dataset) -> None:
    """Let values be numbers of colours, which are refused."""
    head.PhotometricInterpretation = "PALETTE COLOR"


def add_frames(head: pydicom.Dataset, z: float, frames: int) -> None:
    """Move the place of a slice into the functional groups of an enhanced file."""
    head.NumberOfFrames = frames
    head.PerFrameFunctionalGroupsSequence = []
    for number in range(frames):
        frame, position = pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = [0, 0, z + 2 * number]
        frame.PlanePositionSequence = [position]
        head.PerFrameFunctionalGroupsSequence.append(frame)
    del head.ImagePositionPatient


def datasets() -> list[dict]:
    """nnU-Net's dataset.json, of classes and of regions, and the Decathlon's."""
    nnunet = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "a": 1, "b": 2},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    pair = {"image": "./imagesTr/a_0000.nii.gz", "label": "./labelsTr/a.nii.gz"}
    return [
        nnunet,
        {**nnunet, "labels": {"background": 0, "a": [1, 2], "b": 2}, "regions_class_order": [1, 2]},
        {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "a"}, "training": [pair]},
    ]


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()
