"""1-bit convolutions of an ONNX graph in 8 bits, with the same numbers bit for bit."""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

MOST_CHANNELS = 28  # of which the sums, all even, fit 8 bits: 9 * 28 / 2 < 127
MIDDLE = np.uint8(128)  # stands for a sum of 0
MOST_PARTS = 2  # more of them cost more than the floats


class _Signs(NamedTuple):
    """The bits that a convolution reads."""

    parts: list[str]
    """names of bits, of equally many channels each"""
    resize: Any
    """the node that doubles their sides, or None"""


def in_int8(onnx: Any, nodes: list, known: dict[str, np.ndarray]) -> tuple[list, list]:
    """Return the nodes with 1-bit convolutions as QLinearConv, and the constants that they read.

    A float convolution by weights of +2 and -2 of half signs, the product of its sums with a
    constant, and a constant added to it, become an integer convolution of few channels and a batch
    norm. Sums of an even number of signs are even, so half of them is exact in 8 bits. Floats take
    four times the memory.
    """
    made_by = {node.output[0]: node for node in nodes}
    uses = Counter(name for node in nodes for name in node.input)
    adds = {name: node for node in nodes if node.op_type == "Add" for name in node.input}
    found, constants, done = [], [], set()
    for node in nodes:
        if node.output[0] in done:
            continue
        scale, conv, signs = None, None, None
        if node.op_type == "Mul" and node.input[0] in known:
            scale, conv = known[node.input[0]], made_by.get(node.input[1])
        if conv is not None and conv.op_type == "Conv" and uses[conv.output[0]] == 1:
            signs = _signs_of(conv, made_by, known)
        if scale is None or conv is None or signs is None:
            found.append(node)
            continue
        output, offset = node.output[0], np.zeros_like(scale)
        add = adds.get(output) if uses[output] == 1 else None
        added = [known[name] for name in add.input if name in known] if add is not None else []
        if add is not None and added and added[0].size == scale.size:
            output, offset = add.output[0], added[0]
            done.add(output)
        writer = _Writer(onnx, output)
        writer.write(conv, known[conv.input[1]], signs, scale.reshape(-1), offset.reshape(-1))
        found += writer.nodes
        constants += writer.constants
    return found, constants


def _signs_of(conv: Any, made_by: dict, known: dict[str, np.ndarray]) -> _Signs | None:
    """Return the bits behind a convolution's half signs, or None if it cannot be in 8 bits."""
    weight = known.get(conv.input[1])
    if weight is None or len(conv.input) > 2 or not (np.abs(weight) == 2).all():
        return None
    source, resize = made_by.get(conv.input[0]), None
    if source is not None and source.op_type == "Resize":
        source, resize = made_by.get(source.input[0]), source
    if source is None or source.op_type != "Sub":
        return None
    half, cast = known.get(source.input[1]), made_by.get(source.input[0])
    if half is None or half.size > 1 or half != 0.5 or cast is None or cast.op_type != "Cast":
        return None
    bits = made_by.get(cast.input[0])
    parts = [cast.input[0]]
    if bits is not None and bits.op_type == "Concat":
        parts = list(bits.input)
    compared = all(name in made_by and made_by[name].op_type in COMPARISONS for name in parts)
    fits = _num_parts(weight, parts) <= MOST_PARTS and weight.shape[1] % 2 == 0
    return _Signs(parts, resize) if compared and fits else None


COMPARISONS = ("GreaterOrEqual", "Greater", "Less", "LessOrEqual")


def _num_parts(weight: np.ndarray, parts: list[str]) -> int:
    """Return how many convolutions of few channels there are."""
    channels = weight.shape[1] // len(parts)
    pieces = -(-channels // MOST_CHANNELS)
    even = channels % (2 * pieces) == 0
    return len(parts) * pieces if even else MOST_PARTS + 1


class _Writer:
    """Writes the nodes of one convolution, whose names begin with that of its output."""

    def __init__(self, onnx: Any, output: str):
        self.onnx, self.output = onnx, output
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node; return its output."""
        name = f"{self.output}_{output}" if output else self.output
        made = self.onnx.helper.make_node(operator, inputs, [name], name, **attributes)
        self.nodes.append(made)
        return name

    def constant(self, name: str, value: Any) -> str:
        """Add a constant; return its name."""
        name = f"{self.output}_{name}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def write(
        self,
        conv: Any,
        weight: np.ndarray,
        signs: _Signs,
        scale: np.ndarray,
        offset: np.ndarray,
    ) -> None:
        """Add sums * scale + offset, of the convolution's sums of signs."""
        one, two = self.constant("one", np.float32(1)), self.constant("two", np.float32(2))
        sign_zero, zero = self.constant("sign_zero", np.uint8(1)), self.constant("zero", MIDDLE)
        weight_zero = self.constant("weight_zero", np.int8(0))
        bytes_ = self._bytes(signs, _num_parts(weight, signs.parts))
        sums = []
        for number, (name, part) in enumerate(
            zip(bytes_, np.split(weight, len(bytes_), axis=1), strict=True)
        ):
            weights = self.constant(f"weight{number}", (part / 2).astype(np.int8))
            inputs = [name, one, sign_zero, weights, one, weight_zero, two, zero]
            halves = self.node("QLinearConv", inputs, f"halves{number}")
            self.nodes[-1].attribute.extend(conv.attribute)
            sums.append(self.node("DequantizeLinear", [halves, two, zero], f"sums{number}"))
        total = sums[0] if len(sums) == 1 else self.node("Add", sums, "total")
        # One pass over memory in place of two. ONNX Runtime would also compute a product and a sum
        # in the order of pixels and channels that its QLinearConv has, and there five times slower.
        norm = {"scale": scale, "offset": offset, "mean": 0 * scale, "variance": 0 * scale + 1}
        numbers = [self.constant(name, values) for name, values in norm.items()]
        self.node("BatchNormalization", [total, *numbers], "", epsilon=0.0)

    def _bytes(self, signs: _Signs, count: int) -> list[str]:
        """Return names of the signs as bytes, 0 for -1 and 2 for +1, in so many parts."""
        found = []
        for number, bits in enumerate(signs.parts):
            to = self.onnx.TensorProto.UINT8
            ones = self.node("Cast", [bits], f"ones{number}", to=to)
            name = self.node("Add", [ones, ones], f"bytes{number}")
            if signs.resize is not None:
                inputs = [name, *signs.resize.input[1:]]
                name = self.node("Resize", inputs, f"large{number}")
                self.nodes[-1].attribute.extend(signs.resize.attribute)
            pieces = count // len(signs.parts)
            if pieces == 1:
                found.append(name)
                continue
            names = [f"{name}_{piece}" for piece in range(pieces)]
            split = self.onnx.helper.make_node(
                "Split", [name], names, f"{name}_split", axis=1, num_outputs=pieces
            )
            self.nodes.append(split)
            found += names
        return found
