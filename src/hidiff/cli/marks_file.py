"""The file of marks that `hidiff correct` is given; checked before any network is loaded."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hidiff.cli.errors import Mistake

if TYPE_CHECKING:
    import numpy as np

    from hidiff.correction import Session


class WrittenMark(BaseModel):
    """One entry of a marks file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    point: tuple[float, ...] | None = Field(default=None, min_length=2, max_length=3)
    points: list[tuple[float, ...]] | None = Field(default=None, min_length=1)
    mask: str | None = None
    lock: str | None = None
    lock_mask: str | None = None
    carry_on: Literal[True] | None = None
    label: str | None = None
    add: bool = True
    exact: bool = True
    radius: float = Field(default=4.0, ge=0)
    slice: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _says_one_thing(self) -> "WrittenMark":
        places = ("point", "points", "mask", "lock", "lock_mask", "carry_on")
        given = [name for name in places if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"it has {' and '.join(given) or 'no place'}, but one of {', '.join(places)} is "
                "wanted"
            )
        if given[0] in ("point", "points", "mask") and self.label is None:
            raise ValueError("it has no label")
        if given[0] == "point" and not self.exact:
            raise ValueError("a click is exact; give a rough mark as points or a mask")
        return self

    @property
    def named_label(self) -> str | None:
        """Return the label that an entry names."""
        return self.label if self.lock is None else self.lock


class MarksFile(NamedTuple):
    """Marks, and the folder that the paths of their masks start from."""

    folder: Path
    marks: Sequence[WrittenMark]

    def apply(self, session: "Session") -> None:
        """Make every mark in its order. Raises Mistake, naming the mark that does not fit."""
        for number, mark in enumerate(self.marks, start=1):
            try:
                _apply(session, mark, self.folder)
            except ValueError as error:
                raise Mistake(f"mark {number} of {len(self.marks)}: {error}") from error


def read_marks(path: Path, labels: Mapping[str, Any]) -> MarksFile:
    """Read a marks file. `labels` are those of a model's recipe; empty if nobody knows them.

    Raises Mistake, naming the file and the mark, for what no model takes.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Mistake(f"{path} does not read as JSON: {error}") from error
    if not isinstance(content, list):
        raise Mistake(
            f"{path} holds a {type(content).__name__}, but a list of marks is wanted: "
            '[{"point": [row, column], "label": "vessel"}, ...].'
        )
    marks = [_read_mark(each, f"{path}, mark {n}") for n, each in enumerate(content, start=1)]
    known = (*labels.get("classes", {}), "background")
    for number, mark in enumerate(marks, start=1):
        label = mark.named_label
        if len(known) > 1 and label is not None and label not in known:
            raise Mistake(
                f"{path}, mark {number}: the label is {label!r}, but this model has "
                f"{', '.join(known)}."
            )
        for name in (mark.mask, mark.lock_mask):
            if name is not None and not (path.parent / name).is_file():
                raise Mistake(f"{path}, mark {number}: nothing lies at {path.parent / name}.")
    return MarksFile(path.parent, marks)


def _read_mark(content: Any, where: str) -> WrittenMark:
    try:
        return WrittenMark.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(each) for each in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise Mistake(f"{where}: {f'{place}: ' if place else ''}{message}.") from error


def _apply(session: "Session", mark: WrittenMark, folder: Path) -> None:
    if mark.point is not None:
        assert mark.label is not None
        point = mark.point if mark.slice is None else (mark.slice, *mark.point)
        session.click(point, mark.label, add=mark.add, radius=mark.radius)
    elif mark.points is not None or mark.mask is not None:
        assert mark.label is not None
        place = mark.points if mark.mask is None else _read_mask(session, folder / mark.mask)
        session.stroke(
            place,
            mark.label,
            add=mark.add,
            radius=mark.radius,
            exact=mark.exact,
            slice=mark.slice if mark.mask is None else None,
        )
    elif mark.carry_on:
        session.carry_on()
    elif mark.lock_mask is not None:
        session.lock(_read_mask(session, folder / mark.lock_mask))
    else:
        session.lock(label=mark.lock)


def _read_mask(session: "Session", path: Path) -> "np.ndarray":
    """Return where a mask's file is not 0, in the form of the image."""
    from hidiff.images import read_mask

    image = session.image
    source = path if image.path is None else image.path
    return image.geometry.native(read_mask(path, image.geometry, source)) != 0
