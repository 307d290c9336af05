"""The refiner: a U-Net on the noisy mask, at strides 1 to 32, that sees the image's features."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float, Integer
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from hidiff.binary import PRECISIONS
from hidiff.refiner.blocks import Block, ConditionBlock, Down, Fusion, Up, group_norm
from hidiff.refiner.cross_transformer import CrossTransformer
from hidiff.refiner.embedding import TimeEmbedding
from hidiff.refiner.encoder import FineEncoder, ImageEncoder

CHANNEL_FACTORS = (1, 1, 2, 2, 4, 4)  # times the width, at strides 1, 2, 4, 8, 16, 32
STRIDE = 32
MIN_SIZE = 64  # at 32 the coarsest grid is one pixel, and norms have nothing to compare

# How image and mask features meet at stride 32; with one condition block each.
EXCHANGES: dict[str, Callable[..., CrossTransformer | Fusion]] = {
    "cross_transformer": CrossTransformer,
    "concatenation": Fusion,
}

NO_HINT_PLANES = (
    "hints came, but this refiner has no planes for them. Train one with refiner.hints=true, or "
    "give the marks as evidence alone."
)

Prepared = tuple[tuple[Tensor, Tensor], ...]
"""What depends on the image alone, of each condition block: (hidden, shortcut)."""
Conditions = tuple[Tensor, ...]
"""What the condition blocks give at a step, out of image and t alone."""


class RefinerSettings(BaseModel):
    """The shape of the refiner."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(
        default=32,
        gt=0,
        multiple_of=8,
        description="number of channels at stride 1; 128 is the paper's",
    )
    precision: Literal["binary", "real"] = Field(
        default="binary",
        description="binary: 1-bit layers (the paper's); real: float layers of the same shapes",
    )
    condition: Literal["each_step", "once"] = Field(
        default="once",
        description="once (ours): t scales the image features after their blocks, so that these "
        "are computed once; each_step (the paper's): t scales them inside the blocks, which are "
        "computed in every step. Both score the same on DRIVE",
    )
    exchange: Literal["cross_transformer", "concatenation"] = Field(
        default="cross_transformer",
        description="fusion of image and mask features at stride 32: cross_transformer (the "
        "paper's), both asking each other; concatenation, for comparison: as at strides 4 to 16",
    )
    fine: bool = Field(
        default=False,
        description="true (ours): the refiner also reads the image itself, at strides 1 and 2, by "
        "real convolutions; false (the paper's): it reads the segmentor's features alone, at "
        "strides 4 to 32",
    )
    hints: bool = Field(
        default=False,
        description="true (ours): read a person's marks, in one more input plane for each mask "
        "plane; the weights of these planes start at zero, so results change only once they learn",
    )
    published_layout: bool = Field(
        default=False,
        description="lay out the tokens as the paper's code does; for its checkpoints only",
    )

    @model_validator(mode="after")
    def _only_tokens_have_a_layout(self) -> "RefinerSettings":
        if self.published_layout and self.exchange != "cross_transformer":
            raise ValueError(
                f"published_layout lays out the cross transformer's tokens, but exchange is "
                f"{self.exchange}. Leave one of them out."
            )
        return self


