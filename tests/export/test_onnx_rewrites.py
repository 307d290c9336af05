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
