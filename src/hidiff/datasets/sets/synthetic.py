"""Drawn images with exact masks, for tests and benchmarks: thin curves and blurred discs."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from hidiff.labels import Labels
from hidiff.seeding import derive

SYNTHETIC_LABELS = {
    "one_class": Labels(kind="one_class", classes={"curve": (1,)}),
    "exclusive": Labels(kind="exclusive", classes={"curve": (1,), "disc": (2,)}),
    # Value 3 is where a curve runs over a disc: it belongs to both.
    "regions": Labels(kind="regions", classes={"curve": (1, 3), "disc": (2, 3)}),
}


def write_synthetic(
    folder: Path | str,
    num_cases: int = 30,
    size: int = 96,
    labels: Literal["one_class", "exclusive", "regions"] = "one_class",
    seed: int = 0,
) -> None:
    """Write images/, masks/ and lists: 60 % train, 20 % validation, 20 % test.

    Curves are 1 to 3 pixels wide and dark, discs bright, both faint against a mottled ground with
    noise, so that no threshold finds them.
    """
    if num_cases < 5:
        raise ValueError(f"num_cases is {num_cases}, but 5 or more are wanted to fill three splits")
    names = [f"case-{i:03d}" for i in range(num_cases)]
    ends = round(0.6 * num_cases), round(0.8 * num_cases)
    lists = {
        "train": names[: ends[0]],
        "validation": names[ends[0] : ends[1]],
        "test": names[ends[1] :],
    }
    with new_folder(folder) as made:
        write_lists(made, lists)
        for name in names:
            draws = np.random.Generator(np.random.Philox(key=derive(seed, "synthetic", name)))
            curve, disc = draw_curves(size, draws), draw_discs(size, draws)
            write_pair(made, name, _render(curve, disc, draws), _mask_values(curve, disc, labels))


def draw_curves(size: int, draws: np.random.Generator) -> Bool[np.ndarray, "h w"]:
    """Draw four smooth random walks, 1 to 3 pixels wide, from edge to edge."""
    canvas = Image.new("L", (size, size))
    pen = ImageDraw.Draw(canvas)
    for width in (1, 1, 2, 3):
        heading = draws.uniform(0, 2 * np.pi)
        turns = np.cumsum(draws.normal(0, 0.12, size))
        steps = np.stack([np.cos(heading + turns), np.sin(heading + turns)], axis=1) * 2
        start = draws.uniform(0.25, 0.75, 2) * size
        for direction in (1, -1):
            path = start + direction * np.cumsum(steps, axis=0)
            pen.line([(float(x), float(y)) for x, y in path], fill=1, width=width)
    return np.asarray(canvas) > 0


def draw_discs(size: int, draws: np.random.Generator) -> Bool[np.ndarray, "h w"]:
    """Draw one to three ellipses."""
    canvas = Image.new("L", (size, size))
    pen = ImageDraw.Draw(canvas)
    for _ in range(int(draws.integers(1, 4))):
        x, y = draws.uniform(0.15, 0.85, 2) * size
        wide, high = draws.uniform(0.06, 0.16, 2) * size
        pen.ellipse((x - wide, y - high, x + wide, y + high), fill=1)
    return np.asarray(canvas) > 0


def smooth_field(
    size: tuple[int, int], cells: int, draws: np.random.Generator
) -> Float[np.ndarray, "h w"]:
    """Return a slow random change across an image, in about -1..1, with `cells` knots a side."""
    knots = Image.fromarray(draws.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(knots.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def write_pair(
    folder: Path, name: str, image: UInt8[np.ndarray, "*hwc"], mask: UInt8[np.ndarray, "h w"]
) -> None:
    """Write images/name.png and masks/name.png."""
    for kind, pixels in (("images", image), ("masks", mask)):
        (folder / kind).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / kind / f"{name}.png")


def write_lists(folder: Path, lists: dict[str, list[str]]) -> None:
    """Write train.txt, validation.txt and test.txt."""
    for split, names in lists.items():
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


@contextmanager
def new_folder(folder: Path | str) -> Iterator[Path]:
    """Make a folder that appears whole or not at all; two processes may write it at once."""
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty. Choose a new folder, or empty this one.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield made
        made.chmod(0o755)
        try:
            made.replace(folder)
        except OSError:
            if not any(folder.iterdir()):
                raise
            # Another process was first, with the same files.
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _render(
    curve: Bool[np.ndarray, "h w"], disc: Bool[np.ndarray, "h w"], draws: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    height, width = curve.shape
    ground = 0.5 + 0.2 * smooth_field((height, width), 4, draws)
    brightness = ground + 0.14 * disc - 0.16 * curve
    tint = np.array([1.1, 0.9, 0.7])
    noise = draws.normal(0, 0.05, (*curve.shape, 3))
    return (255 * (brightness[..., None] * tint + noise)).clip(0, 255).astype(np.uint8)


def _mask_values(
    curve: Bool[np.ndarray, "h w"], disc: Bool[np.ndarray, "h w"], labels: str
) -> UInt8[np.ndarray, "h w"]:
    if labels == "one_class":
        return curve.astype(np.uint8)
    if labels == "exclusive":
        return np.where(curve, 1, 2 * disc).astype(np.uint8)
    return (curve + 2 * disc).astype(np.uint8)
