"""`hidiff predict`: masks of images and volumes, of one or of thousands."""

from pathlib import Path
from typing import Annotated

import typer

from hidiff.cli.inputs import check_free, find_inputs
from hidiff.cli.options import (
    Compiled,
    Device,
    DeviceOption,
    Folds,
    ModelArgument,
    Overwrite,
    Runtime,
    SegmentorRuntime,
    Threads,
    load_model,
    use_threads,
)
from hidiff.cli.predicting import (
    Format,
    Unreadable,
    choose_formats,
    predict_image,
    report,
)
from hidiff.cli.prediction_options import SettingChanges, check_steps, with_prediction_settings
from hidiff.cli.progress import progress_bar
from hidiff.cli.say import warn


@with_prediction_settings
def predict(
    model: ModelArgument,
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...",
            help="Images, volumes, and folders of them. A folder of DICOM is one volume; files "
            "CASE_0000, CASE_0001, ... are its channels.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", help="The folder to write to.")] = Path(
        "masks"
    ),
    formats: Annotated[
        list[Format] | None,
        typer.Option(
            "--format",
            help="Can be repeated. png, tiff, npz of images (left out: png); nifti, npz, dicom of "
            "volumes (left out: dicom, as DICOM SEG, of DICOM; nifti of others).",
        ),
    ] = None,
    probability: Annotated[
        bool, typer.Option("--probability", help="Of volumes too: 2 bytes a voxel and class.")
    ] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Of volumes too: 2 bytes a voxel.")
    ] = False,
    folds: Folds = False,
    overwrite: Overwrite = False,
    device: DeviceOption = Device.AUTO,
    threads: Threads = None,
    segmentor_runtime: SegmentorRuntime = Runtime.TORCH,
    compiled: Compiled = False,
    *,
    changes: SettingChanges,
) -> None:
    """Write labels, probability and uncertainty of images and volumes, on their own grid.

    An image that does not read is named at the end, with exit code 1 (2 if none could be done);
    all others are done.

    [dim]hidiff predict vessels eye.jpg --lit-view
    hidiff predict runs/drive eye.png --output masks
    hidiff predict runs/drive eyes/ --output masks --samples 4 --format npz --format png
    hidiff predict runs/acdc Dataset027_ACDC/imagesTs --output masks --uncertainty
    hidiff predict runs/ct dicom_folder/ --output masks --format dicom --format nifti[/dim]
    """
    images = find_inputs(inputs)
    chosen = {each.stem: choose_formats(each, formats or ()) for each in images}
    if not overwrite:
        for kinds in set(chosen.values()):
            check_free(output, [each for each in images if chosen[each.stem] == kinds], kinds)

    from hidiff import experiment

    use_threads(threads)
    models = experiment.find_folds(model) if folds else model
    predictor = load_model(models, device, segmentor_runtime, compiled)
    if not predictor.refines:
        warn(f"{model} has no trained refiner: the segmentor's own masks are written.")
    check_steps(changes, predictor.hybrid.schedule.num_steps)
    keep = {"probability": probability, "uncertainty": uncertainty, "overwrite": overwrite}
    failures = []
    with progress_bar() as bar:
        task = bar.add_task("predicting", total=len(images))
        for number, each in enumerate(images):
            try:
                predict_image(
                    predictor, each, output, chosen[each.stem], keep, changes,
                    lambda share, number=number: bar.update(task, completed=number + share),
                )  # fmt: skip
            except Unreadable as error:
                named = str(each.file) in str(error)
                failures.append(str(error) if named else f"{each.file}: {error}")
            bar.update(task, completed=number + 1)
    report(failures, len(images), output)
