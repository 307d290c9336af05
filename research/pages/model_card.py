"""Write the card of a model that comes with HiDiff, from cards/card.md and NAME.yaml."""

import re
import string
from pathlib import Path
from typing import Any

import yaml

from hidiff.metrics import RATER_METRICS, Interval
from hidiff.models import ShippedModel
from hidiff.recipe import Recipe
from hidiff.report.format import format_interval, markdown, metric_title
from hidiff.weights import atomic_write

WORDS = Path(__file__).parent / "cards"
SHOWN = ("dice", "sensitivity", "precision", "hd95", "surface_dice")
SAMPLED = {
    "prior": "the prior",
    "pixels": "drawn from the prior, pixel by pixel",
    "refined": "drawn by the refiner",
}
SPLIT_NAMES = {
    "train": "to train on",
    "validation": "to choose the checkpoint by",
    "test": "held back to judge by",
}
CUTS = {
    "half": "both cut at 0.5",
    "expected_dice": "both cut where the map itself expects the best Dice (rule expected_dice)",
}
Facts = dict[str, Any]


def write_card(made: ShippedModel, words: Facts, recipe: Recipe) -> None:
    """The template with words and figures in their places."""
    facts = made.facts
    data, size = words["data"], recipe.data.size or recipe.data.patch_size
    limits = "\n".join(f"- {each}" for each in words["limits"])
    template = string.Template((WORDS / "card.md").read_text(encoding="utf-8"))
    card = template.substitute(
        {key: words[key] for key in ("title", "what", "notice", "example")},
        **{f"data_{key}": data[key] for key in ("name", "url", "by", "holds", "changes")},
        licence=data["licence"],
        licence_url=data["licence_url"],
        cite="\n".join(f"- {each}" for each in data["cite"]),
        name=facts["name"],
        more=f"{words['more']}\n" if "more" in words else "",
        head=front_matter(facts, words),
        split=split_words(facts, words["groups"]),
        training=training_words(facts, recipe),
        results="\n".join(
            result_words(test, each.get("groups"), each["words"])
            for test, each in zip(facts["tests"], words["tests"], strict=True)
        ).rstrip(),
        cut=CUTS[recipe.prediction.rule],
        packing=packing_words(facts),
        limits=string.Template(limits).substitute(size=f"{size[0]}x{size[1]}"),
    )
    with atomic_write(made.card) as temporary:
        temporary.write_text(re.sub(r"\n{3,}", "\n\n", card), encoding="utf-8")
    print(card)


