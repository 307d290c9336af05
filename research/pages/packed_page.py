"""Make docs/packed_figures.md, and its picture, from the measurements of packed models.

    python research/pages/packed_page.py

It reads packed.json and segmentor_runtimes.json of research/speed/results, and packed_parity.json
of research/reliability/results.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.pages.reading import DOCS, ROOT, write_text

RESULTS = {
    "packed": "speed",
    "packed_parity": "reliability",
    "segmentor_runtimes": "speed",
}  # name of the file -> folder of research/ that its script is in
PICTURE = Path("images") / "packed_scaling.png"
SETTINGS = {
    "as_trained": "as the recipe says",
    "temperature_1": "temperature 1, 1 sample",
    "temperature_1_4_samples": "temperature 1, 4 samples",
}
MODELS = {
    "real": "real twin, s",
    "binary": "1-bit in floats, s",
    "packed": "packed, s",
    "packed_int8": "and computed in int8, s",
}


def main() -> None:
    packed, parity, runtimes = (
        json.loads((ROOT / "research" / folder / "results" / f"{name}.json").read_text())
        for name, folder in RESULTS.items()
    )
    draw(packed["scaling"]["measured"], DOCS / PICTURE)
    parts = [
        "# Packed models, measured",
        "`make docs` makes this page from the results in [research](../research); change no number "
        "by hand. [packed.md](packed.md) explains packing. Times are medians of variants that ran "
        "in turn.",
        *steps(packed["step"]),
        *refinements(packed["refinement"]),
        *sizes(packed["size"], packed["memory"]),
        "## Scaling",
        f"Packed, `each_step`. {on(packed['scaling'])}.",
        f"![Seconds against pixels, width, samples and threads]({PICTURE.as_posix()})",
        *same_answer(parity),
        *segmentor(runtimes),
    ]
    write_text(DOCS / "packed_figures.md", *parts)


def steps(measured: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            row["width"],
            f"{row['size']}x{row['size']}",
            row["batch"],
            f"`{row['condition']}`",
            *(f"{row['seconds'][name]:.3f}" if name in row["seconds"] else "" for name in MODELS),
            f"{row['times_faster_than_real']:.1f}",
            f"{row['times_faster_than_1_bit_in_floats']:.1f}",
        )
        for row in measured["measured"]
    ]
    names = ("width", "pixels", "images", "condition", *MODELS.values(),
             "packed: times faster than the twin", "than 1-bit in floats")  # fmt: skip
    words = f"The part that depends on the image only is left out. {on(measured)}, kernel "
    return ["## One step of the refiner", f"{words}{measured['kernel']}.", table(names, rows)]


def refinements(measured: Mapping[str, Any]) -> list[str]:
    rows = measured["measured"]
    first = rows[0]
    words = (
        f"{first['steps']} steps at width {first['width']}, {first['size']}x{first['size']}, the "
        f"segmentor included. The paper's code needs {first['published_seconds'][0]} to "
        f"{first['published_seconds'][1]} seconds on two such cores."
    )
    seconds = [
        (
            f"`{row['condition']}`",
            row["samples"],
            *(f"{row['seconds'][name]:.2f}" if name in row["seconds"] else "" for name in MODELS),
        )
        for row in rows
    ]
    return [
        "## A whole refinement",
        words,
        table(("condition", "samples", *MODELS.values()), seconds),
    ]


def sizes(size: Mapping[str, Any], memory: Mapping[str, Any]) -> list[str]:
    facts, peak = size["measured"], memory["measured"]
    rows = [
        (name.replace("_", " "), f"{mib:.1f}", f"{facts['times_smaller'][name]:.1f}")
        for name, mib in facts["refiner_mib"].items()
    ]
    peaks = ", ".join(f"{name} {mib}" for name, mib in peak["refinement_peak_mib"].items())
    return [
        "## Size and memory",
        f"The refiner of width {facts['width']}, without its segmentor:",
        table(("file", "MiB", "times smaller"), rows),
        f"Peak memory that a refinement at width {peak['width']}, {peak['size']}x{peak['size']}, "
        f"adds, in MiB: {peaks}.",
    ]


def same_answer(parity: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            words,
            name.replace("_", " "),
            f"{100 * share:.3f}",
            f"{100 * parity[setting]['agreement_least'][name]:.3f}",
            f"{parity[setting]['dice_difference'][name]:+.5f}",
        )
        for setting, words in SETTINGS.items()
        if setting in parity
        for name, share in parity[setting]["agreement_mean"].items()
    ]
    names = ("prediction", "model", "equal, %, mean", "least", "Dice, difference")
    return [
        "## Are the masks the same?",
        f"The model {parity['model']} (width {parity['width']}) on {parity['cases']} images of its "
        f"{parity['split']} split, against the float model with the same draws. Equal is the share "
        "of pixels with equal labels, among those that either model labels foreground. `layout` is "
        "the float model in another memory layout: it shows the effect of rounding alone.",
        table(names, rows),
    ]


def segmentor(found: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            name,
            f"{milliseconds:.1f}",
            f"{found['seconds_to_load'][name]:.1f}",
            *(
                f"{100 * found['agreement_least'][name][what]:.3f}" if name != "torch" else ""
                for what in ("prior", "refined")
            ),
        )
        for name, milliseconds in found["milliseconds"].items()
    ]
    height, width = found["window"]
    return [
        "## The segmentor's runtime",
        f"The `{found['segmentor']}` of the model {found['model']}, a window of {height}x{width}; "
        f"equal pixels as above, the least of {found['cases']} images. {on(found)}.",
        table(("runtime", "ms a window", "s to load", "prior equal, %", "refined equal, %"), rows),
    ]


def on(measured: Mapping[str, Any]) -> str:
    machine = measured["machine"]
    return f"On {machine['threads']} threads of {machine['processor']}, torch {machine['torch']}"


def table(names: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table in Markdown; every column but the first is right-aligned."""
    names = list(names)
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def draw(measured: Mapping[str, Any], file: Path) -> None:
    """Draw seconds against pixels, width, samples and threads."""
    width, size, found = measured["width"], measured["size"], measured["seconds"]
    titles = {
        "pixels": f"a step, width {width}",
        "width": f"a step, {size}x{size}",
        "samples": f"10 steps, width {width}, {size}x{size}",
        "threads": f"a step, width {width}, {size}x{size}",
    }
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), constrained_layout=True)
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        x, y = [float(key) for key in found[name]], list(found[name].values())
        axis.plot(x, y, marker="o")
        axis.set_xlabel(name)
        axis.set_ylabel("seconds")
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
        if name == "pixels":
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_xticks(x, [f"{each**0.5:.0f}²" for each in x])
            axis.minorticks_off()
        else:
            axis.set_xticks(x, [f"{each:g}" for each in x])
            axis.set_ylim(bottom=0)
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
