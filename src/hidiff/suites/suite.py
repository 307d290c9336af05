"""A suite: recipes x seeds x arms x what they are judged on, as one YAML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hidiff.suites.corruptions import STRENGTHS, check_corruption

STAGE1, SEGMENTOR_ONLY, HYBRID = "stage1", "segmentor_only", "hybrid"
MAIN_ARMS = (STAGE1, SEGMENTOR_ONLY, HYBRID)
PLAIN = "test"  # the evaluation on the recipe's own test split, as the recipe predicts
Changes = dict[str, Any]  # settings by dotted names, as of `hidiff train --set`


class Evaluation(BaseModel):
    """What a trained model is judged on, and how it predicts there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Changes = Field(default={}, description="settings of the recipe's data to change")
    corruption: str | None = Field(default=None, description="one of data.corruptions")
    strength: int = Field(default=1, description="of the corruption, 1 to 5")
    prediction: Changes = Field(default={}, description="settings of its prediction to change")
    packed: bool = Field(
        default=False,
        description="predict with the refiner packed, as by hidiff pack, on the CPU; arms without "
        "a refiner as they are",
    )
    arms: tuple[str, ...] | None = Field(default=None, description="left out: all arms")

    @property
    def changes(self) -> Changes:
        """Return what differs from an evaluation on the recipe's own test split."""
        return self.model_dump(mode="json", exclude={"arms"}, exclude_defaults=True)

    @model_validator(mode="after")
    def _is_known(self) -> "Evaluation":
        if self.corruption is not None:
            check_corruption(self.corruption, self.strength)
        return self


class SuiteRecipe(BaseModel):
    """A recipe of a suite, and what is done with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str = Field(
        description="a file, looked for beside the suite's own, or the name of one that comes "
        "with HiDiff"
    )
    changes: Changes = Field(default={}, description="of its settings, by dotted names")
    stage1: str | None = Field(
        default=None,
        description="a recipe like that, which stage 1 of every arm is trained by, whatever the "
        "arm changes: a segmentor of other data, brought here. Left out: this one",
    )
    stage1_changes: Changes = Field(default={}, description="of the settings of `stage1`")
    seeds: tuple[int, ...] | None = Field(default=None, description="left out: the suite's")
    arms: tuple[str, ...] | None = Field(default=None, description="left out: all of the suite's")
    sizes: Literal["objects", "calibre"] | None = Field(
        default=None, description="judge by size too: of objects, or of vessels"
    )
    evaluations: dict[str, Evaluation] = Field(
        default={PLAIN: Evaluation()}, description="by name; test is the recipe's own test split"
    )
    corruptions: tuple[str, ...] = Field(
        default=(), description="more evaluations: each of these at all five strengths"
    )
    corrupted_arms: tuple[str, ...] | None = Field(
        default=None, description="the arms that meet them; left out: all"
    )

    @field_validator("evaluations", mode="before")
    @classmethod
    def _nothing_is_no_change(cls, given: Any) -> Any:
        return _empty_for_none(given)

    @model_validator(mode="after")
    def _has_a_stage1_to_change(self) -> "SuiteRecipe":
        if self.stage1_changes and not self.stage1:
            raise ValueError("stage1_changes is given, but no stage1 that it could change")
        return self

    @property
    def all_evaluations(self) -> dict[str, Evaluation]:
        """Those by name, and those of corruptions."""
        corrupted = {
            f"{kind} {strength}": Evaluation(
                corruption=kind, strength=strength, arms=self.corrupted_arms
            )
            for kind in self.corruptions
            for strength in STRENGTHS
        }
        return {**self.evaluations, **corrupted}


class Suite(BaseModel):
    """Everything that one `hidiff benchmark` runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w-]+$", description="of the results' folder")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    arms: dict[str, Changes] = Field(
        default={name: {} for name in MAIN_ARMS},
        description="stage1, segmentor_only and hybrid, which change nothing; any other name is a "
        "hybrid with the changes it lists",
    )
    recipes: dict[str, SuiteRecipe] = Field(min_length=1, description="by the name they go by")

    @field_validator("arms", mode="before")
    @classmethod
    def _nothing_is_no_change(cls, given: Any) -> Any:
        return _empty_for_none(given)

    @model_validator(mode="after")
    def _arms_are_there(self) -> "Suite":
        for name in MAIN_ARMS:
            if self.arms.get(name):
                raise ValueError(
                    f"the arm {name} changes nothing, so give it no settings: call the arm that "
                    "does by another name"
                )
        for place, each in self.recipes.items():
            asked = [each.arms, *(one.arms for one in each.all_evaluations.values())]
            for name in {name for names in asked for name in names or ()}:
                if name not in self.arms:
                    raise ValueError(
                        f"recipes.{place} wants the arm {name!r}, but the arms are "
                        f"{', '.join(self.arms)}"
                    )
        return self


class SuiteError(ValueError):
    """A suite that does not hold; the message says where."""


def read_suite(path: Path) -> Suite:
    """Read a suite's YAML. Raises SuiteError, with every wrong key on a line."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path} does not read as a suite: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SuiteError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise SuiteError(f"{path} holds no suite, which begins with name: and recipes:")
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        raise SuiteError(
            "\n".join(f"{path}: {_explain(each)}" for each in error.errors())
        ) from None


def shipped_suites() -> dict[str, Path]:
    """The suites that come with HiDiff, by name: of a wheel, or of a checkout."""
    package = Path(__file__).parent
    for folder in (package / "files", package.parents[2] / "suites"):
        if folder.is_dir():
            return {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    return {}


def find_suite(name: Path) -> Path:
    """The file of that path, or the suite of that name that comes with HiDiff."""
    shipped = shipped_suites()
    if name.is_file():
        return name
    if str(name) in shipped:
        return shipped[str(name)]
    raise FileNotFoundError(
        f"no suite at {name}. Give the path of a YAML file, or one of those that come with HiDiff: "
        f"{', '.join(shipped) or 'none is installed'}."
    )


def _empty_for_none(given: Any) -> Any:
    """`hybrid:` with nothing after it is None in YAML."""
    if not isinstance(given, dict):
        return given
    return {name: {} if value is None else value for name, value in given.items()}


MODELS: dict[bool, type[BaseModel]] = {True: SuiteRecipe, False: Suite}


def _explain(error: Mapping[str, Any]) -> str:
    names = [str(part) for part in error["loc"]]
    place = ".".join(names)
    if error["type"] == "extra_forbidden":
        group = Evaluation if "evaluations" in names else MODELS[len(names) > 1]
        return f"{place} is no key of a suite. Known here: {', '.join(group.model_fields)}."
    if error["type"] == "missing":
        return f"{place} is missing, and has no default."
    message = error["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
