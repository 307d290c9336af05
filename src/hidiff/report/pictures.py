"""Pictures of single cases: what was seen, what was said, where it is wrong, and every step.

The colours of the classes are those of the overlays that prediction writes.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Bool, Float, Num, Shaped, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hidiff.prediction.writers.overlay import CLASSES
from hidiff.weights import atomic_write

Rgb = UInt8[np.ndarray, "h w 3"]
LabelMap = Num[np.ndarray, "h w"] | Num[np.ndarray, "k h w"]  # k: regions, bits
Trace = Sequence[tuple[int, Shaped[np.ndarray, "k h w"], Shaped[np.ndarray, "k h w"]]]

DARK = (22, 24, 29)  # the background of every label picture
ONE_CLASS = (240, 240, 240)
FAINT = (96, 99, 106)
DIFFERENCES = {
    "found": (190, 190, 190),
    "too much": (230, 97, 0),
    "missed": (86, 180, 233),
    "wrong class": (240, 228, 66),
    "mended": (0, 158, 115),
    "broken": (204, 121, 167),
    "not counted": (58, 62, 71),
}
MOST_STEPS = 16


@dataclass(frozen=True)
class CasePicture:
    """One case to show. Labels are as Labels.decode gives them; scores are of `score_name`."""

    name: str
    image: UInt8[np.ndarray, "h w 3"]
    truth: LabelMap
    prior_labels: LabelMap
    labels: LabelMap
    uncertainty: Float[np.ndarray, "h w"] | Float[np.ndarray, "k h w"]  # bits
    score: float
    prior_score: float | None = None
    score_name: str = "Dice"
    role: str = ""  # "worst", "median", "best"
    inside: Bool[np.ndarray, "h w"] | None = None  # field of view; None: everything counts
    most_bits: float = 1.0  # log2(K) for K exclusive planes: the brightest colour


def case_panels(case: CasePicture) -> dict[str, Rgb]:
    """Return pictures by title, in two rows of four, so that a mask stands over its mistakes."""
    several = has_several_classes(case)
    return {
        "Image": case.image,
        "Truth": paint_labels(case.truth, several),
        "Prior": paint_labels(case.prior_labels, several),
        "Refined": paint_labels(case.labels, several),
        "Uncertainty": paint_uncertainty(case.uncertainty, case.most_bits),
        "Changed": paint_change(case.prior_labels, case.labels, case.truth, case.inside),
        "Prior against truth": paint_difference(case.prior_labels, case.truth, case.inside),
        "Refined against truth": paint_difference(case.labels, case.truth, case.inside),
    }


def paint_labels(labels: LabelMap, several: bool) -> Rgb:
    """Paint each class in its colour, or white if it is the only one.

    Later regions cover earlier ones.
    """
    colours = CLASSES if several else (ONE_CLASS,)
    picture = np.full((*labels.shape[-2:], 3), DARK, np.uint8)
    if labels.ndim == 3:
        masks = enumerate(labels > 0)
    else:
        masks = ((int(v) - 1, labels == v) for v in np.unique(labels) if v > 0)
    for index, mask in masks:
        picture[mask] = colours[index % len(colours)]
    return picture


def paint_difference(
    labels: LabelMap, truth: LabelMap, inside: Bool[np.ndarray, "h w"] | None = None
) -> Rgb:
    """Paint each pixel in its colour of DIFFERENCES; background in both masks is dark."""
    missed, extra, found = differences(labels, truth)
    picture = np.full((*labels.shape[-2:], 3), DARK, np.uint8)
    picture[found & ~missed & ~extra] = DIFFERENCES["found"]
    picture[extra & ~missed] = DIFFERENCES["too much"]
    picture[missed & ~extra] = DIFFERENCES["missed"]
    picture[missed & extra] = DIFFERENCES["wrong class"]
    if inside is not None:
        picture[~inside] = DIFFERENCES["not counted"]
    return picture


def paint_change(
    prior_labels: LabelMap,
    labels: LabelMap,
    truth: LabelMap,
    inside: Bool[np.ndarray, "h w"] | None = None,
) -> Rgb:
    """Paint pixels that refinement made right or wrong; the truth in grey below."""
    wrong_before, wrong = (
        np.logical_or(*differences(each, truth)[:2]) for each in (prior_labels, labels)
    )
    there = (truth > 0).any(axis=0) if truth.ndim == 3 else truth > 0
    picture = np.full((*labels.shape[-2:], 3), DARK, np.uint8)
    picture[there] = FAINT
    picture[wrong_before & ~wrong] = DIFFERENCES["mended"]
    picture[wrong & ~wrong_before] = DIFFERENCES["broken"]
    if inside is not None:
        picture[~inside] = DIFFERENCES["not counted"]
    return picture


def differences(
    labels: LabelMap, truth: LabelMap
) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Return three masks: classes missed, classes predicted where there are none, classes found."""
    if labels.ndim == 3:
        said, there = labels > 0, truth > 0
        kinds = there & ~said, said & ~there, said & there
        missed, extra, found = (np.any(kind, axis=0) for kind in kinds)
        return missed, extra, found
    missed = np.logical_and(labels != truth, truth > 0)
    extra = np.logical_and(labels != truth, labels > 0)
    found = np.logical_and(labels == truth, truth > 0)
    return missed, extra, found


