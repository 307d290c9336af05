"""The bodies that the JSON API takes and gives."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Point = Annotated[
    list[Number],
    Field(
        min_length=2,
        max_length=3,
        description="(row, column) of a picture, (slice, row, column) of a volume, in pixels of "
        "the image as given; whole numbers are the middles of pixels",
    ),
]
Points = Annotated[list[Point], Field(min_length=1, max_length=20_000)]
Radius = Annotated[float, Field(ge=0, le=2000, allow_inf_nan=False, description="pixels")]
Box = list[tuple[int, int]]
Name = Annotated[str, Field(max_length=200)]


class Strict(BaseModel):
    """A request: fields that nobody knows are refused."""

    model_config = ConfigDict(extra="forbid")


class Mark(Strict):
    """A click (`point`) or a stroke (`points`), as `hidiff correct` takes it."""

    point: Point | None = None
    points: Points | None = None
    label: Name = Field(description="a class, or background: none of the classes")
    add: bool = Field(default=True, description="false: not this class")
    radius: Radius = 4
    exact: bool = Field(default=True, description="false: a rough stroke, a hint alone")


class Lock(Strict):
    """A class, or the pixels along `points`, that no correction changes."""

    label: Name | None = None
    points: Points | None = None
    radius: Radius = 4


class Candidates(Strict):
    """The number of other masks to look for, and the slice in view."""

    count: int = Field(default=4, ge=1, le=8)
    slice: int = Field(default=0, ge=0, le=1_000_000)


class Choice(Strict):
    """The number of a candidate."""

    number: int = Field(ge=0, le=100)


class Label(BaseModel):
    """A class, and how much of the image it is."""

    name: str
    pixels: int
    ml: float | None = Field(description="volume; null where the size of a pixel is unknown")
    locked: bool


class Window(BaseModel):
    """The values that are shown as black and as white, and the lowest and highest there are."""

    low: float
    high: float
    lowest: float
    highest: float


class Status(BaseModel):
    """The server."""

    version: str
    is_local: bool
    ready: bool = Field(description="the default model is loaded")
    max_upload_mib: int
    max_files: int
    max_sessions: int
    first_case: str | None = Field(description="the image to open at once, if only one was given")


class ModelInfo(BaseModel):
    """A model of the server."""

    name: str
    title: str
    notice: str
    takes: str
    channels: int | None
    classes: list[str]
    comes_with_hidiff: bool
    loaded: bool


class Models(BaseModel):
    """The models of the server, the default first."""

    models: list[ModelInfo]


class CaseInfo(BaseModel):
    """An image of the server's folder."""

    id: str
    name: str
    done: bool
    doubt: float | None


class Cases(BaseModel):
    """The images of the server's folder; `ranking`: more doubts are to come."""

    cases: list[CaseInfo]
    ranking: bool


class Opening(BaseModel):
    """A session on its way: state `opening` or `failed`."""

    id: str
    name: str
    model: str
    case: str | None
    state: Literal["opening", "failed"]
    step: str
    progress: float | None
    error: str | None


class Masks(BaseModel):
    """The changes that a correction makes."""

    revision: int
    can_undo: bool
    can_redo: bool
    locks_pixels: bool
    segmented: int = Field(description="slices that are segmented; the others follow by themselves")
    labels: list[Label]


class Ready(Masks):
    """A session that can be corrected."""

    id: str
    name: str
    model: str
    case: str | None
    state: Literal["ready"]
    kind: Literal["one_class", "exclusive", "regions"]
    shape: tuple[int, int, int] = Field(description="slices, rows, columns")
    spacing_mm: tuple[float, float, float] | None
    is_volume: bool
    is_ct: bool
    channels: int
    first_slice: int
    window: Window
    warnings: list[str]
    notice: str


class Change(Masks):
    """The answer to a correction: the box of pixels that changed, and their new labels."""

    box: Box | None = Field(description="[first, last) of slices, rows and columns")
    codes: str | None = Field(
        description="base64 of a byte a pixel of the box, slices first: 0 the background, n the "
        "n-th class; regions: bit n - 1. null if nothing changed or the box is too large to send"
    )
    warnings: list[str]


class Candidate(BaseModel):
    """Another mask."""

    number: int
    note: str


class CandidateList(BaseModel):
    """Other masks to choose from; empty if none differs enough."""

    candidates: list[Candidate]


class Saved(BaseModel):
    """The names of the files that were written."""

    files: list[str]


class Detail(BaseModel):
    """Why a request was refused."""

    detail: str
