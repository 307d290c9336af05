"""Train a small 3-D U-Net (MONAI) on ACDC, and export its results as nnU-Net does.

    export HIDIFF_DATA=...
    python research/method/foreign_unet.py --output runs/foreign_unet --minutes 20

It stands for a model of somebody else that cannot be trained again: patients 001-030 train it,
until the time is over. The results of all other patients are written in nnU-Net's layout:
CASE.nii.gz, CASE.npz with `probabilities` (classes, z, y, x), plans.json and dataset.json.
`research/method/adapt.py` trains a refiner behind them.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.losses.dice import DiceCELoss
from monai.networks.nets.unet import UNet
from torch import Tensor, nn
from torch.nn import functional

DATASET = "nnUNet_raw/Dataset027_ACDC"
LAST_TRAINED = 30
SHAPE = (128, 128, 16)
"""rows, columns and slices that the network sees; half of the rows and columns of most volumes"""
NUM_CLASSES = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    root = Path(os.environ["HIDIFF_DATA"]) / DATASET
    images = sorted((root / "imagesTr").glob("*_0000.nii.gz"))
    own = [image for image in images if patient_of(image) <= LAST_TRAINED]
    others = [image for image in images if patient_of(image) > LAST_TRAINED]
    args.output.mkdir(parents=True, exist_ok=True)
    network = train(own, args.minutes, args.seed)
    write_plans(root, args.output)
    for image in others:
        export(network, image, args.output)
    print(f"{len(others)} cases: {args.output}")


def patient_of(image: Path) -> int:
    """Return the number of a file's patient."""
    return int(image.name.removeprefix("patient")[:3])


def mask_of(image: Path) -> Path:
    """Return the mask of an image of nnU-Net's raw layout."""
    name = image.name.replace("_0000.nii.gz", ".nii.gz")
    return image.parent.with_name("labelsTr") / name


def read(path: Path) -> np.ndarray:
    """Return a volume's values (x, y, z)."""
    return np.asarray(nib.load(path).dataobj)


def normalise(values: np.ndarray) -> Tensor:
    """Return a volume of mean 0 and deviation 1, resized to what the network sees."""
    image = torch.from_numpy(values.astype(np.float32))
    image = (image - image.mean()) / image.std().clamp(1e-6)
    return functional.interpolate(image[None, None], SHAPE, mode="trilinear", align_corners=False)


def train(images: Sequence[Path], minutes: float, seed: int) -> nn.Module:
    """Train until the time is over; the rate falls to zero with it."""
    torch.manual_seed(seed)
    network = UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=NUM_CLASSES,
        channels=(8, 16, 32, 64),
        strides=((2, 2, 1), (2, 2, 1), (2, 2, 2)),
        num_res_units=1,
    )
    inputs = [normalise(read(image)) for image in images]
    truths = [
        functional.interpolate(
            torch.from_numpy(read(mask_of(image)).astype(np.float32))[None, None], SHAPE
        )
        for image in images
    ]
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-4)
    start, step, losses = time.monotonic(), 0, []
    while (share := (time.monotonic() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - share) ** 0.9
        number = int(torch.randint(len(inputs), ()))
        image, truth = augment(inputs[number], truths[number])
        loss = loss_of(network(image), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        step += 1
        if step % 25 == 0:
            print(f"step {step}, {share:.0%}: loss {np.mean(losses[-25:]):.3f}", flush=True)
    return network.eval()


def augment(image: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Turn, zoom and shift the slices of a volume alike, and change its brightness."""
    angle = float(torch.empty(()).uniform_(-0.5, 0.5))
    zoom = float(torch.empty(()).uniform_(0.8, 1.25))
    shift = torch.empty(2).uniform_(-0.15, 0.15).tolist()
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    # the axes of a grid run backwards: z, columns, rows
    theta = torch.tensor(
        [[1, 0, 0, 0], [0, cos, -sin, shift[0]], [0, sin, cos, shift[1]]], dtype=torch.float32
    )
    grid = functional.affine_grid(theta[None], list(image.shape), align_corners=False)
    turned = functional.grid_sample(image, grid, padding_mode="border", align_corners=False)
    mask = functional.grid_sample(truth, grid, mode="nearest", align_corners=False)
    scale, offset = torch.empty(2).uniform_(-0.3, 0.3).tolist()
    noise = 0.1 * torch.randn_like(turned)
    return turned * (1 + scale) + offset + noise, mask


@torch.inference_mode()
def export(network: nn.Module, image: Path, folder: Path) -> None:
    """Write a case's segmentation and probabilities, on the grid of its image."""
    opened = nib.load(image)
    values = np.asarray(opened.dataobj)
    logits = network(normalise(values))
    logits = functional.interpolate(logits, values.shape, mode="trilinear", align_corners=False)
    probability = logits.softmax(dim=1)[0].numpy()
    segmentation = probability.argmax(axis=0).astype(np.uint8)
    name = image.name.replace("_0000.nii.gz", "")
    nib.save(nib.Nifti1Image(segmentation, opened.affine, opened.header), folder / f"{name}.nii.gz")
    np.savez_compressed(folder / f"{name}.npz", probabilities=probability.transpose(0, 3, 2, 1))


def write_plans(root: Path, folder: Path) -> None:
    """Write what nnU-Net writes beside its predictions, as far as it says how axes lie."""
    plans = {"image_reader_writer": "SimpleITKIO", "transpose_backward": [0, 1, 2]}
    (folder / "plans.json").write_text(json.dumps(plans) + "\n")
    (folder / "dataset.json").write_text((root / "dataset.json").read_text())


if __name__ == "__main__":
    main()
