"""The refiner behind any MONAI pipeline: a dictionary transform and an inferer.

    from hidiff.monai import Refined

    read = Compose([LoadImaged("image"), EnsureChannelFirstd("image"), Refined("pred", "vessels")])
    read({"image": "eye.jpg"})["pred"]

`import hidiff` does not import this file, as MONAI takes seconds to import.
"""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers.inferer import Inferer, SlidingWindowInferer
from monai.transforms.transform import MapTransform
from torch import Tensor

from hidiff.experiment import Model, load
from hidiff.segmentors import FILES

OUTPUTS = ("labels", "probability", "uncertainty", "prior")


class Refined(MapTransform):
    """Write a model's refined mask of `data[image_key]` into `data[key]`.

    A model with a segmentor of its own needs the image alone. One that was trained on priors from
    files (segmentor.name=files) refines what `data[key]` holds: the probabilities of a MONAI
    network, (planes, *space), after its sigmoid or softmax.

    Images are (channels, *space) with the raw values of the training images, before any transform
    of their intensity: the model has its own. Two axes of space are a picture, three a volume,
    whose affine is that of the MetaTensor. What is written has a first axis too: of labels of one
    length, but for overlapping regions. `output` is one of labels, probability, uncertainty and
    prior. `columns_first` says that pictures have their columns before their rows; left out, those
    that MONAI's PILReader read. `options` are those of `Model.predict`, such as samples=4.
    """

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        model: Model | str | Path,
        *,
        image_key: Hashable = "image",
        output: str = "labels",
        columns_first: bool | None = None,
        allow_missing_keys: bool = False,
        **options: Any,
    ):
        super().__init__(keys, allow_missing_keys)  # pyright: ignore[reportArgumentType]
        if output not in OUTPUTS:
            raise ValueError(f"output is {output!r}, but must be one of {', '.join(OUTPUTS)}")
        self.model = model if isinstance(model, Model) else load(model)
        self.image_key = image_key
        self.output = output
        self.columns_first = columns_first
        self.options = options

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        made = dict(data)
        if self.image_key not in made:
            raise ValueError(
                f"the data have no {self.image_key!r}, but {', '.join(map(str, made))}. Name the "
                "image: image_key=..."
            )
        for key in self.keys:
            prior = None
            if takes_priors(self.model):
                if key not in made:
                    if self.allow_missing_keys:
                        continue
                    raise ValueError(
                        f"the model refines priors, but the data have no {key!r}. Put the "
                        "network's probabilities there."
                    )
                prior = made[key]
            image = made[self.image_key]
            turned = read_columns_first(image) if self.columns_first is None else self.columns_first
            made[key] = refine(self.model, image, prior, self.output, turned, self.options)
        return made


class RefineInferer(Inferer):
    """Run a network as another inferer does, then refine its masks by a model that takes priors.

    Returns probabilities (batch, planes, *space), whose threshold is 0.5, or of exclusive classes
    their argmax; so leave `Activations` out behind it. The network gives logits. `options` are
    those of `Model.predict`.
    """

    def __init__(
        self,
        model: Model | str | Path,
        inferer: Inferer | None = None,
        *,
        columns_first: bool | None = None,
        **options: Any,
    ):
        super().__init__()
        self.model = model if isinstance(model, Model) else load(model)
        if not takes_priors(self.model):
            raise ValueError(
                f"{self.model.name} has a segmentor of its own, but an inferer has its network "
                "already. Train a model with segmentor.name=files, or use Refined."
            )
        self.columns_first = columns_first
        self.inferer = inferer or SlidingWindowInferer(self.model.predictor.window)
        self.options = options

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        logits = self.inferer(inputs, network, *args, **kwargs)
        assert isinstance(logits, Tensor)
        priors = self.model.labels.activate(logits.float())
        turned = read_columns_first(inputs) if self.columns_first is None else self.columns_first
        refined = [
            refine(self.model, image, prior, "probability", turned, self.options)
            for image, prior in zip(inputs, priors, strict=True)
        ]
        return torch.stack([each.as_tensor() for each in refined]).to(inputs.device)


def takes_priors(model: Model) -> bool:
    """Return whether the model refines the masks of another one."""
    return model.recipe.segmentor.name == FILES


def refine(
    model: Model,
    image: Any,
    prior: Any,
    output: str,
    columns_first: bool,
    options: Mapping[str, Any],
) -> MetaTensor:
    """Return one map of a model's prediction, channels first and on the image's own axes."""
    channels_last = np.moveaxis(_numbers(image), 0, -1)
    planes = None if prior is None else _numbers(prior)
    num_axes = channels_last.ndim - 1
    if num_axes not in (2, 3):
        raise ValueError(
            f"the image has the shape {tuple(image.shape)}, but (channels, rows, columns) or "
            "(channels, x, y, z) is wanted. EnsureChannelFirstd gives it."
        )
    turned = num_axes == 2 and columns_first
    if turned:  # as our networks see pictures: rows first
        channels_last = channels_last.swapaxes(0, 1)
        planes = None if planes is None else planes.swapaxes(1, 2)
    place = {}
    if num_axes == 3:
        place = {"affine": np.asarray(_affine_of(image)), "keep_probability": True}
    made = model.predict(channels_last, prior=planes, **place, **options)
    values = np.asarray(getattr(made, output), dtype=np.float32)
    if values.ndim == num_axes:
        values = values[None]
    if turned:
        values = values.swapaxes(1, 2)
    found = torch.from_numpy(np.ascontiguousarray(values))
    return MetaTensor(found, meta=image.meta if isinstance(image, MetaTensor) else None)


def _numbers(values: Any) -> np.ndarray:
    if isinstance(values, Tensor):
        return values.detach().cpu().float().numpy()
    return np.asarray(values, dtype=np.float32)


def _affine_of(image: Any) -> Any:
    return image.affine.cpu().numpy() if isinstance(image, MetaTensor) else np.eye(4)


def read_columns_first(image: Any) -> bool:
    """Return whether MONAI's PILReader read the picture, which puts its columns first."""
    meta = image.meta if isinstance(image, MetaTensor) else {}
    return "width" in meta and "height" in meta
