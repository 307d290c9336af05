"""Every setting of an experiment, as one model; YAML in and out."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hidiff.datasets.catalog import CATALOG
from hidiff.hybrid import DiffusionSettings
from hidiff.labels import Labels
from hidiff.loading import DataSettings
from hidiff.prediction import PredictionSettings
from hidiff.refiner import RefinerSettings
from hidiff.segmentors import FILES, SegmentorSettings
from hidiff.training import TrainingSettings, stage2_of
from hidiff.weights import atomic_write


class Retired(NamedTuple):
    """A setting that HiDiff no longer has."""

    default: float
    """the value that leaves everything as it is without the setting"""
    last_version: str
    """the last version of HiDiff that had it"""


RETIRED = {
    "diffusion.prior_temperature": Retired(1.0, "0.1.0"),
    "training.refiner_warmup": Retired(0, "0.1.0"),
}


class Recipe(BaseModel):
    """An experiment: which images, which networks, how they are trained and how they predict."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        pattern=r"^[\w-][\w.-]*$", description="name of the run and of its folder, runs/NAME"
    )
    seed: int = Field(default=0, description="seed of weights, order, augmentation and noise")
    data: DataSettings
    labels: Labels
    segmentor: SegmentorSettings = SegmentorSettings()
    refiner: RefinerSettings = RefinerSettings()
    diffusion: DiffusionSettings = DiffusionSettings()
    training: TrainingSettings = TrainingSettings()
    prediction: PredictionSettings = PredictionSettings()

    @model_validator(mode="after")
    def _files_do_not_train(self) -> "Recipe":
        if self.segmentor.name == FILES and stage2_of(self.training).trains_segmentor:
            raise ValueError(
                "segmentor.name is files, which nothing can train: set training.segmentor=frozen"
            )
        return self

    @model_validator(mode="after")
    def _marks_are_read(self) -> "Recipe":
        if self.training.correction.marks and not self.refiner.hints:
            raise ValueError(
                "training.correction.marks simulates marks of a person, but refiner.hints is "
                "false, so the refiner could not read them. Set refiner.hints=true."
            )
        return self


class RecipeError(ValueError):
    """A recipe that does not hold; the message says where, what came and what is wanted."""


