"""A trained model for Python: what it is, and its predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import nn

from hidiff import export
from hidiff.correction import Session, start_session
from hidiff.experiment.models import ModelFile, open_model
from hidiff.experiment.predictor import join_predictors, open_models
from hidiff.experiment.sharing import save_pretrained
from hidiff.images import GivenImage
from hidiff.labels import Labels
from hidiff.models import ShippedModel, hub_name, shipped_models
from hidiff.prediction import Prediction, Predictor
from hidiff.recipe import Recipe


class Model:
    """A trained model, as `hidiff.load` returns it.

    It pickles as its path and the arguments of `hidiff.load`, so another process loads it anew.
    `predict` may be called from several threads at once.
    """

    def __init__(self, files: Sequence[ModelFile], predictor: Predictor, options: dict[str, Any]):
        self.predictor = predictor
        """the engine with networks, windows and settings, for research"""
        self.paths = tuple(file.path.resolve() for file in files)
        """the checkpoint, or all checkpoints that are averaged"""
        self.recipe: Recipe = files[0].recipe
        """every setting of the training; for several models that of the first"""
        self.notice: str = files[0].metadata.get("notice", "")
        """data, limits and licence in a sentence; "" if the file has none"""
        self._options = options

    @property
    def path(self) -> Path:
        """The checkpoint; for several models the first."""
        return self.paths[0]

    @property
    def name(self) -> str:
        """The model's name, for a model that comes with HiDiff; otherwise the recipe's name."""
        return self.recipe.name if self._shipped is None else self.path.stem

    @property
    def card(self) -> str:
        """The model card in Markdown: data, results, limits. Empty for your own models."""
        return "" if self._shipped is None else self._shipped.card.read_text(encoding="utf-8")

    @property
    def labels(self) -> Labels:
        """The classes."""
        return self.predictor.labels

    @property
    def channels(self) -> int:
        """The channels of an image: 1 grey, 3 colour."""
        return self.predictor.channels

    @property
    def refines(self) -> bool:
        """True if the refiner was trained; otherwise predictions are the prior."""
        return self.predictor.refines

    @property
    def takes(self) -> str:
        """The channels and values of the images that the model takes, as a phrase."""
        intensity = self.recipe.data.intensity
        values = {
            "unit": f"values of 0..{intensity.full_scale:g}",
            "window": f"values of {intensity.window}, what lies beyond is cut",
        }.get(intensity.kind, "values on any scale, 0 for the background")
        return f"{self.channels} channel{'s' if self.channels > 1 else ''}, {values}"

    @overload
    def predict(self, image: list, **options: Any) -> list[Prediction]: ...

    @overload
    def predict(self, image: GivenImage, **options: Any) -> Prediction: ...

    def predict(self, image: Any, **options: Any) -> Prediction | list[Prediction]:
        """Predict an image, or each image of a list.

        An image is one of these:

        - a path: a file, a tuple with a file for each channel, or the folder of a DICOM series;
        - an array or tensor, (h, w) or (h, w, channels); with `spacing_mm=` or `affine=` a volume;
        - the bytes of a file, or an open file;
        - a picture of Pillow, or an image of nibabel.

        Values must be on the scale of the training images (see `takes`). `value_range=(0, 1)`
        rescales others: these two numbers become the model's black and white.

        All other options are those of `Predictor.predict`, such as samples=4, seed=1 or
        keep_probability=True. For a list of images, `name` and `prior` are lists too; the other
        options hold for all images. Raises ValueError for an image that does not fit; for a list,
        the error says which one.
        """
        if not isinstance(image, list):
            return self.predictor.predict(image, **options)
        single = {key: options.pop(key, None) for key in ("name", "prior")}
        columns = {key: _one_each(key, values, len(image)) for key, values in single.items()}
        predictions = []
        for number, each in enumerate(image):
            own = {key: values[number] for key, values in columns.items()}
            try:
                predictions.append(self.predictor.predict(each, **own, **options))
            except ValueError as error:
                raise ValueError(f"image {number + 1} of {len(image)}: {error}") from error
        return predictions

    def correct(self, image: GivenImage, **options: Any) -> Session:
        """Start a session in which a person corrects the mask of an image.

        An image is what `predict` takes. `mask` starts from another's mask, which stays as it is
        until marks change it: a file, or labels as `Session.labels` has them. `prior` starts from
        another's probability maps, which are refined: a file, or a map a plane in the form of the
        image; it replaces the segmentor's prior, if the model has a segmentor. `settings` are
        CorrectionSettings. All other options (name, spacing_mm, affine, value_range, samples=4,
        ...) are those of `predict`; without marks the session's maps are bit-equal to its result.
        Raises ValueError for an image, mask or prior that does not fit.
        """
        return start_session(self.predictor, image, model_paths=self.paths, **options)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the model as a folder for the Hugging Face hub, and return the folder.

        It holds model.safetensors, config.json and the card README.md, without this machine's
        paths; `hidiff.load` takes its model.safetensors. Raises ValueError for several models in
        one, and for a segmentor of your own.
        """
        if len(self.paths) > 1:
            raise ValueError(
                f"this model is the mean of {len(self.paths)}, which no single file holds. Save "
                "each: hidiff.load(path).save_pretrained(folder)."
            )
        address = f"USER/{self.name}"
        return save_pretrained(open_model(self.path), folder, address=address, card=self.card)

    def __repr__(self) -> str:
        classes = ", ".join(self.labels.class_names)
        return f"<hidiff.Model {self.name}: {classes}; takes {self.takes}; {self.path}>"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._options["segmentor"] is not None:
            raise TypeError(
                "a model with a segmentor of your own does not pickle, as its code is yours. "
                "Call hidiff.load(path, segmentor=...) in the other process."
            )
        return _load_again, (self.paths, self._options)

    @property
    def _shipped(self) -> ShippedModel | None:
        known = {shipped.file.resolve(): shipped for shipped in shipped_models().values()}
        return known.get(self.path) if len(self.paths) == 1 else None


