"""Sessions of corrections, opened again with their model and their image."""

from pathlib import Path

import torch

from hidiff.correction import Session, read_session, restore_session
from hidiff.experiment.model import Model, load
from hidiff.images import GivenImage


def open_session(
    path: str | Path,
    *,
    model: Model | str | Path | None = None,
    image: GivenImage | None = None,
    device: torch.device | str = "cpu",
) -> Session:
    """Open a session that `Session.save` wrote: the same maps, bit for bit, and the same record.

    `model` and `image` are those that it was made with; left out, they are loaded from where they
    were. A model with a segmentor of your own, and an image that was an array, must be given.
    Raises ValueError for a file that is no whole session, and for another model or image.
    """
    saved = read_session(path)
    origin = saved.origin
    if model is None and not origin.model_paths:
        raise ValueError(f"{path} does not say which model it is of. Give it: model=.")
    if image is None and not origin.image_paths:
        raise ValueError(f"{path} is of an image that was in memory. Give it: image=.")
    if model is None:
        missing = [each for each in origin.model_paths if not Path(each).is_file()]
        if missing:
            raise ValueError(
                f"{path} is of the model {missing[0]}, which is not there. Give it: model=."
            )
        model = load(origin.model_paths, device)
    elif not isinstance(model, Model):
        model = load(model, device)
    if image is None:
        missing = [each for each in origin.image_paths if not Path(each).exists()]
        if missing:
            raise ValueError(
                f"{path} is of the image {missing[0]}, which is not there. Give it: image=."
            )
        files = origin.image_paths
        image = files[0] if len(files) == 1 else files
    return restore_session(saved, model.predictor, image)
