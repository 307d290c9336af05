"""Makes a segmentor of any nn.Module: features are caught at named layers as they pass."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from hidiff.segmentors.base import SegmentorOutput, TrainedOn
from hidiff.segmentors.outputs import (
    Place,
    find_logits,
    find_maps,
    take_logits,
    take_map,
    tensors_of,
)
from hidiff.segmentors.pyramid import to_pyramid
from hidiff.segmentors.survey import (
    TRIAL_SIZE,
    blank,
    catching,
    describe,
    propose_features,
    survey,
    try_out,
)


class HookedSegmentor(nn.Module):
    """A network and the layers whose outputs are its features, by stride.

    The network maps an image (b, image_channels, h, w) to logits, bare or among other outputs (see
    `outputs.find_logits`). A layer may give several maps: the last one of its stride is taken.
    Without layers there are no features. `size` is the only (height, width) that it takes, if so.
    """

    def __init__(
        self,
        network: nn.Module,
        features: Mapping[int, str],
        image_channels: int,
        *,
        logits: str | int | None = None,
        size: tuple[int, int] | None = None,
        trained_on: TrainedOn | None = None,
    ):
        super().__init__()
        self.network = network
        self.trained_on = trained_on
        self.image_channels = image_channels
        self.features = {int(stride): name for stride, name in features.items()}
        self.logits = None if logits is None else str(logits)
        self.input_size = None if size is None else (size[0], size[1])
        for name in self.features.values():
            self._check_layer(name)
        height, width = self.input_size or TRIAL_SIZE
        image = blank(network, image_channels, (height, width))
        output, caught = try_out(network, image, set(self.features.values()))
        self._place = find_logits(output, image, self.logits)
        self.num_planes = take_map(output, self._place, height, width).shape[1]
        self._places = self._find_places(caught, height, width)
        pyramid = self._pyramid(caught, height, width)
        self.feature_channels = tuple(feature.shape[1] for feature in pyramid)

    def forward(self, image: Float[Tensor, "b c h w"]) -> SegmentorOutput:
        height, width = image.shape[2:]
        if self.input_size not in (None, (height, width)):
            raise ValueError(
                f"the image is {height}x{width}, but {type(self.network).__name__} takes "
                f"{self.input_size[0]}x{self.input_size[1]} only. Use Predictor, which looks "
                "through windows of that size."
            )
        with catching(self.network, set(self.features.values())) as caught:
            output = self.network(image)
        place = self._place
        if place.path not in tensors_of(output):  # in training some give more than in prediction
            place = find_logits(output, image, self.logits)
        logits = take_logits(output, place, height, width)
        if logits.shape[-2:] != image.shape[-2:]:
            raise ValueError(
                f"{type(self.network).__name__} gave {tuple(logits.shape)} for an image "
                f"{tuple(image.shape)}, but logits (batch, planes, height, width) of the image's "
                "size are wanted. If it takes images of one size only, wrap it with size=."
            )
        auxiliary = output.get("auxiliary", ()) if isinstance(output, Mapping) else ()
        return SegmentorOutput(logits, self._pyramid(caught, height, width), tuple(auxiliary))

    def _pyramid(self, caught: Mapping[str, Any], height: int, width: int) -> tuple[Tensor, ...]:
        if not self.features:
            return ()
        maps = {
            stride: take_map(caught[self.features[stride]], place, height, width)
            for stride, place in self._places.items()
        }
        return to_pyramid(maps, height, width)

    def _find_places(self, caught: Mapping[str, Any], height: int, width: int) -> dict[int, Place]:
        """Find each feature in its layer's output; check that every layer ran, at its stride."""
        places, wrong = {}, []
        for stride, name in self.features.items():
            maps = find_maps(caught.get(name), 1, height, width)
            fitting = [place for place in maps if place.stride == stride]
            if fitting:
                places[stride] = fitting[-1]
                continue
            came = tensors_of(caught.get(name)).values()
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in came)
            silent = "no tensor" if name in caught else "never called"
            wrong.append(f"{name!r} at {stride}: {shapes or silent}")
        if wrong:
            found, _ = survey(self.network, self.image_channels, (height, width))
            raise ValueError(
                f"the features of {type(self.network).__name__} do not lie at their strides; for "
                f"an image of {height}x{width} came {'; '.join(wrong)}. In all, {describe(found)}."
            )
        return places

    def _check_layer(self, name: str) -> None:
        try:
            self.network.get_submodule(name)
        except AttributeError:
            top = ", ".join(name for name, _ in self.network.named_children())
            raise ValueError(
                f"{type(self.network).__name__} has no layer {name!r}. Its outermost layers are "
                f"{top}; named_modules() lists them all, and features=None proposes some."
            ) from None


def wrap(
    module: nn.Module,
    features: Mapping[int, str] | None = None,
    *,
    image_channels: int = 3,
    logits: str | int | None = None,
    size: tuple[int, int] | None = None,
) -> HookedSegmentor:
    """Make a segmentor of your own module; it is used itself, not copied.

    `features` names a layer for each stride that it has, such as `{4: "layer1", 8: "layer2"}`;
    missing ones of the strides 4, 8, 16 and 32 are pooled or interpolated. Left out, they are
    proposed (see `propose_features`); empty, the refiner looks with an encoder of its own.
    `logits` says which element of a tuple or dict the logits are, such as 1 or "out"; left out, see
    `outputs.find_logits`. `size` is (height, width) of the images, if the module takes one only.
    Raises ValueError, with what was found, for a layer that is not there or lies at another stride.
    """
    if features is None:
        features = propose_features(module, image_channels, size, logits)
    return HookedSegmentor(module, features, image_channels, logits=logits, size=size)
