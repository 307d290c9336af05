"""A trained nnU-Net v2 as segmentor: the 2-D network of a results folder.

Made of plans.json, dataset.json and fold_X/checkpoint_final.pth, by nnU-Net's own package of
architectures (extra `nnunet`); nnU-Net itself is not needed, and nothing is unpickled. It looks
through windows of the patch size that it was planned for. Images must be of the spacing in its
plans, as nothing is resampled here, and of the intensity that they name (else a warning says so):

| plans | data.intensity | the difference |
|---|---|---|
| ZScoreNormalization | zscore | HiDiff leaves pixels that are 0 out of the statistics |
| CTNormalization | window, from the plans' 0.5th to 99.5th percentile | none |
| RGBTo01Normalization | unit | none |

Planes are in the order of dataset.json: its regions, or its labels with the background. Trained for
one label and background, it may give a single plane: their difference.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from hidiff import weights
from hidiff.extras import import_extra
from hidiff.segmentors.base import STRIDES, TrainedOn
from hidiff.segmentors.hooks import HookedSegmentor
from hidiff.segmentors.unused import freeze_unused

ARCHITECTURES = ("PlainConvUNet", "ResidualEncoderUNet")


class Plans(NamedTuple):
    """The description of a 2-D network in nnU-Net's results folder."""

    architecture: str
    arguments: dict[str, Any]
    num_channels: int
    num_heads: int
    patch_size: tuple[int, int]
    trained_on: TrainedOn
    scale: float
    """factor of images of that intensity,"""
    shift: float
    """and what is added then, to be as nnU-Net had them"""


def nnunet(
    image_channels: int,
    num_planes: int,
    folder: str,
    fold: int | str = 0,
    checkpoint: str = "checkpoint_final.pth",
) -> HookedSegmentor:
    """A trained nnU-Net v2, 2-D: its results folder, with plans.json, and the fold to take.

    `folder` is such as nnUNet_results/Dataset001_X/nnUNetTrainer__nnUNetPlans__2d. Images must be
    prepared as its plans say: see hidiff.segmentors.nnunet. Extra `nnunet`.
    """
    root = Path(folder)
    plans = read_plans(root)
    if plans.num_channels != image_channels:
        raise ValueError(
            f"{root / 'dataset.json'} has {plans.num_channels} channels, but the images have "
            f"{image_channels}. Set data.channels to that."
        )
    single = plans.num_heads == 2 and num_planes == 1
    if plans.num_heads != num_planes and not single:
        raise ValueError(
            f"{root / 'dataset.json'} has {plans.num_heads} planes, but the recipe's labels want "
            f"{num_planes}. Write the same classes into labels, in the same order."
        )
    unet = make_unet(plans)
    load_fold(unet, root / f"fold_{fold}" / checkpoint)
    network = PlannedUNet(unet, plans.scale, plans.shift, single)
    segmentor = HookedSegmentor(
        network,
        layers_of(plans),
        image_channels,
        size=plans.patch_size,
        trained_on=plans.trained_on,
    )
    return freeze_unused(segmentor)


class PlannedUNet(nn.Module):
    """nnU-Net's network behind its own normalisation, deep supervision off."""

    def __init__(self, unet: nn.Module, scale: float, shift: float, single: bool):
        super().__init__()
        self.unet = unet
        self.scale = scale
        self.shift = shift
        self.single = single

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        logits = self.unet(image * self.scale + self.shift)
        # the softmax of two is the sigmoid of their difference
        return logits[:, 1:] - logits[:, :1] if self.single else logits


def read_plans(root: Path) -> Plans:
    """Read plans.json and dataset.json. Raises ValueError, naming it, for what cannot be done."""
    plans, dataset = _read(root / "plans.json"), _read(root / "dataset.json")
    try:
        planned = _configuration(plans["configurations"], "2d")
        names, architecture = dataset["channel_names"], planned["architecture"]
        patch_size = tuple(planned["patch_size"])
        properties = plans.get("foreground_intensity_properties_per_channel", {})
        intensity, scale, shift = _intensity(planned["normalization_schemes"], properties)
        return Plans(
            architecture=_architecture(architecture["network_class_name"]),
            arguments=_arguments(architecture),
            num_channels=len(names),
            num_heads=_count_heads(dataset["labels"]),
            patch_size=_patch(patch_size),
            trained_on=TrainedOn(intensity, tuple(planned["spacing"])),
            scale=scale,
            shift=shift,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{root}: plans.json and dataset.json do not read as those of a 2-D nnU-Net of version "
            f"2.4 or newer ({type(error).__name__}: {error})."
        ) from error
    except ValueError as error:
        raise ValueError(f"{root}: {error}") from error


