"""`hidiff predict`: masks of images and volumes, of one or of thousands."""

from pathlib import Path
from typing import Annotated

import typer

from hidiff.cli.errors import Mistake
from hidiff.cli.options import (
    Classes,
    Compiled,
    Continue,
    Device,
    DeviceOption,
    Folds,
    ModelArgument,
    Overlay,
    Overwrite,
    Place,
    Preview,
    Probability,
    RayAddress,
    Report,
    Runtime,
    SegmentorRuntime,
    Statistics,
    Threads,
    Uncertainty,
    choose_classes,
    load_model,
    read_place,
    use_threads,
)
from hidiff.cli.predicting import Choices, Format, begin_batch
from hidiff.cli.prediction_options import SettingChanges, check_steps, with_prediction_settings
from hidiff.cli.run_report import check_report, reported
from hidiff.cli.say import warn
from hidiff.cli.shares import Part, Parts, find_share
from hidiff.models import find_folds, read_head
from hidiff.prediction.endings import Extras


@with_prediction_settings
def predict(
    model: ModelArgument,
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...",
            help="Images, volumes, and folders of them. A folder of DICOM is one volume. For a "
            "model of several channels, CASE_0000, CASE_0001, ... are the channels of one image.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", help="The folder to write to.")] = Path(
        "masks"
    ),
    formats: Annotated[
        list[Format] | None,
        typer.Option(
            "--format",
            help="Format of the masks; can be repeated. Pictures: png (the default), tiff or npz. "
            "Volumes: nifti (the default) or npz. DICOM: dicom (the default, a DICOM SEG), nifti "
            "or npz.",
        ),
    ] = None,
    probability: Probability = False,
    uncertainty: Uncertainty = False,
    overlay: Overlay = False,
    statistics: Statistics = False,
    preview: Preview = False,
    classes: Classes = None,
    at: Place = None,
    report: Report = None,
    folds: Folds = False,
    overwrite: Overwrite = False,
    go_on: Continue = False,
    part: Part = None,
    parts: Parts = None,
    ray: RayAddress = None,
    device: DeviceOption = Device.AUTO,
    threads: Threads = None,
    segmentor_runtime: SegmentorRuntime = Runtime.TORCH,
    compiled: Compiled = False,
    *,
    changes: SettingChanges,
) -> None:
    """Segment images and volumes, and write labels, probability and uncertainty.

    An image that fails is named at the end, with exit code 1 (2 if none could be done), and all
    others are done. Two runs into one folder share the images. docs/outputs.md says what each
    file holds.

    [dim]hidiff predict vessels eye.jpg --lit-view --overlay
    hidiff predict runs/drive eye.png --output masks
    hidiff predict runs/drive eyes/ --output masks --samples 4 --format npz --format png
    hidiff predict runs/drive eyes/ --output masks --continue
    hidiff predict runs/drive eyes/ --output masks --continue --part 3 --parts 16
    hidiff predict runs/drive eyes/ --output /shared/masks --ray auto
    hidiff predict runs/acdc Dataset027_ACDC/imagesTs --output masks --uncertainty
    hidiff predict runs/ct dicom_folder/ --output masks --format dicom --format nifti
    hidiff predict nodules dicom_folder/ --at 212,143,87 --output masks[/dim]
    """
    models = find_folds(model) if folds else [model]
    head = read_head(models[0])
    if head.takes_priors:
        raise Mistake(
            f"{model} refines the masks of another model, which must come with each image. Use "
            f"hidiff refine {model} INPUT... --prior FOLDER --output {output}."
        )
    check_steps(changes, head.num_steps)
    check_report(report)
    chosen = choose_classes(classes, head.class_names)
    extras = Extras(probability, uncertainty, overlay, statistics, preview, chosen)
    share = find_share(part, parts)
    choices = Choices(output, formats or (), extras, overwrite, go_on, share, read_place(at))
    batch = begin_batch(head, inputs, choices)
    if batch is None:
        return

    with reported(batch, head, changes, report):
        if ray is not None:
            from hidiff.cli.on_ray import load_on_ray, predict_on_ray

            loading = load_on_ray(models, device, threads, segmentor_runtime, compiled)
            predict_on_ray(batch, ray, loading, batch.work(changes))
            return
        use_threads(threads)
        predictor = load_model(models if folds else model, device, segmentor_runtime, compiled)
        if not predictor.refines:
            warn(f"{model} has no trained refiner: the segmentor's own masks are written.")
        check_steps(changes, predictor.hybrid.schedule.num_steps)
        batch.run(predictor, changes)
