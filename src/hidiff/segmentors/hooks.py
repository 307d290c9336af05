"""Makes a segmentor of any nn.Module: features are caught at named layers as they pass."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hidiff.segmentors.base import SegmentorOutput
from hidiff.segmentors.pyramid import to_pyramid

PROBE_SIZE = 64  # pixels; the trial image that tells channels and strides


class HookedSegmentor(nn.Module):
    """A network and the layers whose outputs are its features, by stride.

    The network maps an image (b, image_channels, h, w) to logits (b, num_planes, h, w).
    """

    def __init__(self, network: nn.Module, features: Mapping[int, str], image_channels: int):
        super().__init__()
        self.network = network
        self.image_channels = image_channels
        self.features = dict(features)
        for name in features.values():
            self._layer(name)
        probe = self._probe()
        self.num_planes = probe.logits.shape[1]
        self.feature_channels = tuple(feature.shape[1] for feature in probe.features)

    def forward(self, image: Float[Tensor, "b c h w"]) -> SegmentorOutput:
        with self._catching() as caught:
            logits = self.network(image)
        if not isinstance(logits, Tensor) or logits.shape[-2:] != image.shape[-2:]:
            came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(
                f"{type(self.network).__name__} gave {came} for an image {tuple(image.shape)}, "
                "but logits (batch, planes, height, width) of the image's size are wanted. "
                "Wrap it in a module that returns them."
            )
        return SegmentorOutput(logits, to_pyramid(caught, image.shape[2], image.shape[3]))

    @contextmanager
    def _catching(self) -> Iterator[dict[int, Tensor]]:
        """The named layers' outputs, by stride, of what runs in the block.

        Hooks live for one forward pass, so that a copy of the module catches its own layers.
        """
        caught: dict[int, Tensor] = {}

        def catch_as(stride: int):
            def catch(module: nn.Module, args: object, output: Any) -> None:
                caught[stride] = output

            return catch

        handles = [
            self._layer(name).register_forward_hook(catch_as(stride))
            for stride, name in self.features.items()
        ]
        try:
            yield caught
        finally:
            for handle in handles:
                handle.remove()

    def _layer(self, name: str) -> nn.Module:
        try:
            return self.network.get_submodule(name)
        except AttributeError:
            top = ", ".join(name for name, _ in self.network.named_children())
            raise ValueError(
                f"{type(self.network).__name__} has no layer {name!r}. Its outermost layers are "
                f"{top}; named_modules() lists them all."
            ) from None

    @torch.no_grad()
    def _probe(self) -> SegmentorOutput:
        """One trial image: does every layer speak, at the stride it was named for?"""
        was_training = self.network.training
        self.network.eval()
        device = next((p.device for p in self.network.parameters()), torch.device("cpu"))
        image = torch.zeros(1, self.image_channels, PROBE_SIZE, PROBE_SIZE, device=device)
        try:
            with self._catching() as caught:
                self.network(image)
            found = {
                stride: tuple(map_.shape) if isinstance(map_, Tensor) else (type(map_).__name__,)
                for stride, map_ in caught.items()
            }
            wrong = [
                f"{name!r} at {stride}: {found.get(stride, 'never called')}"
                for stride, name in self.features.items()
                if stride not in found or found[stride][2:] != (PROBE_SIZE // stride,) * 2
            ]
            if wrong:
                raise ValueError(
                    f"the features of {type(self.network).__name__} do not lie at their strides; "
                    f"for an image of {PROBE_SIZE}x{PROBE_SIZE} came {'; '.join(wrong)}"
                )
            return self(image)
        finally:
            self.network.train(was_training)


def wrap(
    module: nn.Module, features: Mapping[int, str], *, image_channels: int = 3
) -> HookedSegmentor:
    """Make a segmentor of your own module.

    `features` names a layer for each stride that it has, such as `{4: "layer1", 8: "layer2"}`;
    missing ones of the strides 4, 8, 16 and 32 are pooled or interpolated. Raises ValueError for
    a layer that is not there or lies at another stride.
    """
    return HookedSegmentor(module, features, image_channels)
