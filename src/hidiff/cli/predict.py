"""`hidiff predict`: masks of images, of one or of thousands."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hidiff.cli.errors import MISTAKE, Mistake
from hidiff.cli.options import (
    Device,
    DeviceOption,
    Mirror,
    Overwrite,
    RuleOption,
    Samples,
    Seed,
    Steps,
    Temperature,
    Threads,
    choose_device,
    prediction_changes,
    use_threads,
)
from hidiff.cli.progress import progress_bar
from hidiff.cli.say import error_console, say, warn

FAILED = 1  # exit code: some images could not be predicted, others are done
MOST_SHOWN = 20  # failures named at the end


class Format(StrEnum):
    """What files a prediction becomes."""

    PNG = "png"
    TIFF = "tiff"
    NPZ = "npz"


def predict(
    model: Annotated[Path, typer.Argument(help="A run's folder, or a checkpoint (.safetensors).")],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Images, and folders of images.")
    ],
    output: Annotated[Path, typer.Option("--output", help="The folder to write to.")],
    formats: Annotated[
        list[Format] | None,
        typer.Option("--format", help="Can be repeated; left out: png."),
    ] = None,
    samples: Samples = None,
    steps: Steps = None,
    seed: Seed = None,
    temperature: Temperature = None,
    mirror: Mirror = None,
    rule: RuleOption = None,
    overwrite: Overwrite = False,
    device: DeviceOption = Device.AUTO,
    threads: Threads = None,
) -> None:
    """Write labels, probability and uncertainty of images, in the images' own size.

    An image that does not read is named at the end, with exit code 1 (2 if none could be done);
    all others are done.

    [dim]hidiff predict runs/drive eye.png --output masks
    hidiff predict runs/drive eyes/ --output masks --samples 4 --format npz --format png[/dim]
    """
    images = find_images(inputs)
    check_stems(images)
    chosen = [each.value for each in formats or [Format.PNG]]
    if not overwrite:
        check_free(output, images, chosen)

    from hidiff import build
    from hidiff.inference.write import write_prediction

    use_threads(threads)
    predictor = build.load(model, choose_device(device))
    if not predictor.refines:
        warn(f"{model} has no trained refiner: the segmentor's own masks are written.")
    changes = prediction_changes(
        predictor.hybrid.schedule.num_steps,
        samples=samples, steps=steps, seed=seed, temperature=temperature,
        mirror=mirror, rule=rule,
    )  # fmt: skip
    failures = []
    with progress_bar() as bar:
        for image in bar.track(images, description="predicting"):
            try:
                prediction = predictor.predict(str(image), **changes)
            except (ValueError, RuntimeError, MemoryError, OSError) as error:
                failures.append(str(error) if str(image) in str(error) else f"{image}: {error}")
                continue
            write_prediction(
                prediction,
                output,
                stem=image.stem,
                formats=chosen,
                plane_names=predictor.labels.plane_names,
                overwrite=overwrite,
            )
    say(f"{len(images) - len(failures)} of {len(images)} images are done: {output}")
    if failures:
        report_failures(failures)
        raise typer.Exit(FAILED if len(failures) < len(images) else MISTAKE)


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """The images given, and those that lie in the folders given (not deeper), by name."""
    from hidiff.data.read import ARRAYS, PICTURES

    found: list[Path] = []
    for place in inputs:
        if place.is_file():
            found.append(place)
        elif place.is_dir():
            files = sorted(f for f in place.iterdir() if f.is_file() and f.name[0] != ".")
            images = [file for file in files if file.suffix.lower() in PICTURES + ARRAYS]
            if not images:
                raise FileNotFoundError(
                    f"{place} holds no image ({', '.join(PICTURES + ARRAYS)}). Folders below it "
                    "are not looked into: name them too."
                )
            if len(files) > len(images):
                warn(f"{len(files) - len(images)} files of {place} are no images: passed over.")
            found += images
        else:
            raise FileNotFoundError(f"nothing lies at {place}. Check the path.")
    return list(dict.fromkeys(found))


def check_stems(images: Sequence[Path]) -> None:
    """Results are named by the image's stem: two of one would overwrite each other."""
    first: dict[str, Path] = {}
    for image in images:
        other = first.setdefault(image.stem, image)
        if other != image:
            raise Mistake(
                f"{other} and {image} would both be written as {image.stem}. "
                "Predict them into two folders."
            )


def check_free(output: Path, images: Sequence[Path], formats: Sequence[str]) -> None:
    """Raise FileExistsError if a result is there already, before any work is done."""
    names = [file.name for file in output.iterdir()] if output.is_dir() else []
    there = set()
    for format in formats:
        kind = f".{format}"
        ends = [name.removesuffix(kind) for name in names if name.endswith(kind)]
        there |= {end if format == "npz" else end.rpartition("_labels")[0] for end in ends}
    taken = [image.stem for image in images if image.stem in there]
    if taken:
        raise FileExistsError(
            f"{output} holds results of {len(taken)} of these {len(images)} images already, "
            f"{taken[0]} among them. Replace them with --overwrite, or choose another --output."
        )


def report_failures(failures: Sequence[str]) -> None:
    """Name what failed, on stderr."""
    error_console.print(f"{len(failures)} failed:", style="bold red")
    for failure in failures[:MOST_SHOWN]:
        error_console.print(f"  {failure}", soft_wrap=True, markup=False)
    if len(failures) > MOST_SHOWN:
        error_console.print(f"  and {len(failures) - MOST_SHOWN} more")
