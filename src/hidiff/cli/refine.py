"""`hidiff refine`: another model's probability maps, refined."""

from pathlib import Path
from typing import Annotated

import typer

from hidiff.cli.errors import Mistake
from hidiff.cli.options import (
    Classes,
    Continue,
    Device,
    DeviceOption,
    Overlay,
    Overwrite,
    Preview,
    Probability,
    RayAddress,
    Report,
    Statistics,
    Threads,
    Uncertainty,
    choose_classes,
    choose_device,
    use_threads,
)
from hidiff.cli.predicting import Batch, Choices, Format, begin_batch
from hidiff.cli.prediction_options import SettingChanges, check_steps, with_prediction_settings
from hidiff.cli.run_report import check_report, reported
from hidiff.cli.shares import Part, Parts, find_share
from hidiff.models import read_head
from hidiff.prediction.endings import Extras


def _check_some(batch: Batch, folder: Path, kind: str) -> None:
    """Raise an error at once, before a model is loaded, if no image has a prior."""
    from hidiff.images import DataError, find_prior

    first = None
    for image in batch.images:
        try:
            find_prior(folder, image.stem, kind)
        except DataError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise first


@with_prediction_settings
def refine(
    model: Annotated[Path, typer.Argument(help="A run's folder, or a checkpoint (.safetensors).")],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Images, and folders of images.")
    ],
    prior: Annotated[
        Path,
        typer.Option(
            "--prior", help="The other model's results: a folder, files named like the images."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", help="The folder to write to.")],
    formats: Annotated[
        list[Format] | None,
        typer.Option(
            "--format", help="Format of the masks, as for hidiff predict; can be repeated."
        ),
    ] = None,
    probability: Probability = False,
    uncertainty: Uncertainty = False,
    overlay: Overlay = False,
    statistics: Statistics = False,
    preview: Preview = False,
    classes: Classes = None,
    report: Report = None,
    overwrite: Overwrite = False,
    go_on: Continue = False,
    part: Part = None,
    parts: Parts = None,
    ray: RayAddress = None,
    device: DeviceOption = Device.AUTO,
    threads: Threads = None,
    *,
    changes: SettingChanges,
) -> None:
    """Refine the probability maps or the masks of another model, such as nnU-Net.

    The model must be one of hidiff adapt, or of a recipe with segmentor.name=files. It writes files
    and reports failures as hidiff predict does.

    [dim]hidiff refine runs/refined --prior probabilities/ images/ --output out[/dim]
    """
    head = read_head(model)
    if head.recipe and not head.takes_priors:
        raise Mistake(
            f"{model} has a segmentor of its own, so it cannot refine another model's results. Use "
            "hidiff predict, or train a refiner for those results with hidiff adapt."
        )
    check_steps(changes, head.num_steps)
    if not prior.is_dir():
        raise FileNotFoundError(f"--prior {prior} is no folder. Check the path.")
    check_report(report)
    chosen = choose_classes(classes, head.class_names)
    extras = Extras(probability, uncertainty, overlay, statistics, preview, chosen)
    share = find_share(part, parts)
    choices = Choices(output, formats or (), extras, overwrite, go_on, share)
    batch = begin_batch(head, inputs, choices)
    if batch is None:
        return

    _check_some(batch, prior, head.kind_of_priors)
    with reported(batch, head, changes, report):
        if ray is not None:
            from hidiff.cli.on_ray import load_on_ray, predict_on_ray

            networks = load_on_ray([model], device, threads)
            predict_on_ray(batch, ray, networks, batch.work(changes, prior))
            return

        from hidiff import experiment

        use_threads(threads)
        predictor = experiment.load_predictor(model, choose_device(device))
        batch.run(predictor, changes, prior)
