"""The whole refiner on bits: the float refiner's U-Net as a chain of 1-bit blocks.

Every block gives the signs that the next ones read, so that no float is packed twice. The layers
that stay float (input, output and condition blocks) are handed in.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn
from torch.nn import functional

from hidiff.packed.cross_transformer import PackedCrossTransformer
from hidiff.packed.engine import Engine
from hidiff.packed.memory import Memory
from hidiff.packed.modules import PackedLayer
from hidiff.packed.shape import Shape
from hidiff.packed.steps import StepTable, StepValues


class Condition(NamedTuple):
    """The output of a condition block at a step: the feature, and its signs for the fusion."""

    feature: Tensor
    bits: Tensor | None
    """None at stride 32, where the cross transformer reads it"""


class PackedRefiner(nn.Module):
    """Takes the float refiner's place at prediction: see, prepare, condition and denoise.

    `engine` computes every 1-bit layer. `condition_blocks`, at strides (1, 2,) 4, 8, 16 and 32,
    have `image_part(feature, convolve)` and `modulated(image_part, factor, shift)`; their factors
    and shifts of t are in the table. `condition_compute`, a key of COMPUTES, names how their
    convolutions compute. `hint_input` reads hints, if the refiner has planes for them.
    """

    def __init__(
        self,
        shape: Shape,
        engine: Engine,
        *,
        input: nn.Conv2d,
        condition_blocks: Sequence[nn.Module],
        output_norm: nn.GroupNorm,
        output: nn.Conv2d,
        image_encoder: nn.Module | None = None,
        fine_encoder: nn.Module | None = None,
        hint_input: nn.Conv2d | None = None,
        condition_compute: str = "float32",
    ):
        super().__init__()
        channels = shape.channels
        self.engine = engine
        self.condition_compute = condition_compute
        self.table = table = StepTable()
        self.input = input
        self.hint_input = hint_input
        self.condition_blocks = nn.ModuleList(condition_blocks)
        self.image_encoder = image_encoder
        self.fine_encoder = fine_encoder
        self.first_fusion = first = shape.first_fusion
        self.output_norm = output_norm
        self.output = output
        self.modulations = [(table.reserve(c), table.reserve(c)) for c in channels[first:]]
        """factor and shift of each condition block"""
        layer = partial(PackedLayer, engine, table)
        self.encoder = nn.ModuleList(layer(c, c, 3) for c in channels[:5])
        self.fusions = nn.ModuleList(layer(2 * c, c, 3) for c in channels[first:5])
        self.downs = nn.ModuleList(layer(a, b, 3, 2) for a, b in pairwise(channels))
        self.middle1 = layer(channels[5], channels[5], 3)
        self.cross = PackedCrossTransformer(engine, table, shape)
        self.middle2 = layer(channels[5], channels[5], 3)
        upward = list(zip(channels[:0:-1], channels[4::-1], strict=True))
        self.ups = nn.ModuleList(layer(a, b, 3) for a, b in upward)
        self.decoder = nn.ModuleList(layer(2 * b, b, 3) for _, b in upward)
        self._memory = Memory(())

    @property
    def reads_hints(self) -> bool:
        """True if the refiner has hint planes."""
        return self.hint_input is not None

    def see(
        self, image: Float[Tensor, "b c h w"], features: Sequence[Float[Tensor, "b _ _ _"]]
    ) -> Sequence[Float[Tensor, "b _ _ _"]]:
        """Return all image features: the fine encoder's, then the segmentor's or the encoder's."""
        if self.image_encoder is not None:
            features = self.image_encoder(image, self.engine.convolve)
        if self.fine_encoder is None:
            return features
        return (*self.fine_encoder(image, self.engine.convolve), *features)

    def prepare(
        self, features: Sequence[Float[Tensor, "b _ _ _"]]
    ) -> tuple[tuple[Tensor, Tensor], ...]:
        """Do all work that depends on the image alone: once an image, for all steps and samples."""
        return tuple(
            block.image_part(feature, self.engine.convolve)  # pyright: ignore[reportCallIssue]
            for block, feature in zip(self.condition_blocks, features, strict=True)
        )

    def condition(
        self, prepared: tuple[tuple[Tensor, Tensor], ...], t: Integer[Tensor, "b"]
    ) -> tuple[Condition, ...]:
        """Do all work that depends on image and t alone: once a step, for all samples."""
        row = self.table.row(_step(t))
        conditions = []
        for number, (block, part) in enumerate(zip(self.condition_blocks, prepared, strict=True)):
            factor, shift = (row[each] for each in self.modulations[number])
            if number == len(self.fusions):
                feature = _modulated(block, part, factor, shift)
                conditions.append(Condition(feature, None))
                continue
            bias = _second_half(row[self._fusion(number).threshold])
            if block.once:
                conditions.append(Condition(*self.engine.modulate(part[0], factor, shift, bias)))
            else:
                feature = _modulated(block, part, factor, shift)
                conditions.append(Condition(feature, self.engine.pack(feature, bias)))
        return tuple(conditions)

    def denoise(
        self,
        image: Float[Tensor, "b c h w"],
        yt: Float[Tensor, "b k h w"],
        prior: Float[Tensor, "b k h w"],
        t: Integer[Tensor, "b"],
        conditions: Sequence[Condition],
        hints: Float[Tensor, "b k h w"] | None = None,
    ) -> Float[Tensor, "b k h w"]:
        """Return the raw output for one step; t in 1..T, the same for the whole batch."""
        row = self.table.row(_step(t))
        memory = self._memory_for(image)
        x = self._read_in(image, yt, prior, hints, memory)
        bits = self.engine.pack(x, row[self._layer(self.encoder, 0).threshold])
        x, bits, skips = self._descend(x, bits, conditions, row, memory)

        x, _ = self.middle1(bits, [x], row)
        x = self.cross(x, conditions[-1].feature, row)
        bits = self.engine.pack(x, row[self.middle2.threshold])
        x, signs = self.middle2(bits, [x], row, [row[self._layer(self.ups, 0).threshold]])

        x = self._ascend(x, signs[0], skips, row, memory)
        out = self._read_out(x)
        memory.give(x)
        return out

    def _read_in(
        self, image: Tensor, yt: Tensor, prior: Tensor, hints: Tensor | None, memory: Memory
    ) -> Tensor:
        """Return the output of the input layer."""
        size = (len(image), self.input.out_channels, *image.shape[2:])
        x = self.engine.convolve(self.input, image, yt, prior, out=memory.take(size))
        if hints is not None:
            self._add_hints(x, hints)
        return x

    def _read_out(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """Return the raw numbers of the output layer."""
        return self.engine.convolve(self.output, x, norm=self.output_norm)

    def _add_hints(self, x: Float[Tensor, "b c h w"], hints: Float[Tensor, "b k h w"]) -> None:
        """Add what the hints give to the input layer's output, where they say something.

        Marks are small, so only the box that holds them is computed; elsewhere 0 would be added.
        """
        if self.hint_input is None:
            raise ValueError(
                "hints came, but this packed refiner has no planes for them. Pack one that was "
                "trained with refiner.hints=true, or give the marks as evidence alone."
            )
        marked = hints.ne(0).any(dim=1).any(dim=0)
        if not marked.any():
            return
        rows, columns = (_span(marked.any(dim=axis)) for axis in (1, 0))
        # the 3x3 kernel reaches one pixel beyond the marks, and reads one more
        reached = slice(max(rows.start - 1, 0), rows.stop + 1)
        beside = slice(max(columns.start - 1, 0), columns.stop + 1)
        part = x[:, :, reached, beside]
        padded = functional.pad(hints, (2, 2, 2, 2))
        box = padded[:, :, reached.start + 1 :, beside.start + 1 :]
        box = box[:, :, : part.shape[2] + 2, : part.shape[3] + 2]
        part += functional.conv2d(box, self.hint_input.weight)

    def _descend(
        self,
        x: Tensor,
        bits: Tensor,
        conditions: Sequence[Condition],
        row: StepValues,
        memory: Memory,
    ) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
        """Run strides 1 to 16: the input of stride 32, its signs, and the skips with theirs."""
        skips = []
        for level in range(len(self.encoder)):
            block, down = self._layer(self.encoder, level), self._layer(self.downs, level)
            decoder = self._layer(self.decoder, len(self.decoder) - 1 - level)
            readers = [row[down.threshold], _second_half(row[decoder.threshold])]
            before, out = x, memory.take(x.shape)
            number = level - self.first_fusion
            if number < 0:
                x, signs = block(bits, [before], row, readers, out)
            else:
                fusion = self._fusion(number)
                h, signs = block(bits, [before], row, [_first_half(row[fusion.threshold])], out)
                feature, feature_bits = conditions[number]
                assert feature_bits is not None
                joined = self.engine.join(signs[0], feature_bits, h.shape[1], feature.shape[1])
                x, signs = fusion(joined, [h, feature], row, readers, memory.take(h.shape))
                memory.give(h)
            memory.give(before)
            skips.append((x, signs[1]))
            following = self.middle1
            if level + 1 < len(self.encoder):
                following = self._layer(self.encoder, level + 1)
            size = (len(x), down.out_channels, x.shape[2] // 2, x.shape[3] // 2)
            x, signs = down(signs[0], [x], row, [row[following.threshold]], memory.take(size))
            bits = signs[0]
        return x, bits, skips

    def _ascend(
        self,
        x: Tensor,
        bits: Tensor,
        skips: list[tuple[Tensor, Tensor]],
        row: StepValues,
        memory: Memory,
    ) -> Tensor:
        """Run strides 32 back to 1; return the features at stride 1."""
        for number in range(len(self.ups)):
            up, block = self._layer(self.ups, number), self._layer(self.decoder, number)
            skip, skip_bits = skips.pop()
            below, repeated = x, bits.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
            reader = _first_half(row[block.threshold])
            h, signs = up(repeated, [below], row, [reader], memory.take(skip.shape))
            joined = self.engine.join(signs[0], skip_bits, h.shape[1], skip.shape[1])
            readers = []
            if number + 1 < len(self.ups):
                readers = [row[self._layer(self.ups, number + 1).threshold]]
            x, signs = block(joined, [h, skip], row, readers, memory.take(skip.shape))
            memory.give(h, skip)
            if number:
                memory.give(below)
            bits = signs[0] if readers else bits
        return x

    def _memory_for(self, image: Tensor) -> Memory:
        # a tensor made in inference mode cannot be written to outside of it
        key = (torch.is_inference_mode_enabled(), *image.shape)
        memory = self._memory
        if memory.key != key:
            memory = self._memory = Memory(key)
        return memory

    def _fusion(self, number: int) -> PackedLayer:
        return self._layer(self.fusions, number)

    @staticmethod
    def _layer(layers: nn.ModuleList, number: int) -> PackedLayer:
        layer = layers[number]
        assert isinstance(layer, PackedLayer)
        return layer


def _modulated(
    block: nn.Module, part: tuple[Tensor, Tensor], *numbers: Float[Tensor, "c"]
) -> Tensor:
    of_pixels = (each[None, :, None, None] for each in numbers)
    return block.modulated(part, *of_pixels)  # pyright: ignore[reportCallIssue]


def _step(t: Integer[Tensor, "b"]) -> int:
    step = int(t[0])
    if (t != step).any():
        raise ValueError(
            f"a batch has the steps {t.tolist()}, but the packed refiner works on one step at a "
            "time. Split the batch by step."
        )
    return step


def _span(marked: Bool[Tensor, "n"]) -> slice:
    """Return the stretch from the first marked place to the last."""
    places = marked.nonzero()
    return slice(int(places[0]), int(places[-1]) + 1)


def _first_half(x: Float[Tensor, "c"]) -> Float[Tensor, "half"]:
    return x[: len(x) // 2]


def _second_half(x: Float[Tensor, "c"]) -> Float[Tensor, "half"]:
    return x[len(x) // 2 :]
