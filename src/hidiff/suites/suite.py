"""A suite in YAML: recipes, seeds, arms, and the evaluations of each trained model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
    field_validator,
    model_validator,
)

from hidiff.suites.corruptions import STRENGTHS, check_corruption

STAGE1, SEGMENTOR_ONLY, HYBRID = "stage1", "segmentor_only", "hybrid"
MAIN_ARMS = (STAGE1, SEGMENTOR_ONLY, HYBRID)
PLAIN = "test"  # the evaluation on the recipe's own test split, as the recipe predicts
Changes = dict[str, Any]  # settings by dotted names, as of `hidiff train --set`


class Evaluation(BaseModel):
    """The data that a trained model is evaluated on, and how it predicts there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Changes = Field(default={}, description="changes of the recipe's data settings")
    split: Literal["validation", "test"] = Field(default="test", description="the cases evaluated")
    corruption: str | None = Field(default=None, description="one of data.corruptions")
    strength: int = Field(default=1, description="strength of the corruption, 1 to 5")
    prediction: Changes = Field(default={}, description="changes of its prediction settings")
    packed: bool = Field(
        default=False,
        description="predict on the CPU with the refiner packed, as by hidiff pack; arms without a "
        "refiner predict as they are",
    )
    corrections: tuple[NonNegativeInt, ...] | None = Field(
        default=None,
        min_length=1,
        description="also correct each image by clicks at its largest errors, at the size that the "
        "networks see, and score the mask after so many of them, such as [0, 1, 3, 5, 10]",
    )
    arms: tuple[str, ...] | None = Field(default=None, description="arms to evaluate; default: all")

    @property
    def changes(self) -> Changes:
        """Return what differs from an evaluation on the recipe's own test split."""
        return self.model_dump(mode="json", exclude={"arms"}, exclude_defaults=True)

    @model_validator(mode="after")
    def _is_known(self) -> "Evaluation":
        if self.corruption is not None:
            check_corruption(self.corruption, self.strength)
            if self.corrections is not None:
                raise ValueError(
                    "corrections are of images as they are, but corruption is "
                    f"{self.corruption}. Make two evaluations of it."
                )
        return self


class SuiteRecipe(BaseModel):
    """A recipe of a suite, with its seeds, arms and evaluations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str = Field(
        description="path of a recipe, relative to the suite's file, or the name of a recipe that "
        "comes with HiDiff"
    )
    changes: Changes = Field(default={}, description="changes of its settings, by dotted names")
    stage1: str | None = Field(
        default=None,
        description="recipe that stage 1 of every arm is trained by, whatever the arm changes: a "
        "segmentor trained on other data. Default: this recipe",
    )
    stage1_changes: Changes = Field(default={}, description="changes of the settings of `stage1`")
    seeds: tuple[int, ...] | None = Field(default=None, description="default: the suite's seeds")
    arms: tuple[str, ...] | None = Field(
        default=None, description="default: all of the suite's arms"
    )
    rates: tuple[float, ...] = Field(
        default=(),
        description="rates of the segmentor in stage 2 that every arm tries, rival and hybrid "
        "alike, unless it sets training.segmentor_rate itself; the best on validation cases "
        "counts, and the first seed chooses for all. Default: the recipe's rate",
    )
    sizes: Literal["objects", "calibre"] | None = Field(
        default=None, description="also evaluate by the size of objects, or the calibre of vessels"
    )
    evaluations: dict[str, Evaluation] = Field(
        default={PLAIN: Evaluation()},
        description="evaluations by name; test is the recipe's own test split",
    )
    corruptions: tuple[str, ...] = Field(
        default=(), description="corruptions, each evaluated at all five strengths"
    )
    corrupted_arms: tuple[str, ...] | None = Field(
        default=None, description="arms evaluated under corruptions; default: all"
    )

    @field_validator("rates")
    @classmethod
    def _are_rates(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(rates)) < len(rates) or any(rate <= 0 for rate in rates):
            raise ValueError(f"rates are {list(rates)}, but must be above 0 and differ")
        return rates

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
        """Return the named evaluations, and five of each corruption."""
        corrupted = {
            f"{kind} {strength}": Evaluation(
                corruption=kind, strength=strength, arms=self.corrupted_arms
            )
            for kind in self.corruptions
            for strength in STRENGTHS
        }
        return {**self.evaluations, **corrupted}


class Suite(BaseModel):
    """Everything that one call of `hidiff benchmark` runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w-]+$", description="name of the suite and its results")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    arms: dict[str, Changes] = Field(
        default={name: {} for name in MAIN_ARMS},
        description="arms by name; stage1, segmentor_only and hybrid change nothing, others are a "
        "hybrid with changes",
    )
    recipes: dict[str, SuiteRecipe] = Field(
        min_length=1, description="recipes by the name that they have in the rows"
    )

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
    """A suite is not valid; the message says where."""


def read_suite(path: Path) -> Suite:
    """Read a suite's YAML. Raises SuiteError with every wrong key on a line of its own.

    Raises FileNotFoundError, which says where suites are, if there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no suite at {path}. Give the path of a YAML file. HiDiff's own suites are not part "
            "of the installed package: they are in research/suites of its source repository, for "
            "example research/suites/main.yaml; docs/benchmarks.md shows how to write one."
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path} cannot be read as a suite: {error}") from error
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


def _empty_for_none(given: Any) -> Any:
    """Replace None by empty settings: YAML reads `hybrid:` with nothing after it as None."""
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
