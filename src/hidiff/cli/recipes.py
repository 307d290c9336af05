"""Finds a recipe: a file, or one that comes with HiDiff, by its name."""

from pathlib import Path


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with HiDiff, by name; of a wheel, or of a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "recipes", package.parents[1] / "recipes"):
        if folder.is_dir():
            return {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    return {}


def find_recipe(name: Path) -> Path:
    """Return the recipe file with this path, or the recipe of this name that comes with HiDiff."""
    shipped = shipped_recipes()
    if name.is_file():
        return name
    if str(name) in shipped:
        return shipped[str(name)]
    raise FileNotFoundError(
        f"there is no folder and no recipe {name}. Give a folder with images/ and masks/, a recipe "
        f"(a YAML file), or the name of a recipe: {', '.join(shipped) or 'none is installed'}."
    )
