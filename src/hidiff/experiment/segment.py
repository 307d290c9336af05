"""Load, predict and write in one call."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hidiff.experiment.model import Model, load
from hidiff.images import (
    GivenImage,
    find_format,
    format_of,
    name_images,
    name_of,
    visible_files,
)
from hidiff.models import read_head
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
    found, own_names = _list_images(images, model)
    several = isinstance(found, list)
    given = options.pop("name", own_names)
    names = _name_all(found if several else [found], given)
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


def _list_images(images: Any, model: str | Path | Model) -> tuple[Any, list[str] | None]:
    """Return the images of a folder with their names; anything else as it came, without names."""
    if not isinstance(images, str | Path):
        return images, None
    folder = Path(images)
    if not folder.is_dir() or find_format(folder) is not None:  # a DICOM series is one image
        return images, None
    files = [file for file in visible_files(folder) if file.is_file()]
    files = [file for file in files if find_format(file) is not None]
    if not files:
        raise FileNotFoundError(
            f"{folder} holds no image and no volume. Folders below it are not searched: name "
            "them too."
        )
    if isinstance(model, Model):
        channels, source = model.channels, model.recipe.data.source
    else:
        # A model whose header does not read is refused when it is loaded.
        head = read_head(model)
        channels, source = head.channels, head.source
    cases = name_images(files, channels or 1, source)
    lacking = next((case for case in cases if case.missing), None)
    if lacking is not None:
        raise FileNotFoundError(
            f"{lacking.stem} lacks {', '.join(lacking.missing)}: the model takes {channels} "
            "channels. Add the missing files, or take the others out."
        )
    return [case.image for case in cases], [case.stem for case in cases]


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
    twice = {name for name, count in Counter(names).items() if count > 1}
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