class Refiner(nn.Module):
    """Predict the clean mask from a noisy one: one raw number a bit.

    The diffusion's target (`flip` or `residual`) gives the number its meaning. The last layer
    starts at zero. Images are (b, image_channels, h, w), their sides multiples of 32, from 64 up;
    features come at strides 4, 8, 16 and 32 with `feature_channels`; without any, the refiner makes
    them by an image encoder of its own. Paper: arXiv 2407.03548, section III.

    With `settings.hints` it also reads marks: +1 (this class), -1 (not this class), 0 (nothing
    said). No hints (None) and hints of zeros give the same output, bit for bit.
    """

    def __init__(
        self,
        image_channels: int,
        num_planes: int,
        feature_channels: Sequence[int],
        settings: RefinerSettings,
    ):
        super().__init__()
        self.fine_encoder = None
        self.image_encoder = None
        if not feature_channels:
            self.image_encoder = ImageEncoder(image_channels, settings.width)
            feature_channels = self.image_encoder.feature_channels
        if len(feature_channels) != 4:
            raise ValueError(
                f"feature_channels has {len(feature_channels)} numbers, but wants 4, "
                "for the features at strides 4, 8, 16 and 32, or none"
            )
        if settings.fine:
            self.fine_encoder = FineEncoder(image_channels, settings.width)
            feature_channels = (*self.fine_encoder.feature_channels, *feature_channels)
        self.settings = settings
        precision, condition = PRECISIONS[settings.precision], settings.condition
        channels = [settings.width * factor for factor in CHANNEL_FACTORS]
        self.embedding = TimeEmbedding(settings.width)
        time = self.embedding.channels

        self.input = nn.Conv2d(image_channels + 2 * num_planes, channels[0], 3, padding=1)
        self.encoder = nn.ModuleList(Block(c, c, time, precision) for c in channels[:5])
        self.first_fusion = 0 if settings.fine else 2  # the level of the first image features
        self.fusions = nn.ModuleList(
            Fusion(feature, c, time, precision, condition)
            for feature, c in zip(
                feature_channels[:-1], channels[self.first_fusion : 5], strict=True
            )
        )
        self.downs = nn.ModuleList(Down(a, b, time, precision) for a, b in pairwise(channels))
        self.middle1 = Block(channels[5], channels[5], time, precision)
        layout = {"published_layout": True} if settings.published_layout else {}
        self.cross = EXCHANGES[settings.exchange](
            feature_channels[-1], channels[5], time, precision, condition, **layout
        )
        self.middle2 = Block(channels[5], channels[5], time, precision)
        upward = list(zip(channels[:0:-1], channels[4::-1], strict=True))
        self.ups = nn.ModuleList(Up(a, b, time, precision) for a, b in upward)
        self.decoder = nn.ModuleList(Block(2 * b, b, time, precision) for _, b in upward)
        self.output_norm = group_norm(channels[0])
        self.output = nn.Conv2d(channels[0], num_planes, 3, padding=1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(_bias(self.output))
        self.hint_input = None
        if settings.hints:
            # The last layer made, so that a seed draws the other weights as it does without hints.
            # Beside `input` and not in it, as more channels would be added up in another order; and
            # without a bias, so that no hints add exactly 0.
            self.hint_input = nn.Conv2d(num_planes, channels[0], 3, padding=1, bias=False)
            nn.init.zeros_(self.hint_input.weight)

    @property
    def reads_hints(self) -> bool:
        """True if the refiner has hint planes."""
        return self.hint_input is not None

    @property
    def condition_blocks(self) -> list[ConditionBlock]:
        """The blocks that bring the image's features in, at strides (1, 2,) 4, 8, 16 and 32."""
        blocks = [*(fusion.condition for fusion in self.fusions), self.cross.condition]
        return [block for block in blocks if isinstance(block, ConditionBlock)]

    def see(
        self, image: Float[Tensor, "b c h w"], features: Sequence[Float[Tensor, "b _ _ _"]]
    ) -> Sequence[Float[Tensor, "b _ _ _"]]:
        """Return all image features: the fine encoder's, then the segmentor's or the encoder's."""
        if self.image_encoder is not None:
            features = self.image_encoder(image)
        return features if self.fine_encoder is None else (*self.fine_encoder(image), *features)

    def prepare(self, features: Sequence[Float[Tensor, "b _ _ _"]]) -> Prepared:
        """Do all work that depends on the image alone: once an image, for all steps and samples."""
        return tuple(
            block.image_part(feature)
            for block, feature in zip(self.condition_blocks, features, strict=True)
        )

    def condition(self, prepared: Prepared, t: Integer[Tensor, "b"]) -> Conditions:
        """Do all work that depends on image and t alone: once a step, for all samples."""
        return self._condition(prepared, self.embedding(t))

    def forward(
        self,
        image: Float[Tensor, "b c h w"],
        yt: Float[Tensor, "b k h w"],
        prior: Float[Tensor, "b k h w"],
        t: Integer[Tensor, "b"],
        features: Sequence[Float[Tensor, "b _ _ _"]],
        hints: Float[Tensor, "b k h w"] | None = None,
    ) -> Float[Tensor, "b k h w"]:
        """Return the raw output for one step; `t` in 1..T."""
        if hints is None and self.reads_hints:
            # Training calls this method, and several processes wait for a gradient of every weight.
            hints = torch.zeros_like(yt)
        time = self.embedding(t)
        conditions = self._condition(self.prepare(self.see(image, features)), time)
        return self._denoise(image, yt, prior, time, conditions, hints)

    def denoise(
        self,
        image: Float[Tensor, "b c h w"],
        yt: Float[Tensor, "b k h w"],
        prior: Float[Tensor, "b k h w"],
        t: Integer[Tensor, "b"],
        conditions: Conditions,
        hints: Float[Tensor, "b k h w"] | None = None,
    ) -> Float[Tensor, "b k h w"]:
        """Return what `forward` does, from `condition(prepare(features), t)`, done before."""
        return self._denoise(image, yt, prior, self.embedding(t), conditions, hints)

    def _condition(self, prepared: Prepared, time: Tensor) -> Conditions:
        return tuple(
            block(part, time) for block, part in zip(self.condition_blocks, prepared, strict=True)
        )

    def _denoise(
        self,
        image: Tensor,
        yt: Tensor,
        prior: Tensor,
        time: Tensor,
        conditions: Conditions,
        hints: Tensor | None,
    ) -> Tensor:
        check_size(image)
        x = self.input(torch.cat([image, yt, prior], dim=1))
        if hints is not None:
            if self.hint_input is None:
                raise ValueError(NO_HINT_PLANES)
            x = x + self.hint_input(hints)
        skips = []
        for level, (block, down) in enumerate(zip(self.encoder, self.downs, strict=True)):
            x = block(x, time)
            if (number := level - self.first_fusion) >= 0:
                x = self.fusions[number](x, conditions[number], time)
            skips.append(x)
            x = down(x, time)
        x = self.middle1(x, time)
        x = self.cross(x, conditions[-1], time)
        x = self.middle2(x, time)
        for up, block in zip(self.ups, self.decoder, strict=True):
            x = block(torch.cat([up(x, time), skips.pop()], dim=1), time)
        return self.output(functional.silu(self.output_norm(x)))


def check_size(image: Tensor) -> None:
    """Raise ValueError unless both sides are multiples of 32, and 64 at least."""
    height, width = image.shape[-2:]
    if height % STRIDE or width % STRIDE or min(height, width) < MIN_SIZE:
        raise ValueError(
            f"image is {height}x{width}, but both sides must be multiples of {STRIDE} and at "
            f"least {MIN_SIZE}. Pad it, or use Predictor, which pads and crops for you."
        )


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
