"""docs/data.md, made from the catalog by `hidiff data list --markdown`."""

from hidiff.datasets import CATALOG, PREPARERS, CatalogEntry
from hidiff.images import Intensity

HEAD = """# Data sets

HiDiff knows these data sets by name: the name is `data.source` in a recipe. Nothing is downloaded
for you. Read the publisher's terms before use; those below are as commonly known.

- `hidiff data prepare NAME SOURCE` counts the files of a download and compares them with the full
  set. If a set cannot be read as it comes, it writes a new folder. You can repeat it: a folder is
  complete or not there.
- Splits are by patient (or sequence, child, slab). A run's folder has them in `splits.json`, with
  a hash. A patient in two splits stops training.
- **Several raters**: make a folder for each rater in `masks/` (`masks/anna/`, `masks/ben/`), with
  masks that have the images' names. Training shows one rater at a time. Evaluation takes as the
  truth what at least half of the raters marked; for exclusive classes, what most of them marked.
- **Cross-validation**: `hidiff train RECIPE --fold 0`, and so on to 4. The folds divide the
  training and validation cases. `hidiff predict runs/NAME IMAGES --folds` averages the models of
  all folds, and so do `hidiff evaluate --folds` and `hidiff.load` with several paths.
- `make docs` makes this page (`hidiff data list --markdown`) from
  `src/hidiff/datasets/catalog.py`. To add a set, write a function in `layouts.py` and a row in
  the catalog.

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
