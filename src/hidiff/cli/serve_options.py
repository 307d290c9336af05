"""The options of `serve` and `app`, made from the settings of a server."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from hidiff.cli.errors import Mistake
from hidiff.serve.settings import ServeSettings


def with_serve_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each setting of a server, in place of its `settings`.

    Raises Mistake, naming the option, for a value that no server takes.
    """
    signature = inspect.signature(command)
    own = [each for name, each in signature.parameters.items() if name != "settings"]
    made = [_parameter(name, field) for name, field in ServeSettings.model_fields.items()]

    @wraps(command)
    def run(**given: Any) -> None:
        came = {each.name: given.pop(each.name) for each in made}
        command(**given, settings=_check(came))

    by_keyword = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    parameters = [*by_keyword, *made]
    setattr(run, "__signature__", signature.replace(parameters=parameters))  # noqa: B010
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    """Return a command's parameter for a setting; left out, it is None."""
    several = get_origin(field.annotation) is tuple
    text = field.description or ""
    info = typer.Option(
        f"--{name.replace('_', '-')}",
        help=f"{text[:1].upper()}{text[1:]}.",
        rich_help_panel="Server",
        show_default=False if several or field.default is None else str(field.default),
    )
    kind = Annotated[list[str] | None if several else field.annotation | None, info]  # pyright: ignore[reportOptionalOperand]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _check(given: dict[str, Any]) -> ServeSettings:
    changes: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value not in (None, [])
    }
    try:
        settings = ServeSettings.model_validate(changes)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise Mistake(f"--{option} {first['input']}: {first['msg']}") from error
    settings.check()
    return settings
