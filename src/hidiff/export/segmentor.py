"""A trained segmentor run by another engine on the CPU: ONNX Runtime or OpenVINO."""

import logging
import warnings
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from hidiff.export.kept import KeptExport
from hidiff.extras import import_extra
from hidiff.segmentors import Segmentor, SegmentorOutput

TORCH = "torch"  # the segmentor as it was trained, which every other must agree with
IMAGE = "image"  # the input's name
EXAMPLES = 2  # images: torch.export takes a batch of one for one that is always so

Run = Callable[[np.ndarray], Sequence[np.ndarray]]
"""images -> logits and features"""


class ExportedSegmentor(nn.Module):
    """Takes the segmentor's place at prediction, for images of one size; torch has none of it."""

    def __init__(self, segmentor: Segmentor, size: tuple[int, int], run: Run):
        super().__init__()
        self.image_channels = segmentor.image_channels
        self.num_planes = segmentor.num_planes
        self.feature_channels = segmentor.feature_channels
        self.input_size = size
        self._run = run

    def forward(self, image: Float[Tensor, "b c h w"]) -> SegmentorOutput:
        maps = self._run(np.ascontiguousarray(image.numpy()))
        logits, *features = (
            torch.from_numpy(each).contiguous(memory_format=torch.channels_last) for each in maps
        )
        return SegmentorOutput(logits, tuple(features))


def export_segmentor(
    segmentor: Segmentor, size: tuple[int, int], runtime: str, kept: KeptExport | None = None
) -> Any:
    """Return the same segmentor in `runtime`, a key of RUNTIMES, for images of `size` alone.

    For TORCH that is the segmentor itself. The result is an nn.Module and a Segmentor, for which
    Python has no common type.

    An export takes some seconds to a minute, and is read from `kept` where it was written before.
    It runs on as many threads as torch has now. Raises ValueError for a segmentor that cannot be
    exported.
    """
    if runtime == TORCH:
        return segmentor
    if runtime not in RUNTIMES:
        known = ", ".join((TORCH, *RUNTIMES))
        raise ValueError(f"segmentor_runtime is {runtime!r}, but must be one of {known}")
    name, start = RUNTIMES[runtime]
    former = None if kept is None else kept.read()
    if former is None:
        _import_exporter(runtime)
    library = import_extra(name, runtime)
    if kept is not None and former is not None:
        try:
            return ExportedSegmentor(segmentor, size, start(library, former))
        except Exception as error:  # the runtime's own, of a damaged file
            problem = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(
                f"{kept.path} does not load ({problem}), so the segmentor is exported again.",
                stacklevel=2,
            )
        _import_exporter(runtime)
    model = to_onnx(segmentor, size)
    if kept is not None:
        kept.write(model)
    return ExportedSegmentor(segmentor, size, start(library, model))


def _import_exporter(runtime: str) -> None:
    """Raise ValueError, naming the extra, if the libraries that make an export are missing."""
    for needed in ("onnx", "onnxscript"):
        import_extra(needed, runtime)


def to_onnx(segmentor: Segmentor, size: tuple[int, int]) -> bytes:
    """Return an ONNX model that turns images of `size` into logits and features."""
    bare = _Bare(segmentor).eval()
    image = torch.zeros(EXAMPLES, segmentor.image_channels, *size)
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)  # it says at length which torchvision operators it lacks
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own libraries
            program = torch.onnx.export(
                bare,
                (image,),
                input_names=[IMAGE],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # of whatever kind, as any network may be handed in
        raise ValueError(
            f"the segmentor cannot be exported to ONNX ({str(error).strip().splitlines()[0]}). "
            f"Use segmentor_runtime={TORCH}."
        ) from error
    finally:
        exporter.setLevel(level)
    assert program is not None
    return program.model_proto.SerializeToString()


class _Bare(nn.Module):
    """Gives a plain tuple of tensors, as the exporter wants."""

    def __init__(self, segmentor: Segmentor):
        super().__init__()
        self.segmentor = segmentor

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        output = self.segmentor(image)
        return (output.logits, *output.features)


def _start_onnxruntime(onnxruntime: Any, model: bytes) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {IMAGE: images})


def _start_openvino(openvino: Any, model: bytes) -> Run:
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",  # left to itself it takes less where that is faster
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", settings)
    one_at_a_time = Lock()  # a compiled model has one request, which threads would share

    def run(images: np.ndarray) -> Sequence[np.ndarray]:
        with one_at_a_time:
            return compiled(images).to_tuple()

    return run


RUNTIMES: dict[str, tuple[str, Callable[[Any, bytes], Run]]] = {
    "onnx": ("onnxruntime", _start_onnxruntime),
    "openvino": ("openvino", _start_openvino),
}
"""the extra's name -> its library, and what starts it"""
