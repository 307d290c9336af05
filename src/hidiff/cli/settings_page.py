"""Every setting of a recipe as a page of Markdown, out of the models themselves."""

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hidiff.recipe import Recipe

INTRODUCTION = """# Every setting of a recipe

A recipe is a YAML file; `recipes/` holds some to begin with. Each setting below can also be changed
for one run: `hidiff train RECIPE --set training.batch_size=4`. This page is written by
`hidiff settings`, out of the code.
"""


def settings_page() -> str:
    """Return the page docs/recipe.md."""
    sections = [INTRODUCTION]
    for name, model in groups(Recipe):
        lines = [f"## `{name}`\n" if name else "## Top level\n"]
        lines.append(f"{summary_of(model)}\n")
        rows = [row(name, each, field) for each, field in model.model_fields.items()]
        lines += ["| setting | default | meaning |", "|---|---|---|", *filter(None, rows)]
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


def groups(model: type[BaseModel], name: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield a model and all models in its fields, each with its dotted name."""
    yield name, model
    for each, field in model.model_fields.items():
        for kind in models_in(field.annotation):
            yield from groups(kind, f"{name}.{each}".lstrip("."))


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the pydantic models that a field may hold: its own type, or members of its union."""
    kinds = (annotation, *get_args(annotation))
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def row(group: str, name: str, field: FieldInfo) -> str:
    """Return the line of a setting in its table; "" for a group, which has its own table."""
    models = models_in(field.annotation)
    if models and models[0] is field.annotation:
        return ""
    full = f"{group}.{name}".lstrip(".")
    meaning = (field.description or range_of(field)).replace("|", "\\|")
    if models:
        meaning += f"; see `{full}` below"
    return f"| `{full}` | {default(field)} | {meaning} |"


def default(field: FieldInfo) -> str:
    """Return the default as YAML writes it, or in words if there is none."""
    if field.is_required():
        return "(must be given)"
    value = field.get_default(call_default_factory=True)
    return f"`{json.dumps(value)}`" if value is not None else "(left out)"


def range_of(field: FieldInfo) -> str:
    """Return the allowed values of a field, for one whose name describes it well enough."""
    if get_origin(field.annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(field.annotation)))
    words = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}
    limits = [
        (word, getattr(each, key, None)) for each in field.metadata for key, word in words.items()
    ]
    return " ".join(word.format(limit) for word, limit in limits if limit is not None)


def summary_of(model: type[BaseModel]) -> str:
    """Return the docstring of a group of settings, in one line."""
    return " ".join((model.__doc__ or "").split())
