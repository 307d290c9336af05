"""EfficientNet-Lite0, the classifier: EfficientNet-B0 with ReLU6, without squeeze-and-excitation.

Names, order of construction and arithmetic are those of MONAI's EfficientNet, which is not imported
for the time that takes; a test compares them bit for bit. Padding is TensorFlow's "same" for images
whose sides are multiples of 32.
"""

import math
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn


class Stage(NamedTuple):
    """Blocks of one size; the first of them takes the stride and the change of channels."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    inputs: int
    outputs: int


STAGES = (
    Stage(1, 3, 1, 1, 32, 16),
    Stage(2, 3, 2, 6, 16, 24),
    Stage(2, 5, 2, 6, 24, 40),
    Stage(3, 3, 2, 6, 40, 80),
    Stage(3, 5, 1, 6, 80, 112),
    Stage(4, 5, 2, 6, 112, 192),
    Stage(1, 3, 1, 6, 192, 320),
)
STEM, HEAD, CLASSES = 32, 1280, 1000  # channels
EPSILON = 1e-3  # of batch norm, as in the published weights


class EfficientNetLite0(nn.Module):
    """The classifier of ImageNet's 1,000 classes, with random weights."""

    def __init__(self):
        super().__init__()
        self._conv_stem = nn.Conv2d(3, STEM, 3, stride=2, bias=False)
        self._conv_stem_padding = same_padding(3, 2)
        self._bn0 = nn.BatchNorm2d(STEM, EPSILON)
        self._blocks = nn.Sequential()
        number = 0  # blocks are numbered through all stages
        for stage in STAGES:
            blocks = nn.Sequential()
            for _ in range(stage.repeats):
                blocks.add_module(str(number), InvertedBottleneck(stage))
                stage = stage._replace(inputs=stage.outputs, stride=1)
                number += 1
            self._blocks.append(blocks)
        self._conv_head = nn.Conv2d(STAGES[-1].outputs, HEAD, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(HEAD, EPSILON)
        self._avg_pooling = nn.AdaptiveAvgPool2d(1)
        self._dropout = nn.Dropout(0.2)
        self._fc = nn.Linear(HEAD, CLASSES)
        self._swish = nn.ReLU6(inplace=True)  # the name of what Lite0 replaced
        self._draw_weights()

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        x = self._swish(self._bn0(self._conv_stem(self._conv_stem_padding(image))))
        x = self._swish(self._bn1(self._conv_head(self._blocks(x))))
        return self._fc(self._dropout(self._avg_pooling(x).flatten(1)))

    def _draw_weights(self) -> None:
        """Draw the weights as TensorFlow's EfficientNet does, those of depthwise layers anew."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels
                nn.init.normal_(module.weight, 0, math.sqrt(2 / fan_out))
            elif isinstance(module, nn.Linear):
                bound = 1 / math.sqrt(module.out_features)
                nn.init.uniform_(module.weight, -bound, bound)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, InvertedBottleneck):
                # that fan_out counts all channels, of which each filter sees one: far too small
                nn.init.kaiming_normal_(module._depthwise_conv.weight)


class InvertedBottleneck(nn.Module):
    """Widen, filter each channel by itself, narrow (MBConv, arXiv 1801.04381)."""

    def __init__(self, stage: Stage):
        super().__init__()
        wide = stage.inputs * stage.expansion
        self._expand_conv = nn.Identity()
        self._bn0 = nn.Identity()
        if stage.expansion != 1:
            self._expand_conv = nn.Conv2d(stage.inputs, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, EPSILON)
        self._depthwise_conv = nn.Conv2d(
            wide, wide, stage.kernel, stride=stage.stride, groups=wide, bias=False,
            # of stride 1 the zeros come from within the convolution, without a copy of its input
            padding=stage.kernel // 2 if stage.stride == 1 else 0,
        )  # fmt: skip
        self._depthwise_conv_padding = same_padding(stage.kernel, stage.stride)
        self._bn1 = nn.BatchNorm2d(wide, EPSILON)
        self._project_conv = nn.Conv2d(wide, stage.outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(stage.outputs, EPSILON)
        self._swish = nn.ReLU6(inplace=True)
        self.expands = stage.expansion != 1
        self.skips = stage.stride == 1 and stage.inputs == stage.outputs

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d H W"]:
        x = image
        if self.expands:
            x = self._swish(self._bn0(self._expand_conv(x)))
        x = self._depthwise_conv(self._depthwise_conv_padding(x))
        x = self._bn2(self._project_conv(self._swish(self._bn1(x))))
        return x + image if self.skips else x


def same_padding(kernel: int, stride: int) -> nn.Module:
    """Return TensorFlow's padding before a convolution of stride 2 on an even side.

    Where a row of zeros is left over, it goes below and to the right. Stride 1 needs no layer: the
    convolution pads itself.
    """
    if stride == 1:
        return nn.Identity()
    total = kernel - stride
    before, after = total // 2, total - total // 2
    return nn.ConstantPad2d((before, after, before, after), 0.0)