def paint_uncertainty(
    bits: Float[np.ndarray, "h w"] | Float[np.ndarray, "k h w"], most_bits: float = 1.0
) -> Rgb:
    """Paint from black (0) to pale yellow (`most_bits`).

    For regions, the greatest uncertainty counts.
    """
    bits = bits.max(axis=0) if bits.ndim == 3 else bits
    rgba = matplotlib.colormaps["inferno"](np.clip(bits / most_bits, 0, 1), bytes=True)
    return np.ascontiguousarray(rgba[..., :3])


def paint_share(share: Num[np.ndarray, "h w"]) -> Rgb:
    """Paint a probability, or bits: 0 black, 1 white."""
    grey = np.round(np.clip(share, 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def step_panels(trace: Trace, plane: int = 0) -> list[tuple[int, Rgb, Rgb]]:
    """Return (t, yt, the network's output, y0_hat) of one plane, first step first.

    Of more than MOST_STEPS steps an even choice is shown, the first and the last among them.
    """
    count = min(len(trace), MOST_STEPS)
    chosen = np.unique(np.linspace(0, len(trace) - 1, count).round().astype(int))
    return [
        (trace[i][0], paint_share(trace[i][1][plane]), paint_share(trace[i][2][plane]))
        for i in chosen
    ]


def case_png(case: CasePicture) -> bytes:
    """Return all panels of a case in two rows, with titles and a legend, for a slide or a paper."""
    panels = list(case_panels(case).items())
    figure = grid_figure([panels[:4], panels[4:]])
    handles = [
        Patch(facecolor="#{:02x}{:02x}{:02x}".format(*colour), edgecolor="#888", label=name)
        for name, colour in legend_colours([case]).items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    before = "" if case.prior_score is None else f"{case.prior_score:.3f} to "
    figure.suptitle(f"{case.name}: {case.score_name} {before}{case.score:.3f}")
    return figure_png(figure)


def steps_png(trace: Trace, plane: int = 0) -> bytes:
    """Return a picture of every step of one refinement: yt above, y0_hat below."""
    steps = step_panels(trace, plane)
    if not steps:
        raise ValueError("the trace is empty. Predict with the trace kept to draw its steps.")
    above = [(f"yt, t = {t}", yt) for t, yt, _ in steps]
    below = [("y0_hat", y0_hat) for _, _, y0_hat in steps]
    return figure_png(grid_figure([above, below]))


def legend_colours(cases: Sequence[CasePicture]) -> dict[str, tuple[int, int, int]]:
    """Return the part of DIFFERENCES that a legend of these cases needs."""
    used = dict(DIFFERENCES)
    if not any(has_several_classes(case) for case in cases):
        del used["wrong class"]
    if all(case.inside is None for case in cases):
        del used["not counted"]
    return used


def has_several_classes(case: CasePicture) -> bool:
    """Return True if one colour is not enough; cases of a set may differ, so ask `any` of them."""
    maps = (case.truth, case.prior_labels, case.labels)
    return any(labels.ndim == 3 or labels.max() > 1 for labels in maps)


def grid_figure(rows: Sequence[Sequence[tuple[str, Rgb]]]) -> Figure:
    height, width = rows[0][0][1].shape[:2]
    size = 2.2  # inches a panel
    figure = Figure(
        figsize=(size * len(rows[0]), (size * height / width + 0.3) * len(rows) + 0.5),
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for row, panels in zip(axes, rows, strict=True):
        for axis, (title, picture) in zip(row, panels, strict=True):
            axis.imshow(picture)
            axis.set_title(title, fontsize=9)
            axis.axis("off")
    return figure


def figure_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def write_png(content: bytes, path: Path | str) -> None:
    """Write a picture of case_png or steps_png, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