def front_matter(facts: Facts, words: Facts) -> str:
    """Return the front matter that Hugging Face reads from a card."""
    content = {
        "license": "apache-2.0",
        "library_name": "hidiff",
        "pipeline_tag": "image-segmentation",
        "tags": words["tags"],
        "datasets": [facts["data"]["name"]],
        "metrics": ["dice"],
        "model-index": [
            {
                "name": facts["name"],
                "results": [
                    {
                        "task": {"type": "image-segmentation"},
                        "dataset": {"name": test["name"], "type": test["name"].split(",")[0]},
                        "metrics": [
                            {
                                "type": "dice",
                                "value": round(test["metrics"]["dice"]["refined"]["mean"], 4),
                            }
                        ],
                    }
                    for test in facts["tests"]
                ],
            }
        ],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---\n"


def split_words(facts: Facts, groups: str) -> str:
    parts = [
        f"{each['cases']} images of {each['groups']} {groups} {SPLIT_NAMES[split]}"
        for split, each in facts["split"].items()
        if each["cases"]
    ]
    return f"Split: {'; '.join(parts)}. Nobody is on two sides."


def training_words(facts: Facts, recipe: Recipe) -> str:
    training, refiner = facts["training"], facts["training"]["refiner"]
    segmentor = dict(training["segmentor"])
    options = ", ".join(f"{key} {value}" for key, value in segmentor.items() if key != "name")
    height, width = recipe.data.patch_size
    resized = f"images of {'x'.join(map(str, recipe.data.size))}, " if recipe.data.size else ""
    stages = ", ".join(f"{steps} steps of {stage}" for stage, steps in training["stages"].items())
    return (
        f"HiDiff {training['hidiff']}: segmentor `{segmentor['name']}` ({options}), refiner "
        f"{refiner['precision']} of width {refiner['width']} (condition {refiner['condition']}), "
        f"{resized}patches of {height}x{width}, batches of {recipe.training.batch_size}; {stages}, "
        f"{training['pflop']:.2g} PFLOP in {training['minutes']:.0f} minutes on a processor. The "
        f"checkpoint is `{training['checkpoint']}`, of step {training['step']} of "
        f"{training['stage']}. It takes "
        f"{recipe.prediction.steps_of(recipe.diffusion.num_steps)} of T = "
        f"{recipe.diffusion.num_steps} steps, and {recipe.prediction.samples} sample."
    )


def result_words(test: Facts, groups: str | None, words: str) -> str:
    """A table of one set of test data; `groups` are whose images they are, if some are of one."""
    whose = f" of {test['groups']} {groups}" if groups else ""

    def cell(metric: str, source: str) -> str:
        interval = Interval(**test["metrics"][metric][source])
        return format_interval(metric, interval, signed=source == "difference")

    sources = ("prior", "refined", "difference")
    lines = [
        (metric_title(metric, test["unit"]), *(cell(metric, source) for source in sources))
        for metric in SHOWN
    ]
    share = test.get("foreground_outside")
    outside = ""
    if share is not None:
        outside = (
            f"\nOutside the field of view it marks {share:.2%} of the pixels; none is a vessel."
        )
    return (
        f"### {test['name']}\n\n{test['cases']} images{whose}: {words}.\n\n"
        f"{markdown(('metric', *sources), lines)}{outside}{rival_words(test)}{mark_words(test)}"
        f"{scale_words(test)}{sample_words(test)}"
    )


def rival_words(test: Facts) -> str:
    """Return a table of the refined masks beside the segmentor without a refiner; empty if none."""
    lines = [
        (name, dice_cell(each["dice"]), dice_cell(each["difference"], signed=True))
        for name, each in test.get("rivals", {}).items()
    ]
    if not lines:
        return ""
    head = ("segmentor without a refiner", "Dice", "refined less this")
    return f"\n\n{markdown(head, lines)}"


def mark_words(test: Facts) -> str:
    """Return the tables of what marks add; empty if none were made."""
    marks = test.get("marks")
    if not marks:
        return ""
    noun, after = marks["mark"], sorted(int(n) for n in marks["difference"])
    lines = [
        (
            "0",
            f"{dice_cell(marks['dice']['refined'])} (prior {dice_cell(marks['dice']['prior'])})",
            "",
            "",
        )
    ]
    lines += [
        (
            str(n),
            dice_cell(marks["dice"][f"marked {n}"]),
            dice_cell(marks["dice"][f"painted {n}"]),
            dice_cell(marks["difference"][str(n)], signed=True),
        )
        for n in after
    ]
    head = (noun, "the refiner reads them", "painted on the refined mask", "difference")
    columns = {"prior": "prior", "refined": "refined"} | {
        f"{who} {n}": f"{name}, {n} {noun}"
        for n in after
        for who, name in (("painted", "painted"), ("marked", "refiner"))
    }
    what = {
        "object": "Mean Dice by the number of pixels of the foreground",
        "calibre": "Share of vessel pixels that are found, by the width of the vessel in pixels",
    }[marks["size"]]
    sizes = [
        (
            f"{band['name']} ({band['from']:.3g} to {band['to']:.3g})",
            str(band["images"]),
            *(f"{band[column]['mean']:.3f}" for column in columns),
        )
        for band in marks["bands"]
    ]
    return (
        f"\n\nMean Dice of one step, cut at 0.5, with {noun} at the largest errors, at the size "
        f"that the networks see, of the {marks['images']} images that show anything; "
        f"{marks['harmful']:.0%} of the refiner's marks lowered Dice by more than 0.005."
        f"\n\n{markdown(head, lines)}\n\n{what}:\n\n"
        + markdown(("size", "images", *columns.values()), sizes)
    )


def scale_words(test: Facts) -> str:
    """Return the table of crops that show more or less than those learned; empty if none did."""
    scales = test.get("scales")
    if not scales:
        return ""
    lines = [(scale, dice_cell(each)) for scale, each in scales.items()]
    return (
        "\n\nMean Dice where a pixel of the crop is so many times as wide as in training, of the "
        f"images that show anything:\n\n{markdown(('width of a pixel', 'Dice'), lines)}"
    )


def sample_words(test: Facts) -> str:
    """Return the table of samples against raters; empty if none were drawn."""
    found = test.get("samples")
    if not found:
        return ""
    lines = [
        (
            SAMPLED[point["method"]],
            str(point["samples"]),
            *(format_interval(name, Interval(**point[name])) for name in RATER_METRICS),
        )
        for point in found["points"]
    ]
    head = ("masks", "number", *map(metric_title, RATER_METRICS))
    return (
        f"\n\nSamples of {found['steps']} steps at temperature 1, cut at 0.5, against the masks of "
        f"all four raters:\n\n{markdown(head, lines)}"
    )


def dice_cell(interval: Facts, signed: bool = False) -> str:
    """Return Dice, or a difference of it, with its interval."""
    return format_interval("dice", Interval(**interval), signed=signed)


def packing_words(facts: Facts) -> str:
    file, machine = facts["file"], facts["machine"]
    lines = [
        f"- {test['name']}: {test['packing']['same_pixels']:.3%} of the pixels as the float model "
        f"says, Dice {test['packing']['dice_change']:+.5f}; {test['seconds']:.2g} s of processor "
        "time an image (median, reading included)"
        for test in facts["tests"]
    ]
    return (
        f"{file['bytes'] / 2**20:.1f} MiB out of {file['bytes_before'] / 2**20:.1f}: the refiner's "
        f"1-bit layers as bits, its condition blocks in {file['condition_storage']} and the "
        f"segmentor in {file['segmentor_storage']} precision, read back as float32. Against the "
        f"checkpoint it was packed from ({machine['processor']}, torch {machine['torch']}, "
        f"threads: {machine['threads']}):\n\n" + "\n".join(lines)
    )