def read_recipe(path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a YAML recipe; `changes` are settings like "training.batch_size=4", values in YAML.

    Labels, channels and intensity that it leaves out are those of the data set in the catalog.
    """
    import yaml  # deferred: a checkpoint's recipe is JSON

    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} does not read as a recipe: {error}") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # the last three are of dates, numbers and depths that YAML's grammar allows
        raise RecipeError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path} holds no settings; a recipe begins with name: and data:")
    # "training:" with nothing under it is None in YAML
    content = {name: value for name, value in content.items() if value is not None}
    # What is changed in a setting that the catalog fills in is changed in the catalog's value.
    sources = [change for change in changes if change.startswith("data.source=")]
    for change in sources:
        _set(content, change)
    content = _fill_from_catalog(content)
    for change in changes:
        _set(content, change)
    return make_recipe(content, str(path))


def change_recipe(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """Return the recipe with settings changed, as `read_recipe` changes them."""
    content = recipe.model_dump(mode="json", exclude_unset=True)
    for change in changes:
        _set(content, change)
    return make_recipe(content)


def read_changes(changes: Sequence[str]) -> dict[str, Any]:
    """Return changes as `read_recipe` takes them as nested settings."""
    content: dict[str, Any] = {}
    for change in changes:
        _set(content, change)
    return content


def make_recipe(content: Mapping[str, Any], source: str = "the recipe") -> Recipe:
    """Make a recipe of plain settings. Raises RecipeError with a line for each wrong one.

    Labels, channels and intensity that are left out are those of the data set in the catalog.
    Retired settings that are at their default are left out: recipes and checkpoints of the
    versions that had them name every setting.
    """
    content, lines = _drop_retired(content)
    content = _fill_from_catalog(content)
    cause = None
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        lines += _explain(error)
        cause = error
    if lines:
        raise RecipeError("\n".join(f"{source}: {line}" for line in lines)) from cause
    return recipe


def _drop_retired(content: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings without the retired ones, and a line for each that has another value."""
    kept, lines = dict(content), []
    for name, retired in RETIRED.items():
        group, _, setting = name.partition(".")
        settings = kept.get(group)
        if not isinstance(settings, Mapping) or setting not in settings:
            continue
        value = settings[setting]
        kept[group] = {key: settings[key] for key in settings if key != setting}
        if value != retired.default:
            lines.append(
                f"{name} is {value!r}, but HiDiff {retired.last_version} was the last version with "
                f"this setting. Leave it out, or use that version."
            )
    return kept, lines


def _fill_from_catalog(content: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with what the catalog knows of the data set and the recipe leaves out."""
    data = content.get("data")
    source = data.get("source") if isinstance(data, Mapping) else None
    entry = CATALOG.get(source) if isinstance(source, str) else None
    if entry is None:
        return content
    known = {"channels": entry.channels, "intensity": entry.intensity}
    filled = {**content, "data": {**_dump_known(known), **content["data"]}}
    return {**_dump_known({"labels": entry.labels}), **filled}


def _dump_known(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are not None as plain values."""
    return {
        name: value.model_dump(mode="json", exclude_unset=True)
        if isinstance(value, BaseModel)
        else value
        for name, value in settings.items()
        if value is not None
    }


def choose_fold(recipe: Recipe, fold: int | None) -> Recipe:
    """Return the recipe of one run of a cross-validation, called NAME_foldK.

    Without a fold it is the recipe itself.
    """
    if fold is None:
        return recipe
    content = recipe.model_dump(mode="json")
    content["data"]["splitting"]["fold"] = fold
    return make_recipe({**content, "name": f"{recipe.name}_fold{fold}"})


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write every setting, defaults too, as YAML."""
    import yaml  # deferred, see read_recipe

    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _set(content: dict[str, Any], change: str) -> None:
    import yaml  # deferred, see read_recipe

    key, separator, value = change.partition("=")
    if not separator or not key:
        raise RecipeError(f"--set {change}: wants name=value, such as training.batch_size=4")
    *parents, last = key.split(".")
    place = content
    for parent in parents:
        if place.get(parent) is None:
            place[parent] = {}
        place = place[parent]
        if not isinstance(place, dict):
            raise RecipeError(f"--set {change}: {parent} is a value, not a group of settings")
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {change}: the value is not YAML: {error}") from error


def _explain(error: ValidationError) -> list[str]:
    """Return a line for each wrong setting, whatever of its type's alternatives was tried."""
    found: dict[tuple[str, ...], Any] = {}
    for each in error.errors():
        found.setdefault(_place(each["loc"])[0], each)
    inner = {place[:length] for place in found for length in range(len(place))}
    return [_explain_one(each) for place, each in found.items() if place not in inner]


def _explain_one(error: Mapping[str, Any]) -> str:
    place, group = _place(error["loc"])
    name = ".".join(place)
    if error["type"] == "extra_forbidden":
        known = list(group.model_fields)
        near = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]}? " if near else ""
        return f"{name} is no setting. {hint}Known here: {', '.join(known)}."
    if error["type"] == "missing":
        return f"{name} is missing, and has no default."
    message = error["msg"].removeprefix("Value error, ")
    return f"{name} = {error.get('input')!r}: {message}" if place else message


def _place(location: Sequence[int | str]) -> tuple[tuple[str, ...], type[BaseModel]]:
    """Return the dotted names of a setting with an error, and the model that defines it.

    For a setting of several types (data.augmentation) pydantic's place also says which was tried.
    """
    names: list[str] = []
    group, tried = Recipe, {}
    for number, part in enumerate(location):
        if part in tried:
            group = tried[part] if number < len(location) - 1 else group
            tried = {}
            continue
        names.append(str(part))
        field = group.model_fields.get(str(part))
        kind = field.annotation if field else None
        tried = {getattr(each, "__name__", ""): each for each in get_args(kind)}
        if number < len(location) - 1 and isinstance(kind, type) and issubclass(kind, BaseModel):
            group = kind
    return tuple(names), group
