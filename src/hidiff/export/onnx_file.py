"""Modules to ONNX: tensors of free axes in and out, nothing of this machine inside."""

import logging
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hidiff.export.onnx_rewrites import rewrite
from hidiff.extras import import_extra

OPSET = 18
CLOSE = 1e-2  # of a probability or a feature, in the check of what was exported
FEW = 1e-3  # share of numbers further apart: a 1-bit layer turns a sign within rounding of zero


def to_onnx(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
    shapes: Mapping[str, Sequence[int]],
    metadata: Mapping[str, str],
) -> Any:
    """Return the ONNX model of a module, which carries the `metadata`.

    `inputs` are examples, by name, in the order of the module's `forward`; `axes` names the free
    axes of inputs and outputs, by number; `shapes` are those of the examples. Raises whatever the
    exporter raises.
    """
    onnx = import_extra("onnx", "onnx")
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            warnings.catch_warnings(),
            torch.no_grad(),
        ):
            written = Path(folder) / "model.onnx"
            warnings.simplefilter("ignore")  # of its age, and of sizes that are traced
            # The older exporter: torch's newer one takes 65 s of a core, instead of 3, to prove
            # that every size is free, and does not say where it gave up. `check` finds that out.
            torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                str(written),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes={name: dict(free) for name, free in axes.items()},
                opset_version=OPSET,
                dynamo=False,
            )
            model = onnx.load(_simplified(written))
            rewrite(model.graph)
    finally:
        exporter.setLevel(level)
    # The exporter leaves the lines of code that made each node, with the paths of their files.
    graph = model.graph
    for part in [model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer]:
        part.ClearField("doc_string")
    graph.ClearField("value_info")  # shapes within the graph, which every engine finds itself
    for value in [*graph.input, *graph.output]:
        for number, axis in enumerate(value.type.tensor_type.shape.dim):
            if name := axes.get(value.name, {}).get(number):
                axis.dim_param = name
            else:
                axis.dim_value = shapes[value.name][number]
    graph.name = "hidiff"
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    return model


def _simplified(model: Path) -> Path:
    """Fold what depends on no input, by ONNX Runtime, so that no later session has to."""
    onnxruntime = import_extra("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    # standard operators alone: further levels are for this machine and for ONNX Runtime only
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    simple = model.with_name("simple.onnx")
    options.optimized_model_filepath = str(simple)
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return simple


def check(model: Any, module: nn.Module, tries: Iterable[Mapping[str, Tensor]]) -> None:
    """Raise ValueError unless ONNX Runtime gives for some of these inputs what the module gives.

    Inputs of other sizes than the examples show whether their axes are free. One agreement is
    enough: where rounding turns a single sign of a 1-bit layer, its attention carries that to every
    pixel, and other inputs have no sign so near zero. A graph that is wrong agrees on none.
    """
    onnxruntime = import_extra("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it finds wrong is in the error
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    problem = ""
    for inputs in tries:
        problem = _difference(session, module, inputs)
        if not problem:
            return
    raise ValueError(problem)


def _difference(session: Any, module: nn.Module, inputs: Mapping[str, Tensor]) -> str:
    """Return how a session's outputs differ from the module's; nothing if they agree."""
    taken = {each.name for each in session.get_inputs()}
    try:
        found = session.run(None, {k: v.numpy() for k, v in inputs.items() if k in taken})
    except Exception as error:  # it has a class for each of its codes
        raise ValueError(f"ONNX Runtime cannot run it: {error}") from error
    with torch.no_grad():
        truths = module(*inputs.values())
    for output, truth in zip(found, truths, strict=True):
        if output.shape != tuple(truth.shape):
            return f"an output is {output.shape}, but {tuple(truth.shape)} in torch"
        apart = np.abs(output.astype(np.float32) - truth.float().numpy()) > CLOSE
        if apart.mean() > FEW:
            return f"{apart.mean():.1%} of an output differ from torch's"
    return ""
