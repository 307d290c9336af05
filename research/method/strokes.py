"""Do simulated strokes look like those that people draw? Thickness, length and place of both.

    python research/method/strokes.py .../MedScribble_cc

Three people drew strokes inside structures of 18 images (MedScribble, arXiv 2312.07381). Beside
them, piece by connected piece, are simulated ones over the same structures, exact and rough, as
training draws them. Writes results/strokes.json (medians and quartiles) and results/strokes.png.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
from scipy import ndimage

from hidiff.marks import draw_stroke, find_errors, seeded, thin

RESULTS = Path(__file__).parent / "results"
INSIDE, HALF = 0, 127  # the strokes inside a structure; half of full ink
SMALLEST = 10  # pixels of a stroke or structure that counts
DRAWS = 6  # simulated strokes of each kind for each structure
KINDS = ("real", "simulated, exact", "simulated, rough")
MEASURES = {"thickness": "px", "length": "px", "inside the truth": "share"}
COLOURS = ("#1b7837", "#2166ac", "#b2182b")
Strokes = dict[str, list[dict[str, float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path, help="MedScribble_cc: BTCV.npz, HipXRay.npz, ...")
    args = parser.parse_args()
    found: dict[str, Strokes] = {}
    shown = {}
    for file in sorted(args.folder.glob("*.npz")):
        strokes: Strokes = {kind: [] for kind in KINDS}
        for name, truth, drawn in read_cases(file):
            masks = {KINDS[0]: list(drawn), **simulate(truth, name)}
            for kind, each in masks.items():
                strokes[kind] += [measure(piece, truth) for mask in each for piece in pieces(mask)]
            shown.setdefault(file.stem, (truth, masks))
        found[file.stem] = strokes
    summary = {
        data: {kind: quartiles(each) for kind, each in strokes.items()}
        for data, strokes in found.items()
    }
    (RESULTS / "strokes.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=1))
    draw(found, shown)


def read_cases(file: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, truth (h w) and the strokes inside it (person, h w) of each case."""
    with np.load(file, allow_pickle=False) as archive:
        for name in sorted({key.rsplit("/", 1)[0] for key in archive.files}):
            yield name, archive[f"{name}/seg"], archive[f"{name}/scribbles"][:, INSIDE] > HALF


def simulate(truth: np.ndarray, name: str) -> dict[str, list[np.ndarray]]:
    """Return simulated strokes over every structure, as if all of it were missing."""
    errors = find_errors(np.zeros_like(truth)[None], truth[None])
    masks: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS[1:]}
    for number, error in enumerate(errors):
        if error.size < SMALLEST:
            continue
        for kind in masks:
            draws = seeded(0, "strokes", name, kind, number)
            rough = kind == KINDS[2]
            masks[kind] += [draw_stroke(error, draws, rough=rough).mask for _ in range(DRAWS)]
    return masks


def pieces(mask: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the connected pieces of a stroke that are no specks."""
    labelled, count = ndimage.label(mask, structure=np.ones((3, 3)))  # pyright: ignore[reportGeneralTypeIssues]
    sizes = np.bincount(labelled.ravel())
    yield from (labelled == n for n in range(1, count + 1) if sizes[n] >= SMALLEST)


def measure(stroke: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return length (pixels of the centre line), thickness (area by length) and share inside."""
    area, length = np.count_nonzero(stroke), max(np.count_nonzero(thin(stroke)), 1)
    inside = np.count_nonzero(stroke & truth) / area
    return {"thickness": area / length, "length": float(length), "inside the truth": inside}


def quartiles(strokes: list[dict[str, float]]) -> dict[str, object]:
    """Return the number of strokes, and the 25th, 50th and 75th percentile of each measure."""
    return {
        "strokes": len(strokes),
        **{
            name: np.percentile([each[name] for each in strokes], [25, 50, 75]).round(2).tolist()
            for name in MEASURES
        },
    }


def draw(found: dict[str, Strokes], shown: dict[str, tuple]) -> None:
    """Draw one case of each set with all three kinds, and the spread of every measure."""
    figure, axes = plt.subplots(
        len(found), 6, figsize=(13, 2.3 * len(found)), constrained_layout=True
    )
    for line, data in zip(axes, found, strict=True):
        truth, masks = shown[data]
        middle = crop(truth)
        for axis, kind, colour in zip(line, KINDS, COLOURS, strict=False):
            painted = np.full((*truth.shape, 3), 255, dtype=np.uint8)
            painted[truth] = 205
            # one person's strokes, or two simulated ones
            for mask in masks[kind][: 1 if kind == KINDS[0] else 2]:
                painted[mask] = np.array(matplotlib.colors.to_rgb(colour)) * 255
            axis.imshow(painted[middle], interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(f"{data}: {kind}", fontsize=8)
        for axis, (name, unit) in zip(line[3:], MEASURES.items(), strict=True):
            spread = [[each[name] for each in found[data][kind]] for kind in KINDS]
            boxes = axis.boxplot(spread, showfliers=False, patch_artist=True, widths=0.6)
            for box, colour in zip(boxes["boxes"], COLOURS, strict=True):
                box.set_facecolor(colour)
                box.set_alpha(0.5)
            axis.set_xticks([1, 2, 3], ["real", "exact", "rough"], fontsize=8)
            axis.set_title(f"{name} ({unit})", fontsize=8)
            axis.tick_params(axis="y", labelsize=7)
    figure.savefig(RESULTS / "strokes.png", dpi=80)


def crop(truth: np.ndarray) -> tuple[slice, slice]:
    """Return a square around the structures."""
    rows, columns = np.nonzero(truth)
    side = max(np.ptp(rows), np.ptp(columns)) + 40
    top, left = (max(int(each.mean()) - side // 2, 0) for each in (rows, columns))
    return slice(top, top + side), slice(left, left + side)


if __name__ == "__main__":
    main()
