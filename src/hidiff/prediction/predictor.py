"""Predicts images of any size: windows in, labels, probability and uncertainty out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from hidiff.hybrid import HybridSegmentor
from hidiff.images import (
    ImageFiles,
    Intensity,
    Priors,
    check_prior,
    find_view,
    first_file,
    is_volume,
    normalise,
    read_open_picture,
    read_prior,
    volume_stem,
)
from hidiff.loading import (
    Slicing,
    load_image,
    load_volume,
    resize_image,
    resize_slices,
    show_slice,
)
from hidiff.prediction.prediction import Prediction, cut_outside, decide, entropy_bits
from hidiff.prediction.settings import PredictionSettings
from hidiff.prediction.volume import VolumePrediction
from hidiff.prediction.windows import read_trace, refine_windows
from hidiff.segmentors import input_size


class Predictor:
    """A trained hybrid, ready for images.

    `window` is the (height, width) it looks through, as in training, unless the settings say
    otherwise; smaller images are padded by repeating their rim. `size` is what whole images are
    resized to, if they are. `refines` is False for a model whose refiner was never trained: then
    the prior is the answer. `priors` says what the files of a model are that refines priors from
    files.
    """

    def __init__(
        self,
        hybrid: HybridSegmentor,
        *,
        channels: int,
        intensity: Intensity,
        slicing: Slicing | None = None,
        priors: Priors | None = None,
        window: tuple[int, int],
        size: tuple[int, int] | None = None,
        settings: PredictionSettings | None = None,
        device: torch.device | str = "cpu",
        refines: bool = True,
    ):
        self.device = torch.device(device)
        self.hybrid = hybrid.place(self.device).eval()
        self.labels = hybrid.labels
        self.channels = channels
        self.intensity = intensity
        self.slicing = slicing or Slicing()
        self.priors = priors
        self.window = window
        self.size = size
        self.settings = settings or PredictionSettings()
        self.refines = refines

    def predict(
        self,
        image: np.ndarray | Image.Image | ImageFiles,
        *,
        prior: np.ndarray | Path | str | None = None,
        name: str | None = None,
        refine: bool | None = None,
        trace: bool = False,
        **changes: Any,
    ) -> Prediction:
        """Refine the mask of one image: a file, a PIL image, or an array (h, w) or (h, w, c).

        Values are raw, as in the file (0..255 for 8 bits). `changes` are PredictionSettings, such
        as samples=4, steps=5, seed=1, rule="expected_dice". Without `refine` (left out: as the
        model was trained) the prior stands in for the refined probability. `prior` is what a model
        refines that was trained on priors from files: a file, or probabilities (k, h, w). Raises
        ValueError for an image that does not fit.
        """
        refine = self.refines if refine is None else refine
        settings = self._changed(changes)
        if isinstance(image, str | Path | tuple):
            if is_volume(image):
                raise ValueError(f"{image} is a volume: use predict_volume, for all its slices.")
            name = first_file(image).stem if name is None else name
        name, tensor = name or "", self._read(image)
        original = (tensor.shape[1], tensor.shape[2])
        view = find_view(tensor.numpy()) if settings.lit_view else None
        if prior is not None or self.priors is not None:
            tensor = torch.cat([tensor, self._read_prior(prior, original)])
        if self.size is not None:
            tensor = resize_image(tensor, self.size)
        [prediction] = self.predict_slices(
            tensor[None], [name], settings, refine=refine, trace=trace, size=original
        )
        return prediction if view is None else cut_outside(prediction, view, self.labels)

    def predict_volume(
        self,
        image: ImageFiles,
        *,
        name: str | None = None,
        refine: bool | None = None,
        keep_probability: bool = False,
        scratch: Path | None = None,
        done: Callable[[float], object] = lambda share: None,
        **changes: Any,
    ) -> VolumePrediction:
        """Refine the masks of a volume (of a file, or a file a channel), slice by slice.

        The volume is normalised as a whole, then looked at as in training; what comes back lies on
        the file's own grid. Probabilities, 2 bytes a voxel and plane, are left out unless
        `keep_probability`; below the folder `scratch` they are files of the memory's map. `done` is
        told the share that is done. Draws depend on `name` (left out: the file's) and the slice.
        `rule="expected_dice"` decides slice by slice.
        """
        refine = self.refines if refine is None else refine
        settings = self._changed(changes)
        name = volume_stem(first_file(image)) if name is None else name
        volume = load_volume(image, self.channels, self.intensity, self.slicing.plane)
        depth, *original = volume.image.shape[1:]
        size = self.size or self.slicing.size_of(volume.grid)
        result = VolumePrediction.empty(
            name,
            volume.grid,
            self.slicing.plane,
            (depth, original[0], original[1]),
            self.labels,
            keep_probability,
            scratch,
        )
        for first in range(0, depth, settings.windows):
            numbers = range(first, min(first + settings.windows, depth))
            slices = torch.stack(
                [show_slice(volume.image, z, self.slicing.neighbours) for z in numbers]
            )
            predictions = self.predict_slices(
                slices if size is None else resize_slices(slices, size),
                [f"{name}:{z}" for z in numbers],
                settings,
                size=(original[0], original[1]),
                refine=refine,
            )
            for z, prediction in zip(numbers, predictions, strict=True):
                result.put(z, prediction)
            done((numbers[-1] + 1) / depth)
        return result

    def predict_slice(
        self,
        image: ImageFiles,
        number: int,
        *,
        name: str,
        refine: bool | None = None,
        trace: bool = False,
        **changes: Any,
    ) -> Prediction:
        """One slice of a volume, as `predict_volume` finds it; with `trace`, every step of it."""
        volume = load_volume(image, self.channels, self.intensity, self.slicing.plane)
        seen = show_slice(volume.image, number, self.slicing.neighbours)
        size = self.size or self.slicing.size_of(volume.grid)
        [prediction] = self.predict_slices(
            seen[None] if size is None else resize_slices(seen[None], size),
            [f"{name}:{number}"],
            self._changed(changes),
            size=(seen.shape[1], seen.shape[2]),
            refine=self.refines if refine is None else refine,
            trace=trace,
        )
        return prediction

    def predict_slices(
        self,
        images: Float[Tensor, "b channels h w"],
        names: list[str],
        settings: PredictionSettings,
        *,
        size: tuple[int, int],
        refine: bool,
        trace: bool = False,
    ) -> list[Prediction]:
        """Of images of one size as the networks see them; what comes back is resized to `size`."""
        maps = refine_windows(
            self.hybrid,
            images,
            names,
            settings,
            window=self._window_of(settings),
            device=self.device,
            refine=refine,
            trace=trace,
        )
        return [
            self._finish(
                name, {key: resize_image(value[i], size) for key, value in maps.items()}, settings
            )
            for i, name in enumerate(names)
        ]

    def _changed(self, changes: dict[str, Any]) -> PredictionSettings:
        return PredictionSettings.model_validate({**self.settings.model_dump(), **changes})

    def _window_of(self, settings: PredictionSettings) -> tuple[int, int]:
        window, only = settings.window_size or self.window, input_size(self.hybrid.segmentor)
        if only not in (None, window):
            raise ValueError(
                f"window_size is {window[0]}x{window[1]}, but the segmentor takes images of "
                f"{only[0]}x{only[1]} only. Leave window_size out."
            )
        return window

    def _read(self, image: np.ndarray | Image.Image | ImageFiles) -> Float[Tensor, "c h w"]:
        if isinstance(image, str | Path | tuple):
            return load_image(image, self.channels, self.intensity)
        if isinstance(image, Image.Image):
            values = read_open_picture(image, self.channels)
            return torch.from_numpy(normalise(values, self.intensity))
        array = np.asarray(image)
        if array.ndim == 2:
            array = array[:, :, None]
        if array.ndim != 3 or 0 in array.shape:
            raise ValueError(
                f"the image has the shape {array.shape}, but (height, width) or (height, width, "
                "channels) is wanted"
            )
        if array.shape[2] == 1 and self.channels == 3:
            array = array.repeat(3, axis=2)
        if array.shape[2] != self.channels:
            raise ValueError(
                f"the image has {array.shape[2]} channels, but the model was trained on "
                f"{self.channels}. Give it the same channels in the same order."
            )
        values = np.ascontiguousarray(array.transpose(2, 0, 1), dtype=np.float32)
        if not np.isfinite(values).all():
            raise ValueError("the image holds NaN or infinite pixels. Mend it before prediction.")
        return torch.from_numpy(normalise(values, self.intensity))

    def _read_prior(
        self, prior: np.ndarray | Path | str | None, size: tuple[int, int]
    ) -> Float[Tensor, "k h w"]:
        if self.priors is None:
            raise ValueError(
                "a prior came with the image, but this model has a segmentor of its own. Leave it "
                "out, or train a model with segmentor.name=files."
            )
        if prior is None:
            raise ValueError(
                "this model refines priors from files, and none came with the image. Give it: "
                "predict(image, prior=...), or hidiff refine --prior FOLDER."
            )
        if isinstance(prior, str | Path):
            return read_prior(prior, self.labels, self.priors, size)
        planes = check_prior(prior, self.labels, "the prior")
        if planes.shape[1:] != size:
            raise ValueError(
                f"the prior is {planes.shape[1]}x{planes.shape[2]}, but its image is "
                f"{size[0]}x{size[1]}. Resize one."
            )
        return torch.from_numpy(planes)

    def _finish(
        self, name: str, maps: dict[str, Tensor], settings: PredictionSettings
    ) -> Prediction:
        arrays = {key: value.numpy().astype(np.float32) for key, value in maps.items()}
        probability, prior = arrays["mean"].clip(0, 1), arrays["prior"].clip(0, 1)
        if self.labels.kind == "exclusive":
            probability = probability / probability.sum(axis=0, keepdims=True).clip(1e-6)
        variance = None
        if "squares" in arrays and settings.samples > 1:
            variance = (arrays["squares"] - arrays["mean"] ** 2).clip(0)
        return Prediction(
            name=name,
            labels=decide(probability, self.labels, settings.rule),
            probability=probability,
            uncertainty=entropy_bits(probability, self.labels),
            prior=prior,
            prior_labels=decide(prior, self.labels, settings.rule),
            variance=variance,
            trace=read_trace(arrays),
        )
