"""Predicts images of any size: windows in, labels, probability and uncertainty out."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from monai.inferers.utils import sliding_window_inference
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from hidiff import seeding
from hidiff.data import Intensity, load_image, normalise, read_open_picture, resize_image
from hidiff.diffusion import at_temperature, subset
from hidiff.hybrid import HybridSegmentor
from hidiff.inference.prediction import Prediction, decide, entropy_bits

MIRRORS = ((), (3,), (2,), (2, 3))  # axes turned round: none, left-right, up-down, both


class PredictionSettings(BaseModel):
    """How much work a prediction is, and how it ends in labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(default=1, ge=1, description="refinements whose mean is taken")
    steps: int | None = Field(
        default=None, ge=1, description="steps of each refinement; left out: all T"
    )
    sampler: Literal["ancestral", "ddim"] = "ancestral"
    temperature: float | None = Field(
        default=None,
        ge=0,
        description="of every draw: 1 draws masks as likely as the model finds them, each like "
        "another reader's; below 1 a draw keeps closer to the likeliest; at 0 nothing is left to "
        "chance, and samples are all alike. Left out: 0 for one sample, 0.5 for several",
    )
    seed: int = Field(default=0, description="of the draws; the same gives the same masks")
    rule: Literal["half", "expected_dice"] = Field(
        default="half",
        description="half: 0.5, or argmax; expected_dice: the cut of the best expected Dice",
    )
    mirror: bool = Field(default=False, description="average over four mirrored looks")
    overlap: float = Field(default=0.25, ge=0, lt=1, description="share of a window, each way")
    windows: int = Field(default=8, ge=1, description="windows at once")

    @property
    def heat(self) -> float:
        """The temperature, chosen by the number of samples where it is left out."""
        if self.temperature is not None:
            return self.temperature
        return 0.0 if self.samples == 1 else 0.5


