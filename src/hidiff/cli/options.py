"""Options that several commands share, and the device and threads that they choose."""

import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hidiff.cli.errors import Mistake
from hidiff.cli.say import say

if TYPE_CHECKING:
    import torch

    from hidiff.prediction import Predictor


class Device(StrEnum):
    """Where networks run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Runtime(StrEnum):
    """What runs the segmentor: torch, or a key of hidiff.export.RUNTIMES."""

    TORCH = "torch"
    ONNX = "onnx"
    OPENVINO = "openvino"


class Rule(StrEnum):
    """How probabilities become labels."""

    HALF = "half"
    EXPECTED_DICE = "expected_dice"


ModelArgument = Annotated[
    Path,
    typer.Argument(
        help="A run's folder, a checkpoint (.safetensors), or a model of hidiff models."
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
    Device, typer.Option("--device", help="Where to compute; auto: a GPU if there is one.")
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
        help="What runs the segmentor, on the processor: onnx and openvino can be faster there, "
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
Samples = Annotated[
    int | None,
    typer.Option(
        "--samples", min=1, metavar="N", help="Refinements an image, whose mean is taken."
    ),
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", min=1, metavar="N", help="Steps of each refinement; at most T."),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="Of the draws; the same gives the same masks."),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        min=0,
        metavar="X",
        help="Of the draws: 0 keeps to the likeliest mask, 1 draws masks as likely as they are.",
    ),
]
Mirror = Annotated[
    bool | None,
    typer.Option("--mirror/--no-mirror", help="Average over four mirrored looks."),
]
RuleOption = Annotated[
    Rule | None,
    typer.Option(
        "--rule", help="half: 0.5, or argmax; expected_dice: the cut of the best expected Dice."
    ),
]
WindowSize = Annotated[
    tuple[int, int] | None,
    typer.Option(
        "--window-size",
        metavar="H W",
        help="Of the windows that images are looked through, multiples of 32; left out: as in "
        "training. Larger ones cut fewer seams and take more memory.",
    ),
]
Overlap = Annotated[
    float | None,
    typer.Option("--overlap", min=0, metavar="X", help="Of two windows: a share below 1."),
]
LitView = Annotated[
    bool | None,
    typer.Option(
        "--lit-view/--no-lit-view",
        help="Find the lit view of each picture, as a round lens leaves it on black; all outside "
        "it is background.",
    ),
]
Folds = Annotated[
    bool,
    typer.Option(
        "--folds",
        help="MODEL is runs/NAME of a cross-validation: average runs/NAME_fold0 and all others.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")]


def use_threads(threads: int | None) -> None:
    """Let torch use so many threads."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def choose_device(device: Device) -> "torch.device":
    """The device of a choice. Raises Mistake where there is no such one."""
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
    """The model as these options want it; what it says of itself is told, and an export too, as
    that takes its time.
    """
    from hidiff import experiment, weights

    if isinstance(path, Path) and (
        notice := weights.load_metadata(experiment.find_model(path)).get("notice")
    ):
        say(notice)
    start = time.perf_counter()
    predictor = experiment.load(
        path,
        choose_device(device),
        segmentor_runtime=segmentor_runtime.value,
        compiled=compiled,
    )
    if segmentor_runtime is not Runtime.TORCH:
        seconds = time.perf_counter() - start
        say(f"loaded, its segmentor exported for {segmentor_runtime.value}, in {seconds:.0f} s")
    return predictor


def prediction_changes(
    num_steps: int,
    *,
    samples: int | None,
    steps: int | None,
    seed: int | None,
    temperature: float | None,
    mirror: bool | None,
    rule: Rule | None,
    window_size: tuple[int, int] | None,
    overlap: float | None,
    lit_view: bool | None,
) -> dict[str, Any]:
    """The options that were given, as PredictionSettings; `num_steps` is the model's T."""
    from pydantic import ValidationError

    from hidiff.prediction import PredictionSettings

    if steps is not None and steps > num_steps:
        raise Mistake(
            f"--steps {steps}, but this model was trained with T = {num_steps} steps. "
            f"Use 1 to {num_steps}."
        )
    given = {
        "samples": samples,
        "steps": steps,
        "seed": seed,
        "temperature": temperature,
        "mirror": mirror,
        "rule": None if rule is None else rule.value,
        "window_size": window_size,
        "overlap": overlap,
        "lit_view": lit_view,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    try:
        PredictionSettings(**changes)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise Mistake(f"--{option} {first['input']}: {first['msg']}") from error
    return changes
