"""Data sets in nnU-Net's raw layout, as small as wanted; what is to be found is bright."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

LABELS = {"background": 0, "wall": 1, "blood": 2}


def write_nnunet(
    root: Path,
    *,
    shapes: Sequence[tuple[int, int, int]] = ((40, 32, 3),) * 4,
    spacing_mm: tuple[float, float, float] = (1.5, 1.5, 8.0),
    channels: Sequence[str] = ("MRI",),
    labels: Mapping[str, Any] = LABELS,
    part: str = "Tr",
) -> Path:
    """Cases p0, p1, ... of these shapes, a file per channel; `part` Ts for those to test on."""
    content = {
        "channel_names": {str(number): name for number, name in enumerate(channels)},
        "labels": labels,
        "numTraining": len(shapes),
        "file_ending": ".nii.gz",
    }
    images, masks = root / f"images{part}", root / f"labels{part}"
    for folder in (images, masks):
        folder.mkdir(parents=True)
    (root / "dataset.json").write_text(json.dumps(content))
    affine = np.diag([*spacing_mm, 1.0])
    for number, shape in enumerate(shapes):
        name = f"p{number}" if part == "Tr" else f"q{number}"
        mask = blocks(shape)
        write(mask, affine, masks / f"{name}.nii.gz")
        draws = np.random.default_rng([number, part == "Ts"])
        for channel in range(len(channels)):
            image = 200 * mask.astype(np.int16) + draws.integers(0, 50, shape).astype(np.int16)
            write(image, affine, images / f"{name}_{channel:04d}.nii.gz")
    return root


def blocks(shape: tuple[int, int, int]) -> np.ndarray:
    """Values 1 and 2 in the middle, as far as there is room, and 0 around."""
    mask = np.zeros(shape, np.uint8)
    rows, columns, _ = shape
    mask[rows // 4 : rows // 2 + 1, columns // 4 : columns // 2 + 1] = 1
    mask[rows // 2 + 1 : 3 * rows // 4 + 1, columns // 4 : columns // 2 + 1] = 2
    return mask


def write(values: np.ndarray, affine: np.ndarray, path: Path) -> None:
    nib.save(nib.Nifti1Image(values, affine), path)