class Predictor:
    """A trained hybrid, ready for images.

    `window` is the (height, width) it looks through, as in training; smaller images are padded
    by repeating their rim. `size` is what whole images are resized to, if they are. `refines` is
    False for a model whose refiner was never trained: then the prior is the answer.
    """

    def __init__(
        self,
        hybrid: HybridSegmentor,
        *,
        channels: int,
        intensity: Intensity,
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
        self.window = window
        self.size = size
        self.settings = settings or PredictionSettings()
        self.refines = refines

    def predict(
        self,
        image: np.ndarray | Image.Image | Path | str,
        *,
        name: str | None = None,
        refine: bool | None = None,
        trace: bool = False,
        **changes: Any,
    ) -> Prediction:
        """Refine the mask of one image: a file, a PIL image, or an array (h, w) or (h, w, c).

        Values are raw, as in the file (0..255 for 8 bits). `changes` are PredictionSettings, such
        as samples=4, steps=5, seed=1, rule="expected_dice". Without `refine` (left out: as the
        model was trained) the prior stands in for the refined probability. Raises ValueError for
        an image that does not fit.
        """
        refine = self.refines if refine is None else refine
        settings = PredictionSettings.model_validate({**self.settings.model_dump(), **changes})
        if name is None:
            name = Path(image).stem if isinstance(image, str | Path) else ""
        tensor = self._read(image)
        original = (tensor.shape[1], tensor.shape[2])
        if self.size is not None:
            tensor = resize_image(tensor, self.size)
        maps = self._windows(tensor, settings, name, refine, trace)
        if self.size is not None:
            maps = {key: resize_image(value, original) for key, value in maps.items()}
        return self._finish(name, maps, settings, trace)

    def _read(self, image: np.ndarray | Image.Image | Path | str) -> Float[Tensor, "c h w"]:
        if isinstance(image, str | Path):
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

    @torch.inference_mode()
    def _windows(
        self,
        image: Float[Tensor, "c h w"],
        settings: PredictionSettings,
        name: str,
        refine: bool,
        trace: bool,
    ) -> dict[str, Float[Tensor, "_ h w"]]:
        """The maps of one image, put together from overlapping windows; on the CPU."""

        def look(window: Tensor, places: list) -> dict[str, Tensor]:
            window = window.contiguous(memory_format=torch.channels_last)
            corners = [(int(place[2].start), int(place[3].start)) for place in places]
            mirrors = MIRRORS if settings.mirror else MIRRORS[:1]
            looks = [
                self._mirrored(window, axes, corners, settings, (name, number), refine, trace)
                for number, axes in enumerate(mirrors)
            ]
            return {key: torch.stack([each[key] for each in looks]).mean(dim=0) for key in looks[0]}

        maps = sliding_window_inference(
            image[None],
            roi_size=self.window,
            sw_batch_size=settings.windows,
            predictor=look,
            overlap=settings.overlap,
            mode="gaussian",
            padding_mode="replicate",
            sw_device=self.device,
            device="cpu",
            with_coord=True,
        )
        assert isinstance(maps, dict)
        return {key: value[0] for key, value in maps.items()}

    def _mirrored(
        self,
        window: Float[Tensor, "b c h w"],
        axes: tuple[int, ...],
        corners: list[tuple[int, int]],
        settings: PredictionSettings,
        words: tuple[int | str, ...],
        refine: bool,
        trace: bool,
    ) -> dict[str, Float[Tensor, "b _ h w"]]:
        """Segmentor once, refiner for each sample and step, on windows turned round and back."""
        window = window.flip(axes) if axes else window
        look = self.hybrid.look(window)
        maps = {"prior": look.prior}
        if refine:
            maps |= self._refined(window, look, axes, corners, settings, words, trace)
        else:
            maps["mean"] = look.prior
        return {key: value.flip(axes) if axes else value for key, value in maps.items()}

    def _refined(
        self, window, look, axes, corners, settings: PredictionSettings, words, trace: bool
    ) -> dict[str, Tensor]:
        planes, (height, width) = self.labels.num_planes, window.shape[2:]

        def uniforms_of(sample: int):
            def uniform(t: int) -> Tensor:
                fields = [
                    seeding.uniform_window(
                        settings.seed, *words, sample, t,
                        planes=planes, top=top, left=left, height=height, width=width,
                    )
                    for top, left in corners
                ]  # fmt: skip
                field = at_temperature(torch.stack(fields), settings.heat)
                field = field.to(window.device)
                return field.flip(axes) if axes else field

            return uniform

        num_steps = self.hybrid.schedule.num_steps
        steps = subset(num_steps, min(settings.steps or num_steps, num_steps))
        uniforms = [uniforms_of(sample) for sample in range(settings.samples)]
        total, squares = torch.zeros_like(look.prior), torch.zeros_like(look.prior)
        maps = {}
        traces = self.hybrid.refine(window, look, steps, uniforms, settings.sampler)
        for sample, steps_taken in enumerate(traces):
            y0_hat = steps_taken[-1].y0_hat
            total += y0_hat
            squares += y0_hat.square()
            if trace and sample == 0:
                for step in steps_taken:
                    maps[f"yt {step.t}"], maps[f"y0_hat {step.t}"] = step.yt, step.y0_hat
        count = settings.samples
        return {**maps, "mean": total / count, "squares": squares / count}

    def _finish(
        self, name: str, maps: dict[str, Tensor], settings: PredictionSettings, trace: bool
    ) -> Prediction:
        arrays = {key: value.numpy().astype(np.float32) for key, value in maps.items()}
        probability, prior = arrays["mean"].clip(0, 1), arrays["prior"].clip(0, 1)
        if self.labels.kind == "exclusive":
            probability = probability / probability.sum(axis=0, keepdims=True).clip(1e-6)
        variance = None
        if "squares" in arrays and settings.samples > 1:
            variance = (arrays["squares"] - arrays["mean"] ** 2).clip(0)
        # MONAI sorts the maps by name
        steps = sorted((int(key.split()[1]) for key in arrays if key[:3] == "yt "), reverse=True)
        return Prediction(
            name=name,
            labels=decide(probability, self.labels, settings.rule),
            probability=probability,
            uncertainty=entropy_bits(probability, self.labels),
            prior=prior,
            prior_labels=decide(prior, self.labels, settings.rule),
            variance=variance,
            trace=[
                (t, (arrays[f"yt {t}"] >= 0.5).astype(np.float32), arrays[f"y0_hat {t}"])
                for t in steps
            ],
        )