def make_unet(plans: Plans) -> nn.Module:
    """Make the network that the plans describe, untrained."""
    module = import_extra("dynamic_network_architectures.architectures.unet", "nnunet")
    try:
        return getattr(module, plans.architecture)(
            input_channels=plans.num_channels,
            num_classes=plans.num_heads,
            deep_supervision=False,
            **plans.arguments,
        )
    except (TypeError, AssertionError) as error:
        raise ValueError(
            f"the plans do not fit dynamic_network_architectures' {plans.architecture}: {error}"
        ) from error


def load_fold(unet: nn.Module, path: Path) -> None:
    """Give the network all the weights of a fold's checkpoint."""
    tensors = weights.load_foreign(path)
    try:
        # of a network trained by several processes every name begins with "module."
        unet.load_state_dict({name.removeprefix("module."): t for name, t in tensors.items()})
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the plans beside it: {error}") from error


def layers_of(plans: Plans) -> dict[int, str]:
    """Return the layers at strides 4 to 32: the decoder's, or the encoder's if it has none."""
    strides = plans.arguments["strides"]
    deepest = len(strides) - 1
    rows, columns, layers = 1, 1, {}
    for stage, stride in enumerate(strides):
        down, across = stride if isinstance(stride, list) else (stride, stride)
        rows, columns = rows * down, columns * across
        if rows == columns and rows in STRIDES:
            decoder, encoder = f"decoder.stages.{deepest - 1 - stage}", f"encoder.stages.{stage}"
            layers[rows] = f"unet.{decoder if stage < deepest else encoder}"
    return layers


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} does not read ({error}). segmentor.options.folder must be nnU-Net's results "
            "folder of one configuration, which holds plans.json, dataset.json and fold_0."
        ) from error


def _configuration(configurations: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a configuration, with what it inherits."""
    found = configurations[name]
    parent = found.get("inherits_from")
    return {**_configuration(configurations, parent), **found} if parent else dict(found)


def _architecture(class_name: str) -> str:
    name = class_name.rpartition(".")[2]
    if name not in ARCHITECTURES:
        raise ValueError(
            f"the plans name the network {class_name}, but must name {' or '.join(ARCHITECTURES)}"
        )
    return name


def _arguments(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Return the network's arguments; names of classes are looked up in torch.nn alone."""
    arguments = dict(architecture["arch_kwargs"])
    for key in architecture["_kw_requires_import"]:
        if arguments[key] is None:
            continue
        module, _, name = arguments[key].rpartition(".")
        found = getattr(nn, name, None)
        if module.split(".")[:2] != ["torch", "nn"] or not isinstance(found, type):
            raise ValueError(f"the plans' {key} is {arguments[key]}, which is no layer of torch.nn")
        arguments[key] = found
    if arguments["conv_op"] is not nn.Conv2d:
        raise ValueError(f"the plans' conv_op is {arguments['conv_op'].__name__}, not Conv2d")
    return arguments


def _patch(patch_size: tuple[int, ...]) -> tuple[int, int]:
    if len(patch_size) != 2 or any(side % max(STRIDES) for side in patch_size):
        raise ValueError(
            f"the plans' patch_size is {patch_size}, but two multiples of {max(STRIDES)} are "
            "wanted, as the refiner's strides go up to that"
        )
    return patch_size[0], patch_size[1]


def _count_heads(labels: Mapping[str, Any]) -> int:
    """Count one head for each region, else one for each label with the background.

    The class "ignore" has none.
    """
    values = [value for name, value in labels.items() if name != "ignore"]
    if any(isinstance(value, list) and len(value) > 1 for value in values):
        return sum(value not in (0, [0]) for value in values)
    return len(values)


def _intensity(
    schemes: list[str], properties: Mapping[str, Any]
) -> tuple[dict[str, Any], float, float]:
    """Return data.intensity for nnU-Net's scheme, and the scale and shift that remain."""
    scheme, *others = dict.fromkeys(schemes)
    if others or (scheme == "CTNormalization" and len(schemes) > 1):
        raise ValueError(
            f"the plans normalise the channels as {', '.join(schemes)}, but data.intensity is the "
            "same for all channels"
        )
    if scheme == "ZScoreNormalization":
        return {"kind": "zscore"}, 1.0, 0.0
    if scheme == "RGBTo01Normalization":  # 0..255 -> 0..1, where unit gives -1..1
        return {"kind": "unit", "full_scale": 255.0}, 0.5, 0.5
    if scheme == "CTNormalization":
        found = properties["0"]
        low, high = found["percentile_00_5"], found["percentile_99_5"]
        half, middle = (high - low) / 2, (high + low) / 2
        scale, shift = half / found["std"], (middle - found["mean"]) / found["std"]
        return {"kind": "window", "window": (low, high)}, scale, shift
    raise ValueError(
        f"the plans normalise by {scheme}, which data.intensity cannot do. Known are "
        "ZScoreNormalization, CTNormalization and RGBTo01Normalization."
    )
