"""Write what the shipped model `vessels`, trained on CHASE_DB1, finds on the images of DRIVE.

    HIDIFF_DATA=... python research/method/foreign_eye.py --output runs/chase_db1_on_drive

It stands for another clinic's model. Only its segmentor is used, not its refiner; NAME.npz holds
the probability of each image, which `research/method/adapt.py` refines.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch

import hidiff


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.output.mkdir(parents=True, exist_ok=True)
    model = hidiff.load("vessels")
    root = Path(os.environ["HIDIFF_DATA"]) / "DRIVE"
    for image in sorted(root.glob("*/images/*.tif")):
        probability = model.predict(image, refine=False).probability
        np.savez_compressed(args.output / f"{image.stem}.npz", probability=probability)
        print(image.stem, flush=True)


if __name__ == "__main__":
    main()
