"""Make docs/speed.md: every target of speed, before and after, from the measurements.

It also makes the tables of docs/correction.md and docs/kernels.md.

    python research/pages/speed_page.py

It reads the results of research/speed. A row that was not measured is left out.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.pages.reading import DOCS, ROOT, replace_part, write_text
from research.pages.timing_tables import corrections_table, kernels_compared, kernels_table

RESULTS = ROOT / "research" / "speed" / "results"
# Milliseconds of one core before crops, of commit 04fd573 (research/speed/corrections.py).
CORRECTIONS_BEFORE = {128: (59.4, 80.3, 295), 256: (141.2, 270.9, 1634), 512: (193.2, 237.9, 1146)}
Row = tuple[str, ...]


def main() -> None:
    rows = [*start_up(), *end_to_end(), *corrections(), *steps()]
    parts = [
        "# Speed: targets and figures",
        "`make docs` makes this page from the results in [research](../research); change no number "
        "by hand. Times are the processor's, on one thread; ratios are of two things that ran in "
        "turn. The machine was busy with other work, so no time by the clock is given.",
        "## Targets",
        table(("what", "target", "before", "after", "verdict"), rows),
        *missed(),
        *volumes(),
        *certain(),
        *crops(),
        *growth(),
    ]
    write_text(DOCS / "speed.md", *parts)
    replace_part(DOCS / "correction.md", "times", corrections_table(read("corrections")))
    replace_part(DOCS / "kernels.md", "times", kernels_table(read("kernels")))
    replace_part(DOCS / "kernels.md", "compared", kernels_compared(read("kernels")))


def read(name: str) -> Any:
    """Return a result, or None if it was not measured."""
    file = RESULTS / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def by_label(name: str) -> dict[str, Any]:
    """Return the rows of a result by their labels."""
    return {row["label"]: row for row in read(name) or []}


def judge(value: float, target: float, *, most: bool) -> str:
    """Return whether a value is at most, or at least, its target."""
    return "met" if (value <= target if most else value >= target) else "**missed**"


def start_up() -> Iterable[Row]:
    rows = by_label("startup")
    if {"before", "after"} <= rows.keys():
        before, after = (rows[label]["ratio"] for label in ("before", "after"))
        yield (
            "`hidiff predict` without the prediction, over `import torch`",
            "at most 1.5",
            f"{before:.2f}",
            f"{after:.2f}",
            judge(after, 1.5, most=True),
        )


NAMES = {
    "vessels": "`vessels`, 480x500",
    "made": "width 16, one window of 256x256",
}
RATIOS = {
    "refined_over_unrefined": "over the segmentor alone in {runtime}",
    "refined_over_torch_unrefined": "over the segmentor alone in torch",
}


def end_to_end() -> Iterable[Row]:
    rows = {(row["model"], row["label"]): row for row in read("end_to_end") or []}
    for model, name in NAMES.items():
        now, before = rows.get((model, "now")), rows.get((model, "before"))
        if now is None:
            continue
        for runtime in now["runtimes"]:
            for ratio, words in RATIOS.items():
                if runtime == "torch" and ratio == "refined_over_torch_unrefined":
                    continue  # the same number again
                value, target = now["runtimes"][runtime][ratio], now["targets"][ratio]
                former = before and before["runtimes"].get(runtime, {}).get(ratio)
                yield (
                    f"refined mask, {name}, in {runtime}, {words.format(runtime=runtime)}",
                    f"at most {target}",
                    f"{former:.2f}" if former else "",
                    f"{value:.2f}",
                    judge(value, target, most=True),
                )
        for runtime, figures in now["runtimes"].items():
            if runtime != "torch":
                equal = 100 * figures["labels_equal"]
                yield (
                    f"labels that equal torch's, {name}, in {runtime}",
                    "at least 99.9 %",
                    "",
                    f"{equal:.2f} %",
                    judge(equal, 99.9, most=False),
                )


def corrections() -> Iterable[Row]:
    measured = (read("corrections") or {}).get("measured", [])
    for row in measured:
        if (row["width"], row["image"], row["kind"]) != (32, 512, "packed"):
            continue
        later, first = row["later_ms"], row["first_ms"]["cpu_median"]
        values = (later["cpu_median"], later["cpu_p95"], first)
        words = ("median", "95th percentile", "first mark on a given mask")
        for value, word, target, former in zip(
            values, words, (100, 200, 500), CORRECTIONS_BEFORE[row["window"]], strict=True
        ):
            yield (
                f"a correction, width 32, 512x512, windows of {row['window']}: {word}",
                f"under {target} ms",
                f"{former:.0f} ms",
                f"{value:.0f} ms",
                judge(value, target, most=True),
            )
        if "prepared_ms" in row:
            value = row["prepared_ms"]["cpu_median"]
            yield (
                f"a correction, width 32, 512x512, windows of {row['window']}: first mark of a "
                "session prepared before",
                "under 500 ms",
                "",
                f"{value:.0f} ms",
                judge(value, 500, most=True),
            )


def steps() -> Iterable[Row]:
    rows = by_label("step_against")
    for width, figures in rows.get("avx2", {}).get("times_faster", {}).items():
        yield (
            f"a step with AVX2, width {width}, 256x256: times faster than commit 2fce81a",
            "at least 1.5",
            "1",
            f"{figures['ratio']:.2f}",
            judge(figures["ratio"], 1.5, most=False),
        )
    for width, figures in rows.get("avx2_twin", {}).get("times_faster_than_twin", {}).items():
        yield (
            f"a step with AVX2, width {width}, 256x256: times faster than its float twin",
            "at least 8",
            "",
            f"{figures['ratio']:.2f}",
            judge(figures["ratio"], 8, most=False),
        )


def missed() -> Iterable[str]:
    rows = [row for row in read("end_to_end") or [] if row["label"] == "now"]
    if not rows:
        return
    yield "## Where the time goes"
    yield (
        "Shares of the time of one refined prediction, from a profile. `rest` is cutting and "
        "blending windows, the diffusion's arithmetic and the labels."
    )
    parts = [part for part in rows[0]["runtimes"]["torch"]["by_part_ms"] if "of which" not in part]
    body = []
    for row in rows:
        for runtime, figures in row["runtimes"].items():
            times = figures["by_part_ms"]
            whole = sum(times.get(part, 0) for part in parts)
            shares = (f"{100 * times.get(part, 0) / whole:.0f} %" for part in parts)
            body.append((NAMES[row["model"]], runtime, *shares))
    yield table(("model", "segmentor in", *parts), body)
    yield (
        "`vessels` misses its targets as its refiner works on every pixel with 16 channels, behind "
        "a light segmentor whose mask has a quarter of the size. The largest part is float "
        "convolutions on the image, but the others alone would miss them too: only a smaller "
        "refiner would meet them. First marks on "
        "a given mask wait for the segmentor, which runs on whole windows; those of a session that "
        "was prepared while its image was looked at (`Session.prepare`, which the server calls by "
        "itself) do not."
    )


def volumes() -> Iterable[str]:
    rows = read("volumes") or []
    if not rows:
        return
    yield "## A whole volume"
    yield (
        "Processor seconds for a test volume, and all the memory of the process, with Python, "
        "torch and the networks."
    )
    body = [
        (
            f"{row['label']}, up to {'x'.join(map(str, figures['largest']))}",
            way,
            f"{figures['seconds']:.1f}",
            f"{figures['seconds'] / row['ways']['segmentor alone']['seconds']:.2f}",
            str(figures["peak_mib"]),
        )
        for row in rows
        for way, figures in row["ways"].items()
    ]
    yield table(("volumes", "way", "seconds", "over the segmentor alone", "MiB"), body)


def certain() -> Iterable[str]:
    rows = read("certain") or []
    if not rows:
        return
    yield "## Windows without doubt"
    yield (
        "Windows whose prior is within a bound of 0 or 1 in every pixel and plane are not refined "
        "(`prediction.certain`); with the rule `expected_dice`, as in `vessels`, all are. Time is "
        "that with the bound over that without; where every window was refined, it shows how exact "
        "such a ratio is here."
    )
    body = [
        (
            row["label"],
            str(row["images"]),
            bound,
            f"{figures['labels_changed_per_100000']:g}",
            f"{100 * figures['windows_kept']:.0f} %",
            f"{figures['time_ratio']:.2f}",
            f"{figures['largest_change']:.3f}",
        )
        for row in rows
        for bound, figures in row["bounds"].items()
    ]
    names = ("model", "images", "bound", "labels changed of 100,000", "windows not refined",
             "time", "largest change of a probability")  # fmt: skip
    yield table(names, body)


def crops() -> Iterable[str]:
    result = read("cropped_corrections")
    if result is None:
        return
    yield "## Corrections in large windows"
    yield (
        "Of a window much larger than the reach of a mark, a crop is refined: the reach and "
        f"{result['margin_px']} pixels around it. So labels near the mark can differ from those of "
        f"the whole window. Clicks at random places, model `{result['model']}`:"
    )
    body = [
        (
            str(row["window"]),
            str(row["clicks"]),
            f"{row['labels_changed']:g}",
            f"{row['labels_differ']:g}",
            f"{row['time_ratio']:.2f}",
        )
        for row in result["measured"]
    ]
    names = ("window", "clicks", "labels within reach that a click changes, of 100,000",
             "that differ by the crop", "time with crops over without")  # fmt: skip
    yield table(names, body)


def growth() -> Iterable[str]:
    result = read("growth")
    if result is None:
        return
    yield "## Growth"
    yield (
        "Time and memory of a packed prediction against the number of pixels, samples, classes and "
        "slices. A slope of 1 means twice as much for twice as many; it is that of the last three "
        "points. Memory is what the prediction takes beyond the loaded model."
    )
    yield "![Time and memory against size](images/growth.png)"
    body = [
        (
            name,
            f"{series['measured'][0][name]} to {series['measured'][-1][name]}",
            f"{series['slope']['seconds']:.2f}",
            f"{series['slope']['mib']:.2f}",
        )
        for name, series in result["series"].items()
    ]
    yield table(("what grows", "from, to", "slope of time", "slope of memory"), body)


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
