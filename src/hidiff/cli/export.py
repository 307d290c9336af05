"""`hidiff export`: a whole model in a file that other engines run."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hidiff.cli.errors import Mistake
from hidiff.cli.options import ModelArgument, Overwrite
from hidiff.cli.prediction_options import check_steps
from hidiff.cli.say import say
from hidiff.models import read_head


class Format(StrEnum):
    """Kinds of files that a model can be exported to."""

    ONNX = "onnx"


def export(
    model: ModelArgument,
    format: Annotated[
        Format, typer.Option("--format", help="Kind of file; OpenVINO reads onnx too.")
    ] = Format.ONNX,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="The file to write; left out: NAME.onnx in this folder."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            min=1,
            metavar="N",
            help="Steps of each refinement; left out: as the model predicts. One step gives one "
            "file; several give two: the work on the image, and one step.",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a whole model (segmentor, refiner and decision) as ONNX, which runs without torch.

    The file takes images as the networks see them: docs/sharing.md and examples/onnx_only.py show
    how.

    [dim]hidiff export vessels
    hidiff export runs/drive --output drive.onnx
    hidiff export nodules --steps 5[/dim]
    """
    head = read_head(model)
    check_steps({"steps": steps}, head.num_steps)
    output = output or Path(f"{_name_of(model, head.path)}.onnx")
    if output.suffix != ".onnx":
        raise Mistake(f"--output {output}: give a name that ends in .onnx.")
    if not overwrite:
        for ending in ("", "_segmentor", "_step"):
            path = output.with_stem(output.stem + ending)
            if path.exists():
                raise FileExistsError(f"{path} exists already. Replace it with --overwrite.")

    from hidiff import experiment

    for path in experiment.export_onnx(model, output, steps):
        say(f"wrote {path}: {path.stat().st_size / 2**20:.1f} MiB")


def _name_of(model: Path, file: Path) -> str:
    """Return the name of a run's folder, or of a checkpoint's file."""
    return model.resolve().name if model.is_dir() else file.stem
