"""MERIT: two MaxViT at two sizes, the second looking where the first has found something.

Rahman and Marculescu, "Multi-scale Hierarchical Vision Transformer with Cascaded Attention
Decoding", MIDL 2023 (arXiv 2303.16892), the cascaded form with additive aggregation; the segmentor
of the HiDiff paper. Written from the papers on timm's MaxViT, and not compared with their code.

For 9 classes it has 146.74 M parameters and 33.44 G multiply-adds, where 147.86 M and 33.31 G are
published: so both branches share one decoder (two would make 165 M); where the last 1.1 M lie is
not known to us. timm's MaxViT was trained on images from -1 to 1: `data.intensity: {kind: unit}`.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import combinations
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hidiff import weights
from hidiff.extras import import_extra
from hidiff.segmentors.base import STRIDES
from hidiff.segmentors.hooks import HookedSegmentor

BACKBONE = "maxvit_rmlp_small_rw_224"  # the same network at any size: only its windows grow


def merit(
    image_channels: int,
    num_planes: int,
    sizes: Sequence[int] = (256, 224),
    channels: Sequence[int] = (96, 192, 384, 768),
    depths: Sequence[int] = (2, 2, 5, 2),
    encoder_weights: str | None = None,
) -> HookedSegmentor:
    """MERIT (MIDL 2023), cascaded: MaxViT-small at 256 and 224 pixels, for images of 256x256.

    `sizes` are those of the two branches, multiples of 32, the first that of the images; `channels`
    (multiples of 32) and `depths` are MaxViT's, of four stages. `encoder_weights` is timm's file
    of maxvit_rmlp_small_rw_224.sw_in1k, which both branches start from. In training every sum of
    its four heads has a loss (MUTATION). Extra `timm`.
    """
    network = Merit(image_channels, num_planes, tuple(sizes), tuple(channels), tuple(depths))
    if encoder_weights is not None:
        for backbone in network.backbones:
            load_backbone(backbone, Path(encoder_weights))
    layers = {stride: f"mixed.{level}" for level, stride in enumerate(STRIDES)}
    return HookedSegmentor(network, layers, image_channels, size=(sizes[0], sizes[0]))


class Merit(nn.Module):
    """The network: logits, and in training `auxiliary`, all sums of fewer than its four heads."""

    def __init__(
        self,
        image_channels: int,
        num_planes: int,
        sizes: tuple[int, ...],
        channels: tuple[int, ...],
        depths: tuple[int, ...],
    ):
        # Imports MONAI, which takes seconds: only for who asks for this network.
        from hidiff.segmentors.cascade import Cascade

        super().__init__()
        self.sizes = sizes
        self.to_colour = nn.Identity() if image_channels == 3 else colour(image_channels)
        self.backbones = nn.ModuleList(maxvit(size, channels, depths) for size in sizes)
        self.decoder = Cascade(channels)
        self.heads = nn.ModuleList(nn.Conv2d(each, num_planes, 1) for each in channels)
        self.interest = nn.Sequential(nn.Conv2d(channels[0], 1, 1), nn.Sigmoid())
        self.mixed = nn.ModuleList(Mix() for _ in channels)

    def forward(self, image: Float[Tensor, "b c h w"]) -> dict[str, Tensor | list[Tensor]]:
        side = image.shape[-2:]
        image = self.to_colour(image)
        first_skips = self.backbones[0](resize(image, (self.sizes[0],) * 2))
        first = self.decoder(first_skips)
        # what the first branch found steers the second: where to look, and what is there
        looked_at = image * resize(self.interest(first[0]), side)
        skips = self.backbones[1](resize(looked_at, (self.sizes[1],) * 2))
        second = self.decoder(
            [
                ours + resize(theirs, ours.shape[-2:])
                for ours, theirs in zip(skips, first_skips, strict=True)
            ]
        )
        for mix, ours, theirs in zip(self.mixed, first, second, strict=True):
            mix(ours, theirs)  # caught on its way: the refiner's features
        predictions = [
            resize(head(ours), side) + resize(head(theirs), side)
            for head, ours, theirs in zip(self.heads, first, second, strict=True)
        ]
        *fewer, every = mutations(predictions) if self.training else [sum_of(predictions)]
        return {"logits": every, "auxiliary": fewer}


class Mix(nn.Module):
    """The sum of both branches' features at a stride, at the first one's size."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return first + resize(second, first.shape[-2:])


def mutations(predictions: list[Tensor]) -> list[Tensor]:
    """Return the sum of every non-empty subset of the heads' logits; the sum of all comes last."""
    counts = range(1, len(predictions) + 1)
    return [sum_of(each) for count in counts for each in combinations(predictions, count)]


def sum_of(maps: Sequence[Tensor]) -> Tensor:
    """Add the tensors up, without the integer that Python's `sum` begins with."""
    return reduce(torch.add, maps)


def resize(map_: Float[Tensor, "b c _ _"], size: Sequence[int]) -> Float[Tensor, "b c _ _"]:
    """Resize bilinearly, as every change of size here."""
    return functional.interpolate(map_, tuple(size), mode="bilinear", align_corners=False)


def colour(image_channels: int) -> nn.Sequential:
    """Turn images of other than three channels into the three that MaxViT was trained on."""
    return nn.Sequential(nn.Conv2d(image_channels, 3, 1), nn.BatchNorm2d(3), nn.ReLU(inplace=True))


def maxvit(size: int, channels: tuple[int, ...], depths: tuple[int, ...]) -> nn.Module:
    """timm's MaxViT, untrained, for images of one size: four maps at strides 4 to 32."""
    timm = import_extra("timm", "timm")
    if size % 32:
        raise ValueError(f"segmentor.options.sizes has {size}, but multiples of 32 are wanted")
    return timm.create_model(
        BACKBONE,
        features_only=True,
        out_indices=(1, 2, 3, 4),
        img_size=size,
        embed_dim=channels,
        depths=depths,
    )


def load_backbone(backbone: nn.Module, path: Path) -> None:
    """Give a branch all the weights of timm's file; only what its classifier added is left out."""
    tensors = {
        # timm writes stages.0.x, and the network that gives features calls the same stages_0.x
        name.replace("stages.", "stages_", 1): tensor
        for name, tensor in weights.load_foreign(path).items()
        if name.startswith(("stem.", "stages."))
    }
    try:
        backbone.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(
            f"segmentor.options.encoder_weights, {path}, does not hold timm's {BACKBONE} of "
            f"these channels and depths: {error}"
        ) from error
