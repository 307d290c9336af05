"""`hidiff refine`: another model's probability maps, refined."""

from pathlib import Path
from typing import Annotated

import typer

from hidiff.cli.errors import Mistake
from hidiff.cli.options import (
    Continue,
    Device,
    DeviceOption,
    Overlay,
    Overwrite,
    Probability,
    Threads,
    Uncertainty,
    choose_device,
    use_threads,
)
from hidiff.cli.predicting import Choices, Format, prepare_batch
from hidiff.cli.prediction_options import SettingChanges, check_steps, with_prediction_settings
from hidiff.cli.say import say
from hidiff.models import read_head
from hidiff.prediction.endings import Extras


@with_prediction_settings
def refine(
    model: Annotated[Path, typer.Argument(help="A run's folder, or a checkpoint (.safetensors).")],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Images, and folders of images.")
    ],
    prior: Annotated[
        Path,
        typer.Option("--prior", help="The folder of the priors, which have the images' names."),
    ],
    output: Annotated[Path, typer.Option("--output", help="The folder to write to.")],
    formats: Annotated[
        list[Format] | None,
        typer.Option("--format", help="Can be repeated; the same formats as of hidiff predict."),
    ] = None,
    probability: Probability = False,
    uncertainty: Uncertainty = False,
    overlay: Overlay = False,
    overwrite: Overwrite = False,
    go_on: Continue = False,
    device: DeviceOption = Device.AUTO,
    threads: Threads = None,
    *,
    changes: SettingChanges,
) -> None:
    """Refine the probability maps or the masks of another model, such as nnU-Net.

    The model must be trained on such priors (segmentor.name=files); its recipe says what they are.
    Files are written, and failures reported, as by hidiff predict.

    [dim]hidiff refine runs/refined --prior probabilities/ images/ --output out[/dim]
    """
    head = read_head(model)
    if head.recipe and not head.takes_priors:
        raise Mistake(
            f"{model} has a segmentor of its own, and does not refine the masks of another. Use "
            "hidiff predict, or train a model with segmentor.name=files."
        )
    check_steps(changes, head.num_steps)
    if not prior.is_dir():
        raise FileNotFoundError(f"--prior {prior} is no folder. Check the path.")
    extras = Extras(probability, uncertainty, overlay)
    choices = Choices(output, formats or (), extras, overwrite, go_on)
    batch = prepare_batch(head, inputs, choices)
    if batch.is_finished:
        return
    if batch.writes_soft_maps_as_nifti:
        say("A DICOM SEG holds labels only: the soft maps are written beside it as NIfTI.")

    from hidiff import experiment
    from hidiff.images import find_prior

    use_threads(threads)
    predictor = experiment.load_predictor(model, choose_device(device))
    kind = predictor.priors.kind if predictor.priors else "probability"
    batch.run(predictor, changes, lambda image: find_prior(prior, image.stem, kind))
