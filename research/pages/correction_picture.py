"""The picture of docs/correction.md: vessels that the model misses, before and after three strokes.

    HIDIFF_DATA=shared/data python research/pages/correction_picture.py

The image is of CHASE_DB1 (CC BY 4.0). The model's checkpoint was chosen on it and three others, and
no network learned from it. The first observer's mask stands beside.
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import hidiff

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("HIDIFF_DATA", ROOT.parent / "shared" / "data")) / "CHASE_DB1"
CASE = "Image_13L"
STROKES = [
    [(407, 641), (418, 628), (422, 615), (420, 602), (415, 589), (414, 576)],
    [(480, 565), (475, 596), (475, 629), (467, 660), (451, 674), (437, 689)],
    [(495, 571), (494, 584), (487, 597), (485, 610), (487, 623), (489, 636), (490, 652)],
]
CROP = (slice(375, 535), slice(530, 690))
ZOOM = 3
GAP = 8
COLOURS = {"before": (255, 190, 60), "after": (255, 190, 60), "truth": (90, 200, 255)}


def main() -> None:
    image = DATA / "images" / f"{CASE}.jpg"
    with Image.open(image) as opened:
        eye = np.asarray(opened.convert("RGB"))
    with Image.open(DATA / "1st_manual" / f"{CASE}_1stHO.png") as opened:
        truth = np.asarray(opened.convert("L")) > 127
    session = hidiff.load("vessels").correct(image)
    before = session.labels > 0
    for points in STROKES:
        session.stroke(points, "vessel", radius=1)
    after = session.labels > 0
    for name, mask in {"before": before, "after": after}.items():
        whole, part = dice(mask, truth), dice(mask[CROP], truth[CROP])
        print(f"{name}: Dice {whole:.4f}, in the crop {part:.3f}, {mask.sum()} pixels")
    panels = [
        draw_strokes(enlarge(eye[CROP])),
        enlarge(paint(eye, before, COLOURS["before"])[CROP]),
        enlarge(paint(eye, after, COLOURS["after"])[CROP]),
        enlarge(paint(eye, truth, COLOURS["truth"])[CROP]),
    ]
    width = sum(panel.width for panel in panels) + GAP * (len(panels) - 1)
    picture = Image.new("RGB", (width, panels[0].height), "white")
    for number, panel in enumerate(panels):
        picture.paste(panel, (number * (panel.width + GAP), 0))
    picture.save(ROOT / "docs" / "images" / "correction.png", optimize=True)


def dice(left: np.ndarray, right: np.ndarray) -> float:
    return float(2 * (left & right).sum() / (left.sum() + right.sum()))


def paint(eye: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Return the image with a mask laid over it."""
    painted = eye.astype(np.float32) * 0.8
    painted[mask] = 0.3 * painted[mask] + 0.7 * np.array(colour)
    return painted.astype(np.uint8)


def enlarge(part: np.ndarray) -> Image.Image:
    height, width = part.shape[:2]
    return Image.fromarray(part).resize((width * ZOOM, height * ZOOM), Image.Resampling.NEAREST)


def draw_strokes(panel: Image.Image) -> Image.Image:
    """Draw the strokes as the person drew them."""
    draw = ImageDraw.Draw(panel)
    top, left = CROP[0].start, CROP[1].start
    for points in STROKES:
        line = [((column - left + 0.5) * ZOOM, (row - top + 0.5) * ZOOM) for row, column in points]
        draw.line(line, fill=(80, 255, 120), width=2)
    return panel


if __name__ == "__main__":
    main()
