"""Load, predict and write in one call."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hidiff.experiment.model import Model, load
from hidiff.images import GivenImage, find_format, format_of, name_of
from hidiff.prediction import Prediction
from hidiff.prediction.endings import file_names, stems_of
from hidiff.prediction.writers import WRITERS, write_prediction


def segment(
    images: GivenImage | Sequence[GivenImage],
    model: str | Path | Model = "vessels",
    output: Path | str | None = None,
    *,
    formats: str | Sequence[str] = (),
    uncertainty: bool = False,
    overwrite: bool = False,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Prediction | list[Prediction]:
    """Segment an image, a folder of images or a list, and write the masks into `output`.

    `model` is what `hidiff.load` takes, or a loaded model. `options` are those of `Model.predict`,
    such as samples=4 or value_range=(0, 1). The files are those of
    `hidiff.prediction.writers.write_prediction`, named after the images; without `output` nothing
    is written. Returns the prediction, or a list of them for a list or a folder. Raises
    FileExistsError, before anything is computed, if a mask is there already, unless `overwrite`.

        prediction = hidiff.segment("eye.jpg", model="vessels", output="masks")
    """
    found = _list_images(images)
    several = isinstance(found, list)
    names = _name_all(found if several else [found], options.pop("name", None))
    if output is not None and not overwrite:
        _check_free(found if several else [found], names, Path(output), formats)
    model = model if isinstance(model, Model) else load(model, device)
    predicted = model.predict(found, name=names if several else names[0], **options)
    if output is not None:
        for prediction in predicted if isinstance(predicted, list) else [predicted]:
            write_prediction(
                prediction, output, formats=formats, uncertainty=uncertainty, overwrite=overwrite
            )
    return predicted


def _list_images(images: Any) -> Any:
    """Return the list of images in a folder; anything else as it came."""
    if not isinstance(images, str | Path):
        return images
    folder = Path(images)
    if not folder.is_dir() or find_format(folder) is not None:  # a DICOM series is one image
        return images
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.name[0] != "."]
    found: list[Path] = [file for file in files if find_format(file) is not None]
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no image and no volume. Folders below it are not looked into: name "
            "them too."
        )
    return found


def _name_all(images: Sequence[Any], given: Any) -> list[str]:
    """Return a name for each image: the given one, its file's, or image_1, image_2, ..."""
    if isinstance(given, str):
        given = [given]
    if given is not None and len(given) != len(images):
        raise ValueError(f"name has {len(given)} names, but {len(images)} images came.")
    numbers = [f"image_{number}" for number in range(1, len(images) + 1)]
    plain = numbers if len(images) > 1 else ["image"]
    own = [name_of(image) or spare for image, spare in zip(images, plain, strict=True)]
    names = own if given is None else list(given)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(
            f"{len(twice)} names stand for several images, {min(twice)} among them, so that masks "
            "would overwrite each other. Give name=[...], one for each image."
        )
    return names


def _check_free(
    images: Sequence[Any], names: Sequence[str], output: Path, formats: str | Sequence[str]
) -> None:
    """Raise FileExistsError if a file of these names is there, before any work is done."""
    chosen = (formats,) if isinstance(formats, str) else tuple(formats)
    files = file_names(output)
    taken = {format: stems_of(files, format) for format in WRITERS}
    for image, name in zip(images, names, strict=True):
        usual = tuple(WRITERS)
        if isinstance(image, str | Path | tuple):
            usual = format_of(image).outputs[:1]
        if any(name in taken[format] for format in (chosen or usual) if format in taken):
            raise FileExistsError(
                f"{output} holds a mask of {name} already. Pass overwrite=True to replace it, or "
                "choose another output."
            )