def load(
    path: str | Path | Sequence[str | Path],
    device: torch.device | str = "cpu",
    *,
    segmentor: nn.Module | None = None,
    segmentor_runtime: str = export.TORCH,
    compiled: bool = False,
    revision: str | None = None,
) -> Model:
    """Load a trained model.

    `path` is one of these:

    - a checkpoint (.safetensors), or a run's folder, whose best checkpoint is taken;
    - the name of a model that comes with HiDiff (`hidiff models` lists them);
    - USER/NAME on the Hugging Face hub, at the branch, tag or commit `revision` (extra `hub`);
    - a list of these, such as the folds of a cross-validation. The prediction is their mean.

    A model without a trained refiner (stage 1, or arm segmentor_only) returns its prior.

    `segmentor` is needed if the model was trained with a module of your own: pass a new one of the
    same class. `segmentor_runtime` is torch, onnx or openvino; the last two run on the CPU only,
    and first export the segmentor. `compiled` runs a float refiner through torch.compile. That
    needs a C++ compiler (on a GPU: Triton) and takes a minute for the first window of each size.

    Raises ValueError, which names the file, if it is not a HiDiff model.
    """
    options = {
        "device": str(device),
        "segmentor": segmentor,
        "segmentor_runtime": segmentor_runtime,
        "compiled": compiled,
    }
    if revision is not None:
        if not isinstance(path, str) or hub_name(f"{path}@{revision}") is None:
            raise ValueError(
                f"revision is {revision!r}, but {path!r} is not USER/NAME on the hub, which alone "
                "has revisions. Leave it out."
            )
        path = f"{path}@{revision}"
    files = open_models(path)
    predictor = join_predictors(files, device, segmentor, segmentor_runtime, compiled)
    return Model(files, predictor, options)


def _load_again(paths: tuple[Path, ...], options: dict[str, Any]) -> Model:
    """Load a model of which only the path and the options were pickled."""
    return load(paths, **options)


def _one_each(name: str, values: Any, count: int) -> list[Any]:
    """Return the option's value for each image of a list."""
    if values is None:
        return [None] * count
    if isinstance(values, str | Path | np.ndarray) or len(values) != count:
        raise ValueError(f"{name} is {values!r:.100}, but a list of {count} is wanted, as images.")
    return list(values)
