"""The options of `predict`, `refine` and `evaluate`, made from the settings of a prediction."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from hidiff.cli.errors import Mistake
from hidiff.prediction.settings import PredictionSettings

SettingChanges = dict[str, Any]
"""the settings of a prediction that the command line changes, by their names"""


def with_prediction_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each setting of a prediction, in place of its `changes`.

    The command is called with `changes`, the settings that were given, checked as far as they can
    be without a model. Raises Mistake, naming the option, for a value that no model takes.
    """
    return with_settings("changes", PredictionSettings, "Prediction")(command)


def with_settings(
    argument: str, model: type[BaseModel], panel: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator: an option for each setting of a model, in place of one argument.

    The command is called with the settings that were given, by name, checked.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        own = [each for name, each in signature.parameters.items() if name != argument]
        made = [_parameter(name, field, panel) for name, field in model.model_fields.items()]

        @wraps(command)
        def run(**given: Any) -> None:
            settings = {each.name: given.pop(each.name) for each in made}
            command(**given, **{argument: _check(settings, model)})

        by_keyword = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
        parameters = [*by_keyword, *made]
        setattr(run, "__signature__", signature.replace(parameters=parameters))  # noqa: B010
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def check_steps(changes: Mapping[str, Any], num_steps: int | None) -> None:
    """Raise Mistake for more steps than the `num_steps` of a model's diffusion, if it is known."""
    steps = changes.get("steps")
    if steps is not None and num_steps is not None and steps > num_steps:
        raise Mistake(
            f"--steps {steps}, but this model was trained with T = {num_steps} steps. "
            f"Use 1 to {num_steps}."
        )


def _parameter(name: str, field: FieldInfo, panel: str) -> inspect.Parameter:
    """Return a command's parameter for a setting; left out, it is None."""
    option = f"--{name.replace('_', '-')}"
    if field.annotation is bool:
        option = f"{option}/--no-{name.replace('_', '-')}"
    info = typer.Option(
        option,
        help=_sentence(field.description or ""),
        rich_help_panel=panel,
        min=_smallest(field),
    )
    kind = Annotated[field.annotation | None, info]  # pyright: ignore[reportOptionalOperand]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _smallest(field: FieldInfo) -> int | float | None:
    """Return the smallest value of a setting, if it has one."""
    return next((limit.ge for limit in field.metadata if hasattr(limit, "ge")), None)


def _sentence(description: str) -> str:
    return f"{description[:1].upper()}{description[1:]}."


def _check(settings: Mapping[str, Any], model: type[BaseModel]) -> SettingChanges:
    changes = {name: value for name, value in settings.items() if value is not None}
    try:
        model(**changes)
    except ValidationError as error:
        raise Mistake("\n".join(_explain(error))) from error
    return changes


def _explain(error: ValidationError) -> Iterator[str]:
    for each in error.errors():
        option = str(each["loc"][0]).replace("_", "-")
        yield f"--{option} {each['input']}: {each['msg']}"
