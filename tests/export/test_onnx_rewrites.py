"""Rewritten nodes give the same numbers, bit for bit, and are really rewritten."""

from collections import Counter

import numpy as np
import pytest

from hidiff.export.onnx_rewrites import rewrite

onnx = pytest.importorskip("onnx", reason="it comes with the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="it comes with the extra onnx")


def make_graph(nodes, constants):
    """Return a model from x (1, 4, 3, 5) to y, of nodes (operator, inputs, outputs)."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(*node, name=f"node {number}") for number, node in enumerate(nodes)],
        "graph",
        [value("x", onnx.TensorProto.FLOAT, [1, 4, 3, 5])],
        [value("y", onnx.TensorProto.FLOAT, [1, 4, 3, 5])],
        [onnx.numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    model.ir_version = 9
    return model


def rewritten(model, x):
    """Return the operators after the rewrite, having compared the result of both graphs."""
    before = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    rewrite(model.graph)
    onnx.checker.check_model(model)
    used = {name for node in model.graph.node for name in node.input}
    assert {each.name for each in model.graph.initializer} <= used
    after = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    assert before.dtype == after.dtype and np.array_equal(before, after)
    assert len(np.unique(before)) > 1
    return Counter(node.op_type for node in model.graph.node)


@pytest.fixture
def bias():
    return np.array([0.3, -0.7, 1e-30, 0.0], np.float32).reshape(4, 1, 1)


@pytest.fixture
def x(bias):
    """Numbers around 0, with ties, and with sums that round."""
    values = np.random.default_rng(0).normal(size=(1, 4, 3, 5)).astype(np.float32)
    values[0, :, 0] = -bias[:, 0]
    values[0, :, 1] = np.nextafter(-bias[:, 0], np.float32(-1))
    return values


COMPARED = [
    ("Add", ["x", "bias"], ["sum"]),
    ("GreaterOrEqual", ["sum", "zero"], ["bits"]),
    ("Cast", ["bits"], ["y"]),
]


def make_compared(nodes, bias, zero=0.0):
    model = make_graph(nodes, {"bias": bias, "zero": zero})
    for node in model.graph.node:
        if node.op_type == "Cast":
            node.attribute.append(onnx.helper.make_attribute("to", onnx.TensorProto.FLOAT))
    return model


def test_a_biased_comparison_with_zero_needs_no_sum(x, bias):
    assert rewritten(make_compared(COMPARED, bias), x) == {"GreaterOrEqual": 1, "Cast": 1}
    turned = [("Add", ["bias", "x"], ["sum"]), *COMPARED[1:]]
    assert rewritten(make_compared(turned, bias), x) == {"GreaterOrEqual": 1, "Cast": 1}


def test_a_sum_that_is_used_elsewhere_or_compared_with_more_stays(x, bias):
    used = [*COMPARED[:2], ("Cast", ["bits"], ["ones"]), ("Mul", ["ones", "sum"], ["y"])]
    assert rewritten(make_compared(used, bias), x)["Add"] == 1
    assert rewritten(make_compared(COMPARED, bias, zero=0.5), x)["Add"] == 1
    both = [("Add", ["x", "x"], ["sum"]), *COMPARED[1:]]
    assert rewritten(make_compared(both, bias), x)["Add"] == 1


@pytest.mark.parametrize(("largest", "left"), [(0.25, 0), (1.0, 0), (1.5, 1)])
def test_a_slope_of_at_most_one_is_a_maximum(x, largest, left):
    slope = np.array([0.25, 0.0, -0.5, largest]).reshape(4, 1, 1)
    model = make_graph([("PRelu", ["x", "slope"], ["y"])], {"slope": slope})
    assert rewritten(model, x)["PRelu"] == left


LARGE = (1, 1, 2, 2)  # how much larger a map becomes


def make_signs(parts, outputs, stride=1, large=False, added=True, weights=2.0):
    """Return a model of half signs, a 1-bit convolution, a scale and an offset."""
    draws, channels = np.random.default_rng(1), sum(parts)
    inputs = [f"x{number}" for number in range(len(parts))]
    value = onnx.helper.make_tensor_value_info
    nodes, bits = [], []
    constants = {
        "half": np.float32(0.5),
        "weight": weights * np.sign(draws.normal(size=(outputs, channels, 3, 3))),
        "scale": draws.uniform(0.01, 0.1, (outputs, 1, 1)),
        "offset": draws.normal(size=(outputs, 1, 1)),
        "large": np.asarray(LARGE),
    }
    for x, number in zip(inputs, parts, strict=True):
        constants[f"{x}_limit"] = draws.normal(size=(number, 1, 1))
        nodes.append(("GreaterOrEqual", [x, f"{x}_limit"], [f"{x}_bits"], {}))
        bits.append(f"{x}_bits")
    if len(bits) > 1:
        nodes.append(("Concat", bits, ["bits"], {"axis": 1}))
    ending = ["Resize"] if large else []
    nodes += [
        ("Cast", ["bits" if len(bits) > 1 else bits[0]], ["ones"], {"to": onnx.TensorProto.FLOAT}),
        ("Sub", ["ones", "half"], ["signs"], {}),
        *[
            (name, ["signs", "", "large"], ["larger"], {"mode": "nearest", **ASYMMETRIC})
            for name in ending
        ],
        (
            "Conv",
            ["larger" if large else "signs", "weight"],
            ["sums"],
            {"pads": [1, 1, 1, 1], "strides": [stride, stride]},
        ),
        ("Mul", ["scale", "sums"], ["scaled" if added else "y"], {}),
    ]
    if added:
        nodes.append(("Add", ["scaled", "offset"], ["y"], {}))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, i, o, name=o[0], **a) for op, i, o, a in nodes],
        "graph",
        [
            value(x, onnx.TensorProto.FLOAT, ["b", number, "h", "w"])
            for x, number in zip(inputs, parts, strict=True)
        ],
        [value("y", onnx.TensorProto.FLOAT, ["b", outputs, "H", "W"])],
        [onnx.numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    model.ir_version = 9
    return model


ASYMMETRIC = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


@pytest.mark.parametrize(
    ("parts", "changes", "convolutions"),
    [
        ((16,), {}, 1),
        ((28,), {"stride": 2}, 1),
        ((16, 16), {}, 2),
        ((32,), {"large": True}, 2),
        ((8, 8), {"added": False}, 2),
        ((3,), {}, 0),  # sums of an odd number of signs are odd
        ((64,), {}, 0),  # too many sums
        ((16,), {"weights": 1.0}, 0),  # other weights
    ],
)
def test_sums_of_signs_in_8_bits_are_those_in_floats(parts, changes, convolutions):
    model = make_signs(parts, 12, **changes)
    draws = np.random.default_rng(0)
    given = {
        f"x{number}": draws.normal(size=(2, channels, 10, 14)).astype(np.float32)
        for number, channels in enumerate(parts)
    }
    # the largest sum there is: every sign that of the weight, and its opposite
    given["x0"][0] = 1e3
    before = onnxruntime.InferenceSession(model.SerializeToString()).run(None, given)[0]
    rewrite(model.graph)
    onnx.checker.check_model(model)
    operators = Counter(node.op_type for node in model.graph.node)
    assert operators["QLinearConv"] == convolutions
    assert operators["Conv"] == (convolutions == 0)
    after = onnxruntime.InferenceSession(model.SerializeToString()).run(None, given)[0]
    if convolutions:
        # in floats ONNX Runtime may put the offset into the convolution, so the truth is computed
        assert np.allclose(after, before, atol=1e-5)
    else:
        assert np.array_equal(after, before)


def test_the_largest_sum_fits_into_8_bits():
    model = make_signs((28,), 4)
    (weight,) = [each for each in model.graph.initializer if each.name == "weight"]
    weight.CopyFrom(onnx.numpy_helper.from_array(np.full((4, 28, 3, 3), 2, np.float32), "weight"))
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    rewrite(model.graph)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    scale, offset = constants["scale"], constants["offset"]
    for sign in (1, -1):
        x = np.full((1, 28, 3, 3), sign * 1e3, np.float32)
        (found,) = session.run(None, {"x0": x})
        # inside, at the border and in the corner: 9, 6 and 4 of the kernel's places
        for row, column, places in ((1, 1, 9), (0, 1, 6), (0, 0, 4)):
            sums = np.float32(sign * 28 * places)
            assert np.array_equal(found[0, :, row, column], (sums * scale + offset)[:, 0, 0])
