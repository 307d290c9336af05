"""Stands where a segmentor would, for priors that come from files."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hidiff.segmentors.base import SegmentorOutput

FILES = "files"
LEAST = 1e-6  # a file may say 0 or 1, whose logits are infinite


class PriorFromFiles(nn.Module):
    """Hands on the probabilities that come with an image, as its last planes.

    It has no features and nothing to train: the refiner looks at image and prior with an encoder of
    its own.
    """

    feature_channels: tuple[int, ...] = ()

    def __init__(self, image_channels: int, num_planes: int, exclusive: bool):
        super().__init__()
        self.image_channels = image_channels + num_planes
        self.num_planes = num_planes
        self.exclusive = exclusive

    def forward(self, image: Float[Tensor, "b c h w"]) -> SegmentorOutput:
        if image.shape[1] != self.image_channels:
            raise ValueError(
                f"the image has {image.shape[1]} channels, but {self.image_channels} are wanted: "
                f"the last {self.num_planes} are the prior. Give the prior beside the image."
            )
        prior = image[:, -self.num_planes :].clamp(LEAST, 1 - LEAST)
        return SegmentorOutput(prior.log() if self.exclusive else torch.logit(prior), ())
