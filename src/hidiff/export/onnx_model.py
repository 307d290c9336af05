"""A whole model as ONNX: one graph for a prediction of one step, two for one of several."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from hidiff.export.float_refiner import refiner_for_engines
from hidiff.export.onnx_file import check, to_onnx
from hidiff.export.onnx_graphs import SegmentorGraph, StepGraph, WholeGraph, condition_names
from hidiff.extras import import_extra
from hidiff.hybrid import HybridSegmentor
from hidiff.refiner import STRIDE
from hidiff.segmentors import input_size

WHOLE, SEGMENTOR, STEP = "whole", "segmentor", "step"
TRIES = 4  # of an agreement with torch


@dataclass(frozen=True)
class OnnxSettings:
    """The parts of a hybrid that are exported."""

    steps: list[int]
    """t of each step of the default prediction, from T down; empty: the prior is the answer"""
    known_steps: list[int]
    """every t that the refiner can take"""
    sampler: str
    size: tuple[int, int]
    """size of the example images, and of all if sizes cannot be free"""

    @property
    def graphs(self) -> tuple[str, ...]:
        """The graphs, one file each."""
        return (WHOLE,) if len(self.steps) < 2 else (SEGMENTOR, STEP)


def export_model(
    hybrid: HybridSegmentor,
    settings: OnnxSettings,
    metadata: Mapping[str, str],
) -> dict[str, Any]:
    """Return the ONNX models by what they compute: WHOLE, or SEGMENTOR and STEP.

    Any number of images can be given at once. Their sides may be any multiples of 32 from 64 up,
    unless the segmentor takes those of `settings.size` only; the metadata `free_sizes` says which.
    Each graph is run and compared with torch. Raises ValueError for a model that cannot be
    exported.
    """
    for library in ("onnx", "onnxruntime"):
        import_extra(library, "onnx")
    if hybrid.settings.kind != "bernoulli":
        raise ValueError(
            f"diffusion.kind is {hybrid.settings.kind}, but only models of kind bernoulli can be "
            "exported."
        )
    hybrid.eval()
    graphs = _Graphs(hybrid, settings)
    problem = None
    for free_sizes in (False,) if input_size(hybrid.segmentor) else (True, False):
        said = {**metadata, "free_sizes": str(free_sizes).lower()}
        try:
            return {name: graphs.export(name, free_sizes, said) for name in settings.graphs}
        except Exception as error:  # of whatever kind, as any network may be handed in
            problem = error
    raise ValueError(
        f"the model cannot be exported to ONNX ({str(problem).strip().splitlines()[0]}). Its "
        "segmentor may compute what ONNX has no operators for: export a model with another one."
    ) from problem


class _Graphs:
    """The modules of all graphs, and inputs of any size for them."""

    def __init__(self, hybrid: HybridSegmentor, settings: OnnxSettings):
        self.hybrid, self.settings = hybrid, settings
        self.num_steps = num_steps = hybrid.schedule.num_steps
        if not settings.steps:
            self.modules: dict[str, Any] = {WHOLE: WholeGraph(hybrid, None, num_steps)}
            return
        kept = settings.steps if settings.graphs == (WHOLE,) else settings.known_steps
        refiner = refiner_for_engines(hybrid.refiner, kept, num_steps)
        if settings.graphs == (WHOLE,):
            self.modules = {WHOLE: WholeGraph(hybrid, refiner, settings.steps[0])}
        else:
            step = StepGraph(hybrid, refiner, settings.sampler)
            self.modules = {SEGMENTOR: SegmentorGraph(hybrid, refiner), STEP: step}

    def export(self, name: str, free_sizes: bool, metadata: Mapping[str, str]) -> Any:
        """Return one graph, checked on inputs of another number and, if they are free, sizes."""
        module, size = self.modules[name].eval(), self.settings.size
        inputs = self.inputs(name, 2, size)
        with torch.no_grad():
            outputs = dict(zip(module.outputs, module(*inputs.values()), strict=True))
        examples = {**inputs, **outputs}
        shapes = {each: tuple(x.shape) for each, x in examples.items()}
        axes = {each: self._axes(shape, free_sizes) for each, shape in shapes.items()}
        said = {**metadata, "graph": name}
        model = to_onnx(module, inputs, module.outputs, axes, shapes, said)
        other = (size[0] + STRIDE, size[1] + 2 * STRIDE) if free_sizes else size
        check(model, module, (self.inputs(name, 1, other, seed) for seed in range(1, TRIES + 1)))
        return model

    def inputs(
        self, name: str, batch: int, size: tuple[int, int], seed: int = 0
    ) -> dict[str, Tensor]:
        """Return random inputs of a graph, by name."""
        draws = torch.Generator().manual_seed(seed)
        planes = self.hybrid.labels.num_planes

        def random(channels: int) -> Tensor:
            return torch.rand(batch, channels, *size, generator=draws)

        # Smooth, as images are: on noise the signs of 1-bit layers hang on the last digit.
        coarse = torch.rand(
            batch, self.hybrid.segmentor.image_channels, *(n // 8 for n in size), generator=draws
        )
        image = interpolate(coarse, size, mode="bicubic").clamp(0, 1) * 2 - 1
        module = self.modules[name]
        if name == WHOLE:
            return {"image": image, **{each: random(planes) for each in module.more_inputs}}
        if name == SEGMENTOR:
            return {"image": image}
        with torch.no_grad():
            prior, chance, *maps = self.modules[SEGMENTOR](image)
        return {
            "image": image,
            "prior": prior,
            "chance": chance,
            "uniform": random(planes),
            "t": torch.tensor(self.settings.steps[:1]),
            "next_t": torch.tensor(self.settings.steps[1:2]),
            "temperature": torch.ones(1),
            **{each: random(planes) for each in module.answer.marks},
            **dict(zip(condition_names(module.answer.refiner), maps, strict=True)),
        }

    def _axes(self, shape: tuple[int, ...], free_sizes: bool) -> dict[int, str]:
        """Return names of the free axes of an input or output; a list of numbers has none."""
        if len(shape) < 3:
            return {}
        axes = {0: "batch"}
        if free_sizes:
            stride = self.settings.size[0] // shape[-2]
            ending = "" if stride == 1 else f"/{stride}"
            axes |= {len(shape) - 2: f"height{ending}", len(shape) - 1: f"width{ending}"}
        return axes
