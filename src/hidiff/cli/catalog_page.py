"""docs/data.md, made from the catalog by `hidiff data list --markdown`."""

from hidiff.datasets import CATALOG, PREPARERS, CatalogEntry
from hidiff.images import Intensity

HEAD = """# Data sets

The data sets that HiDiff knows by name, as `data.source` of a recipe. This page is made by `make
docs` (`hidiff data list --markdown`) from the table in `src/hidiff/datasets/catalog.py`; to add a
set, write a function in `layouts.py` and a row there. Nothing is downloaded for you. The terms are
as commonly known, so read the publisher's before use.

`hidiff data prepare NAME SOURCE` counts what a download holds against what the set should hold,
and writes a folder for those that are not read as they come. It can be run twice, and leaves a
folder whole or not at all. Splits are by patient (or sequence, child, slab), are written to
`splits.json` in a run's folder with a hash, and a group on two sides stops training.

Several raters: a folder a rater in `masks/` (`masks/anna/`, `masks/ben/`), each with a mask of the
image's name. Training shows one rater a draw; evaluation takes what at least half of them say as
the truth (of exclusive classes: what most say).

Cross-validation: `hidiff train RECIPE --fold 0`, and so on to 4, trains on the training and
validation cases in turns; `hidiff predict runs/NAME IMAGES --folds` averages all folds' models, and
so do `hidiff evaluate --folds` and `hidiff.load` of several paths.

"""


def catalog_page() -> str:
    """Return the page docs/data.md."""
    lines = ["| name | what | classes | cases | recipe |", "|---|---|---|---|---|"]
    for name, entry in CATALOG.items():
        cases = str(entry.holds.cases) if entry.holds else ""
        recipe = f"`{entry.recipe}`" if entry.recipe else ""
        lines.append(
            f"| [`{name}`](#{name}) | {entry.title} | {entry.classes} | {cases} | {recipe} |"
        )
    sections = [section(name, entry) for name, entry in CATALOG.items()]
    return HEAD + "\n".join(lines) + "\n" + "".join(sections)


def section(name: str, entry: CatalogEntry) -> str:
    """Describe one data set in Markdown."""
    rows = {
        "modality": entry.modality,
        "layout": entry.layout,
        "prepared from": PREPARERS[name].source if name in PREPARERS else "",
        "split": entry.split,
        "channels": str(entry.channels or "yours"),
        "planes": planes(entry),
        "intensity": intensity(entry.intensity),
        "augmentation": entry.augmentation,
        "whole": whole(entry),
        "terms": entry.terms,
        "citation": entry.citation,
    }
    body = "".join(f"- {key}: {value}\n" for key, value in rows.items() if value)
    return f"\n## {name}\n\n{entry.title}\n\n{body}"


def planes(entry: CatalogEntry) -> str:
    if entry.labels is None:
        return "yours"
    values = "; ".join(
        f"{name} {', '.join(map(str, each))}" for name, each in entry.labels.classes.items()
    )
    return f"{entry.labels.num_planes}, {entry.labels.kind}: {values}"


def intensity(chosen: Intensity | None) -> str:
    if chosen is None:
        return ""
    return (
        f"{chosen.kind}, white is {chosen.full_scale:g}" if chosen.kind == "unit" else chosen.kind
    )


def whole(entry: CatalogEntry) -> str:
    if entry.holds is None:
        return ""
    raters = f", {entry.holds.raters} raters" if entry.holds.raters > 1 else ""
    return f"{entry.holds.cases} cases of {entry.holds.groups} groups{raters}"
