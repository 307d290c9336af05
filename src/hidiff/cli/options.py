"""Options that several commands share, and the device and threads that they choose."""

import math
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hidiff.cli.errors import Mistake
from hidiff.cli.say import say

if TYPE_CHECKING:
    import torch

    from hidiff.prediction import Predictor


class Device(StrEnum):
    """The device that networks run on."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Runtime(StrEnum):
    """The runtime of the segmentor: torch, or a key of hidiff.export.RUNTIMES."""

    TORCH = "torch"
    ONNX = "onnx"
    OPENVINO = "openvino"


ModelArgument = Annotated[
    Path,
    typer.Argument(
        help="A run's folder, a checkpoint (.safetensors), a name that hidiff models lists, or "
        "USER/NAME on the Hugging Face hub."
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change a setting of the recipe, such as training.batch_size=4; can be repeated. "
        "hidiff settings lists them all.",
    ),
]
DeviceOption = Annotated[
    Device, typer.Option("--device", help="The device to compute on; auto: a GPU if there is one.")
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, metavar="N", help="Processor threads; left out: as torch chooses."
    ),
]
SegmentorRuntime = Annotated[
    Runtime,
    typer.Option(
        "--segmentor-runtime",
        help="The runtime of the segmentor on the processor: onnx and openvino can be faster, "
        "after an export of some seconds to a minute; each needs the extra of its name.",
    ),
]
Compiled = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Run the refiner's steps through torch.compile: for long work on checkpoints that are "
        "not packed. Needs a C++ compiler, and a minute first.",
    ),
]
Folds = Annotated[
    bool,
    typer.Option(
        "--folds",
        help="Average the models of a cross-validation: MODEL is runs/NAME, and the models are "
        "runs/NAME_fold0, runs/NAME_fold1 and so on.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")]

Continue = Annotated[
    bool,
    typer.Option(
        "--continue", help="Do only the images whose results are missing or unfinished in OUTPUT."
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Run on a Ray cluster: auto (the one that runs here) or HOST:PORT. Connect only to "
        "your own cluster: its machines can run any code on this one. Needs the extra ray, and a "
        "disk that all nodes share: docs/many.md.",
    ),
]
Probability = Annotated[
    bool,
    typer.Option(
        "--probability",
        help="Write the probability of each class for volumes, too (pictures always have it): 2 "
        "bytes per voxel and class. Beside a DICOM SEG it is NIfTI.",
    ),
]
Uncertainty = Annotated[
    bool,
    typer.Option(
        "--uncertainty",
        help="Write the uncertainty for volumes, too (pictures always have it): 2 bytes per voxel. "
        "Beside a DICOM SEG it is NIfTI.",
    ),
]
Overlay = Annotated[
    bool,
    typer.Option(
        "--overlay",
        help="Write CASE_overlay.png: the classes' contours on the image, and the uncertainty in "
        "colour; for volumes, the slices with the most labelled pixels.",
    ),
]
Statistics = Annotated[
    bool,
    typer.Option(
        "--statistics",
        help="Write CASE_statistics.json, the volume in ml and the mean intensity of each class, "
        "and statistics.csv of all cases.",
    ),
]
Preview = Annotated[
    bool,
    typer.Option(
        "--preview",
        help="Write CASE_preview.png: the classes in colour on the image; for volumes, a slice in "
        "each of three directions.",
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write a report of the run as JSON: versions, settings, seconds, and what failed.",
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="NAME,NAME",
        help="Write these classes only, such as --classes liver,spleen; all others are background.",
    ),
]


Place = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="ROW,COLUMN,SLICE",
        help="A place in a volume, counted from 0, for a model of crops such as nodules: it "
        "outlines what lies there. Rows count towards the patient's back, columns towards the "
        "patient's left, slices towards the head.",
    ),
]


def read_place(at: str | None) -> tuple[float, float, int] | None:
    """Return the place that --at names. Raises Mistake for one that is not three numbers."""
    if at is None:
        return None
    try:
        row, column, number = (float(each) for each in at.split(","))
        if not math.isfinite(row + column) or number != int(number):
            raise ValueError
        return row, column, int(number)
    except (ValueError, OverflowError):
        # any part that is no number, and any other count of them
        raise Mistake(
            f"--at {at}: wants row,column,slice of a volume, counted from 0, such as 212,143,87."
        ) from None


def choose_classes(classes: str | None, known: Sequence[str]) -> tuple[str, ...]:
    """Return the names of an option; none for all. Raises Mistake for a class that is not known."""
    if classes is None:
        return ()
    names = tuple(name.strip() for name in classes.split(",") if name.strip())
    wrong = [name for name in names if known and name not in known]
    if wrong or not names:
        raise Mistake(
            f"--classes {classes}: the model has {', '.join(known)}. Choose among these, with "
            "commas between them."
        )
    return names


def use_threads(threads: int | None) -> None:
    """Let torch use that many threads."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def choose_device(device: Device) -> "torch.device":
    """Return the device of a choice. Raises Mistake if this machine has none of that kind."""
    import torch

    if device is Device.CUDA and not torch.cuda.is_available():
        raise Mistake(
            "--device cuda, but torch finds no CUDA GPU here (hidiff info tells what it finds). "
            "Use --device cpu, or install a build of torch for CUDA."
        )
    cuda = device is Device.CUDA or (device is Device.AUTO and torch.cuda.is_available())
    return torch.device("cuda" if cuda else "cpu")


def load_model(
    path: Path | Sequence[Path], device: Device, segmentor_runtime: Runtime, compiled: bool
) -> "Predictor":
    """Return the model as these options want it.

    Prints the model's own notice, and the seconds of an export, which can take long.
    """
    from hidiff import experiment, weights

    if isinstance(path, Path) and (
        notice := weights.load_metadata(experiment.find_model(path)).get("notice")
    ):
        say(notice)
    start = time.perf_counter()
    predictor = experiment.load_predictor(
        path,
        choose_device(device),
        segmentor_runtime=segmentor_runtime.value,
        compiled=compiled,
    )
    if segmentor_runtime is not Runtime.TORCH:
        seconds = time.perf_counter() - start
        say(f"loaded, its segmentor exported for {segmentor_runtime.value}, in {seconds:.0f} s")
    return predictor
