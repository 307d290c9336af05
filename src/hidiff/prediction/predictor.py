"""Predict images of any size, slice by slice: labels, probability and uncertainty of each."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from hidiff.hybrid import HybridSegmentor
from hidiff.images import GivenImage, Image, Intensity, PictureGeometry, PriorFiles, Priors
from hidiff.loading import At, Reading, Slicing, resize_image
from hidiff.prediction.cropped import predict_crop
from hidiff.prediction.prediction import Prediction, SliceMaps, cut_to_view, decide, entropy_bits
from hidiff.prediction.reach import Guidance, refine_reach, see_ahead
from hidiff.prediction.seen import SeenWindows
from hidiff.prediction.settings import PredictionSettings
from hidiff.prediction.slices import OpenedImage, open_slices, read_given_prior
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
        image: GivenImage | OpenedImage,
        *,
        spacing_mm: Sequence[float | int] | None = None,
        affine: Num[np.ndarray, "4 4"] | None = None,
        value_range: tuple[float | int, float | int] | None = None,
        prior: np.ndarray | PriorFiles | None = None,
        name: str | None = None,
        at: At | None = None,
        refine: bool | None = None,
        slice: int | None = None,
        trace: bool = False,
        keep_probability: bool | None = None,
        scratch: Path | None = None,
        done: Callable[[float], object] = lambda share: None,
        **changes: Any,
    ) -> Prediction:
        """Refine the masks of an image, given in any form that `open_image` takes, or as opened.

        Several files in a tuple are the channels of one image. Values are raw, as in the file
        (0..255 for 8 bits), unless `value_range`, (black, white), says on which scale they are. An
        array with `spacing_mm` or `affine` is a volume. An image is normalised as a whole, and
        refined slice by slice; maps come back in the form it was given in. Random draws depend on
        `name` (left out: the file's) and the slice.

        `changes` are PredictionSettings, such as samples=4, steps=5, seed=1. Without `refine` (left
        out: as the model was trained) the prior stands in for the refined probability. `prior` is
        what a model refines that was trained on priors from files: a file, or probabilities, a map
        a plane in the form of the file. `at` is the place in a volume, (row, column, slice) from 0,
        that a model of crops outlines. `slice` is the only slice to predict: its prediction is that
        of a picture. A volume keeps probabilities, and the steps of `trace`, only with
        `keep_probability`; they take 2 bytes a voxel and map, below the folder `scratch` as files
        mapped into memory. `done` is called with the share that is done. Raises ValueError for an
        image that does not fit. Safe to call from several threads at once.
        """
        refine = self.refines if refine is None else refine
        settings = self.change_settings(changes)
        if isinstance(image, OpenedImage):
            opened = image if name is None else replace(image, name=name)
        else:
            opened = self.open(
                image,
                spacing_mm=spacing_mm,
                affine=affine,
                value_range=value_range,
                name=name,
                at=at,
            )
            opened = opened.with_prior(self.read_prior(prior, opened.opened))
        geometry, source = opened.opened.geometry, opened.opened.path
        numbers = range(geometry.shape[0])
        if slice is not None:
            numbers, geometry, source = [slice], PictureGeometry(geometry.size), None
        keeps = geometry.keeps_probability if keep_probability is None else keep_probability
        result = Prediction(opened.name, self.labels, geometry, source, keeps, scratch)
        for first in range(0, len(numbers), settings.windows):
            batch = numbers[first : first + settings.windows]
            maps = self.predict_batch(opened, batch, settings, refine=refine, trace=trace and keeps)
            for place, found in enumerate(maps, start=first):
                result.put(place, found)
            done((first + len(batch)) / len(numbers))
        return result

    def open(
        self,
        image: GivenImage,
        *,
        spacing_mm: Sequence[float | int] | None = None,
        affine: Num[np.ndarray, "4 4"] | None = None,
        value_range: tuple[float | int, float | int] | None = None,
        name: str | None = None,
        at: At | None = None,
    ) -> OpenedImage:
        """Open and normalise an image, without a prior; the arguments are those of `predict`."""
        reading, window = self.reading, self.window
        return open_slices(image, reading, window, spacing_mm, affine, value_range, name, at)

    def predict_batch(
        self,
        opened: OpenedImage,
        numbers: Sequence[int],
        settings: PredictionSettings,
        *,
        refine: bool,
        trace: bool = False,
        keep: SeenWindows | None = None,
    ) -> list[SliceMaps]:
        """Predict some slices of an image at once; `keep` is that of `refine_windows`."""
        if opened.crop is not None:
            return predict_crop(
                self, opened, numbers, settings, refine=refine, trace=trace, keep=keep
            )
        maps = self.predict_slices(
            torch.cat([opened.seen(number) for number in numbers]),
            [opened.key(number) for number in numbers],
            settings,
            size=opened.opened.geometry.size,
            refine=refine,
            trace=trace,
            keep=keep,
        )
        if settings.lit_view:
            slices = [opened.image[:, number].numpy() for number in numbers]
            maps = [cut_to_view(*each, self.labels) for each in zip(maps, slices, strict=True)]
        return maps

    def predict_slices(
        self,
        images: Float[Tensor, "b channels h w"],
        names: list[str],
        settings: PredictionSettings,
        *,
        size: tuple[int, int],
        refine: bool,
        trace: bool = False,
        keep: SeenWindows | None = None,
    ) -> list[SliceMaps]:
        """Predict slices of one size as the networks see them; maps are resized to `size`.

        Planes beyond the channels that the networks take are a prior, which replaces the
        segmentor's.
        """
        maps = refine_windows(
            self.hybrid,
            images,
            names,
            settings,
            refine=refine,
            trace=trace,
            keep=keep,
            **self._ways(images, settings),
        )
        return [
            self._finish(
                {key: resize_image(value[i], size) for key, value in maps.items()}, settings
            )
            for i in range(len(names))
        ]

    def refine_reach(
        self,
        seen: Float[Tensor, "1 channels h w"],
        key: str,
        settings: PredictionSettings,
        reach: Bool[Tensor, "h w"],
        guidance: Guidance,
        keep: SeenWindows,
    ) -> tuple[slice, slice, Float[Tensor, "k rows columns"]]:
        """Refine what is within reach of marks again, see `prediction.reach.refine_reach`."""
        return refine_reach(
            self.hybrid,
            seen,
            key,
            settings,
            reach=reach,
            guidance=guidance,
            keep=keep,
            **self._ways(seen, settings),
        )

    def see_ahead(
        self,
        seen: Float[Tensor, "1 channels h w"],
        key: str,
        settings: PredictionSettings,
        keep: SeenWindows,
    ) -> None:
        """Do the work on a slice that its first mark would wait for, see `prediction.reach`."""
        see_ahead(self.hybrid, seen, key, settings, keep=keep, **self._ways(seen, settings))

    def _ways(self, images: Tensor, settings: PredictionSettings) -> dict[str, Any]:
        """Return what every function of windows is told."""
        window, with_prior = self._window_of(settings), self._has_prior(images)
        return {"window": window, "device": self.device, "with_prior": with_prior}

    def _has_prior(self, images: Float[Tensor, "b channels h w"]) -> bool:
        """Return whether the input holds a prior of another model after the image's channels."""
        return images.shape[1] > self.hybrid.segmentor.image_channels

    def change_settings(self, changes: dict[str, Any]) -> PredictionSettings:
        """Return the settings of a prediction with some of them changed."""
        return PredictionSettings.model_validate({**self.settings.model_dump(), **changes})

    def _window_of(self, settings: PredictionSettings) -> tuple[int, int]:
        window, only = settings.window_size or self.window, input_size(self.hybrid.segmentor)
        if only not in (None, window):
            raise ValueError(
                f"window_size is {window[0]}x{window[1]}, but the segmentor takes images of "
                f"{only[0]}x{only[1]} only. Leave window_size out."
            )
        return window

    @property
    def reading(self) -> Reading:
        """The settings by which images and what belongs to them are read."""
        return Reading(
            self.labels, self.channels, self.intensity, self.slicing, self.size, self.priors
        )

    def read_prior(
        self, prior: np.ndarray | PriorFiles | None, image: Image
    ) -> Float[Tensor, "k d h w"] | None:
        """Return the prior that came with an image; None for a model with its own segmentor.

        Raises ValueError if one is missing, not wanted, or does not fit.
        """
        if prior is None and self.priors is None:
            return None
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
        return read_given_prior(prior, self.labels, self.priors, image)

    def _finish(self, maps: dict[str, Tensor], settings: PredictionSettings) -> SliceMaps:
        arrays = {key: value.numpy().astype(np.float32) for key, value in maps.items()}
        probability, prior = arrays["mean"].clip(0, 1), arrays["prior"].clip(0, 1)
        if self.labels.kind == "exclusive":
            probability = probability / probability.sum(axis=0, keepdims=True).clip(1e-6)
        variance = None
        if "squares" in arrays and settings.samples > 1:
            variance = (arrays["squares"] - arrays["mean"] ** 2).clip(0)
        return SliceMaps(
            labels=decide(probability, self.labels, settings.rule),
            probability=probability,
            uncertainty=entropy_bits(probability, self.labels),
            prior=prior,
            prior_labels=decide(prior, self.labels, settings.rule),
            variance=variance,
            trace=read_trace(arrays),
        )
